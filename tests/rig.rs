//! The rig of the end-to-end tests: private network namespaces, the real daemon in one of them, real logs.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use portero::time::{Clock, SystemClock};
use serde_json::Value;

/// How long anything may take that should take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// True if the test may make namespaces; says that it was skipped if not.
pub fn root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test} needs root");
    }
    root
}

/// Waits until `ready` says so.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !ready() {
        assert!(clock.monotonic() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program that must succeed; its standard output.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A mail host at 198.51.100.25 and 2001:db8:25::25, and everybody else behind one link. Both vanish when
/// this is dropped.
pub struct Net {
    pub host: String,
    pub world: String,
}

impl Net {
    pub fn new() -> Net {
        let id = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let net = Net { host: format!("pt-h-{id}"), world: format!("pt-w-{id}") };
        let Net { host, world } = &net;
        let script = format!(
            "set -e
             ip netns add {host}; ip netns add {world}
             ip -n {host} link set lo up; ip -n {world} link set lo up
             ip -n {host} link add h0 type veth peer name w0 netns {world}
             for n in {host} {world}; do
               ip netns exec $n sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
             done
             ip netns exec {host} sysctl -qw net.ipv6.conf.h0.accept_dad=0
             ip netns exec {world} sysctl -qw net.ipv6.conf.w0.accept_dad=0 net.ipv6.ip_nonlocal_bind=1
             ip -n {host} addr add 198.51.100.25/24 dev h0; ip -n {world} addr add 198.51.100.1/24 dev w0
             ip -n {host} addr add 2001:db8:25::25/64 dev h0 nodad
             ip -n {world} addr add 2001:db8:25::1/64 dev w0 nodad
             ip -n {host} link set h0 up; ip -n {world} link set w0 up
             ip -n {host} route add default via 198.51.100.1
             ip -n {host} -6 route add default via 2001:db8:25::1
             ip -n {world} route add local 203.0.113.0/24 dev lo
             ip -n {world} route add local 192.0.2.0/24 dev lo
             ip -n {world} -6 route add local 2001:db8:bad::/48 dev lo"
        );
        run("bash", &["-c", &script]);
        net
    }

    /// Does `work` on a thread inside the namespace `name`.
    pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{name}")).expect("the namespace was made");
        std::thread::scope(|scope| {
            let inner = scope.spawn(move || {
                nix::sched::setns(file.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)
                    .expect("root may enter");
                work()
            });
            inner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// nft in the mail host.
    pub fn nft(&self, args: &[&str]) -> String {
        let all: Vec<&str> =
            ["netns", "exec", &self.host, "nft"].into_iter().chain(args.iter().copied()).collect();
        run("ip", &all)
    }

    /// The ruleset of the mail host.
    pub fn ruleset(&self) -> String {
        self.nft(&["list", "ruleset"])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.host, &self.world] {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// A folder with a configuration, a store, logs, and a daemon over it.
pub struct Portero {
    pub folder: tempfile::TempDir,
    /// The namespace the daemon runs in; `None`: this one, with `--firewall log-only` only.
    netns: Option<String>,
    daemon: Option<Child>,
}

impl Portero {
    /// `config`: portero.toml without its paths. `LOGS` in it stands for the folder of logs.
    pub fn new(netns: Option<&str>, config: &str) -> Portero {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let portero = Portero { folder, netns: netns.map(str::to_owned), daemon: None };
        portero.configure(config);
        portero
    }

    /// Writes portero.toml.
    pub fn configure(&self, config: &str) {
        let logs = self.logs();
        let folder = self.folder.path().display();
        let text = format!("state_dir = \"{folder}/state\"\nsocket = \"{folder}/control.sock\"\n{config}")
            .replace("LOGS", &logs.display().to_string());
        fs::write(self.folder.path().join("etc/portero.toml"), text).unwrap();
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("etc/portero.toml")
    }

    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        match &self.netns {
            None => Command::new(program),
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns, program]);
                command
            }
        }
    }

    /// Starts the daemon with `args` beside --config; does not wait for it.
    pub fn spawn(&mut self, args: &[&str]) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let log =
            OpenOptions::new().create(true).append(true).open(self.folder.path().join("daemon.log")).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_portero"));
        command.arg("--config").arg(self.config_file()).args(args);
        command.env("TZ", "UTC").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Starts the daemon and waits until it guards and has read what was there.
    pub fn start(&mut self) {
        self.spawn(&[]);
        self.wait_ready();
    }

    pub fn wait_ready(&mut self) {
        let clock = SystemClock::new();
        loop {
            if self.ctl(&["ping"]).status.success() && self.lag() == 0 {
                return;
            }
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().unwrap());
            assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", self.daemon_log());
            assert!(clock.monotonic() < PATIENCE, "not ready\n{}", self.daemon_log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bytes of logs not read yet, over all logs.
    pub fn lag(&self) -> u64 {
        let status = self.json(&["status"]);
        let jails = status["jails"].as_array().expect("jails");
        let logs = jails.iter().flat_map(|jail| jail["logs"].as_array().expect("logs"));
        logs.map(|log| log["lag_bytes"].as_u64().unwrap_or(0)).sum()
    }

    /// Waits until every line written so far has been read.
    pub fn wait_read(&self) {
        wait_until("all lines are read", || self.lag() == 0);
    }

    /// The daemon's process id.
    pub fn pid(&self) -> i32 {
        self.daemon.as_ref().expect("a daemon runs").id() as i32
    }

    fn signal(&mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.id() as i32), signal).unwrap();
        daemon.wait().unwrap().code()
    }

    /// SIGTERM, and waits for the end; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGKILL);
    }

    /// Waits for a daemon that ends by itself; its exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        wait_until("the daemon ends", || daemon.try_wait().unwrap().is_some());
        daemon.wait().unwrap().code()
    }

    /// banctl with its output.
    pub fn ctl(&self, args: &[&str]) -> Output {
        let socket = self.folder.path().join("control.sock");
        Command::new(env!("CARGO_BIN_EXE_banctl")).arg("--socket").arg(socket).args(args).output().unwrap()
    }

    /// banctl --json with an object as its answer.
    pub fn json(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let output = self.ctl(&all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text)
            .unwrap_or_else(|why| panic!("banctl {args:?}: {why}: {text:?} {:?}", output.stderr))
    }

    /// banctl --json with one object a line.
    pub fn json_lines(&self, args: &[&str]) -> Vec<Value> {
        let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let output = self.ctl(&all);
        let lines = BufReader::new(&output.stdout[..]).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    /// Exit code of banctl.
    pub fn code(&self, args: &[&str]) -> i32 {
        self.ctl(args).status.code().expect("banctl was not killed")
    }

    pub fn banned(&self, target: &str) -> bool {
        self.json(&["status", target])["banned"].as_bool().expect("banned")
    }

    pub fn wait_banned(&self, target: &str) {
        let ended = SystemClock::new();
        while !self.banned(target) {
            assert!(ended.monotonic() < PATIENCE, "{target} is not banned\n{}", self.daemon_log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Appends to a log, as rsyslog does: one write.
    pub fn write_log(&self, name: &str, text: &str) {
        append(&self.logs().join(name), text);
    }
}

impl Drop for Portero {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.daemon_log());
        }
    }
}

/// Appends to a file with one write.
pub fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A Postfix line of a failed login, written now.
pub fn failure(ip: &str, user: &str) -> String {
    failure_at(SystemClock::new().now().micros(), ip, user)
}

/// A Postfix line of a failed login. `micros`: since the epoch.
pub fn failure_at(micros: i64, ip: &str, user: &str) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
    format!(
        "{} mail postfix/smtpd[1234]: warning: unknown[{ip}]: SASL LOGIN authentication failed: \
         authentication failure, sasl_username={user}\n",
        time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00")
    )
}

/// `count` of them.
pub fn failures(ip: &str, user: &str, count: usize) -> String {
    (0..count).map(|_| failure(ip, user)).collect()
}

/// A Postfix line of a good login, written now.
pub fn success(ip: &str, user: &str) -> String {
    let time = chrono::DateTime::from_timestamp_micros(SystemClock::new().now().micros()).unwrap();
    format!(
        "{} mail postfix/smtpd[1234]: 0123456789: client=unknown[{ip}], sasl_method=PLAIN, sasl_username={user}\n",
        time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00")
    )
}

/// A server on some ports of the mail host: greets, then sends a byte every 20 ms until the peer is gone.
pub struct Service {
    stop: std::sync::Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Service {
    pub fn start(net: &Net, ports: &[u16]) -> Service {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let threads = ports
            .iter()
            .map(|port| {
                let listener = Net::inside(&net.host, || std::net::TcpListener::bind(("::", *port)).unwrap());
                listener.set_nonblocking(true).unwrap();
                let stop = stop.clone();
                std::thread::spawn(move || serve(&listener, &stop))
            })
            .collect();
        Service { stop, threads }
    }
}

fn serve(listener: &std::net::TcpListener, stop: &AtomicBool) {
    let mut peers: Vec<std::net::TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((peer, _)) = listener.accept() {
            peer.set_nonblocking(true).unwrap();
            peers.push(peer);
        }
        peers.retain_mut(|peer| match peer.write(b".") {
            Ok(_) => true,
            Err(why) => why.kind() == std::io::ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Connects from `from` to the mail host's `port` within `patience` and reads the first byte; `None`: shut out.
pub fn connect(net: &Net, from: &str, port: u16, patience: Duration) -> Option<std::net::TcpStream> {
    let from: std::net::IpAddr = from.parse().unwrap();
    let to: std::net::IpAddr =
        if from.is_ipv4() { "198.51.100.25".parse().unwrap() } else { "2001:db8:25::25".parse().unwrap() };
    Net::inside(&net.world, || {
        let domain = if from.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&std::net::SocketAddr::new(from, 0).into()).unwrap();
        socket.connect_timeout(&std::net::SocketAddr::new(to, port).into(), patience).ok()?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut first = [0u8; 1];
        std::io::Read::read_exact(&mut stream, &mut first).ok()?;
        Some(stream)
    })
}

/// Whether `from` is served on `port`.
pub fn served(net: &Net, from: &str, port: u16) -> bool {
    connect(net, from, port, Duration::from_secs(2)).is_some()
}

/// Whether `from` gets nothing on `port`; gives up early, since a dropped packet has no answer.
pub fn shut_out(net: &Net, from: &str, port: u16) -> bool {
    connect(net, from, port, Duration::from_millis(600)).is_none()
}
