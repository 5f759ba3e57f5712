//! The control socket and `banctl` at its other end: the real server, the real client, the real program; only
//! the engine behind them is a few fixed answers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use portero::control::client::Client;
use portero::control::protocol::*;
use portero::control::server::{Call, ControlError, Patience, Server, SocketSettings};
use portero::limits::Limits;
use portero::time::Timestamp;

/// A server in a thread of its own, until dropped.
struct Daemon {
    dir: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    fn start(answer: impl FnMut(Call) + Send + 'static) -> Daemon {
        Daemon::with(|_| {}, Limits::default(), Patience::default(), answer)
    }

    fn with(
        change: impl FnOnce(&mut SocketSettings),
        limits: Limits,
        patience: Patience,
        mut answer: impl FnMut(Call) + Send + 'static,
    ) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = SocketSettings::new(dir.path().join("control.sock"));
        change(&mut settings);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&settings).unwrap();
                ready.send(()).unwrap();
                let (calls, mut called) = tokio::sync::mpsc::channel(16);
                tokio::select! {
                    () = server.serve(&limits, patience, calls) => {}
                    () = async { while let Some(call) = called.recv().await { answer(call) } } => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("the server binds");
        Daemon { dir, stop: Some(stop), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What comes back for `bytes`, up to the end of the connection.
    fn told(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close before it has read all of it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = BufReader::new(&stream).read_until(b'\n', &mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn banctl(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
        command.arg("--socket").arg(self.socket()).args(args).env("NO_COLOR", "1").env("TZ", "UTC");
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn code_of(line: &str) -> String {
    let answer: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}"));
    assert_eq!(answer["v"], 1);
    answer["body"]["code"].as_str().unwrap_or_else(|| panic!("no error: {line}")).to_owned()
}

fn pong(call: Call) {
    let _ = call.answer.send(Response::Ping(Pong { ok: true, version: "1".into(), problems: vec![] }));
}

fn a_ban(target: &str) -> BanInfo {
    BanInfo {
        jail: "postfix-sasl".into(),
        target: target.into(),
        since: Timestamp::from_secs(1_795_300_000),
        until: Some(Timestamp::from_secs(1_795_303_600)),
        failures: 5,
        count: 1,
        origin: "jail".into(),
        reason: None,
        effective: true,
        ended: None,
    }
}

fn a_status(target: &str, banned: bool) -> TargetStatus {
    TargetStatus {
        target: target.into(),
        kind: TargetKind::Address,
        banned,
        bans: if banned { vec![a_ban(target)] } else { vec![] },
        grace_until: None,
        allowed: false,
        windows: vec![],
    }
}

/// Answers as an engine would that holds one ban, of 203.0.113.7.
fn fixed(call: Call) {
    let banned = |target: &str| target == "203.0.113.7";
    let response = match call.request {
        Request::Status { target: Some(target) } => Response::Target(a_status(&target, banned(&target))),
        Request::Why { target } => Response::Why(Box::new(WhyReport {
            status: a_status(&target, banned(&target)),
            lines: vec![],
            accounts: vec![],
            addresses: vec![],
            earlier: vec![],
            unban_command: banned(&target).then(|| format!("banctl unban {target}")),
        })),
        Request::Unban { targets, grace_secs, .. } => {
            let one = |target: String| Unbanned {
                lifted: if banned(&target) {
                    vec![Lifted { jail: "postfix-sasl".into(), target: target.clone() }]
                } else {
                    vec![]
                },
                lifted_total: banned(&target).into(),
                kept: vec![],
                grace_until: grace_secs.map(|secs| Timestamp::from_secs(1_795_300_000 + secs as i64)),
                error: None,
                target,
            };
            Response::Unban(targets.into_iter().map(one).collect())
        }
        Request::Ban { targets, for_secs, .. } => {
            let one = |target: String| {
                if target.starts_with("127.") || target == "nonsense" {
                    let code =
                        if target == "nonsense" { ErrorCode::BadRequest } else { ErrorCode::NeverBanned };
                    let error = ErrorBody { code, message: "it is loopback".into(), help: None };
                    return BanAnswer::Refused { target, error };
                }
                let until = for_secs.filter(|secs| *secs >= 0.0);
                let until = until.map(|secs| Timestamp::from_secs(1_795_300_000 + secs as i64));
                BanAnswer::Banned(Banned { target, jail: "manual".into(), until, renewed: false })
            };
            Response::Ban(targets.into_iter().map(one).collect())
        }
        Request::Bans { after, .. } => match after.as_deref() {
            None => Response::Bans(BansPage { bans: vec![a_ban("203.0.113.7")], after: Some("x".into()) }),
            Some(after) => {
                assert_eq!(after, "x");
                Response::Bans(BansPage { bans: vec![a_ban("203.0.113.8")], after: None })
            }
        },
        Request::Ping => {
            Response::Ping(Pong { ok: false, version: "1".into(), problems: vec!["not in step".into()] })
        }
        _ => Response::error(ErrorCode::Internal, "not of this test"),
    };
    let _ = call.answer.send(response);
}

#[test]
fn json_is_as_the_design_says() {
    let json = |value: &dyn Fn() -> serde_json::Value| value().to_string();
    let status = json(&|| serde_json::to_value(a_status("203.0.113.7", true)).unwrap());
    let want: serde_json::Value = serde_json::from_str(
        r#"{"target":"203.0.113.7","kind":"address","banned":true,"bans":[{"jail":"postfix-sasl","target":"203.0.113.7","since":1795300000,"until":1795303600,"failures":5,"count":1,"origin":"jail","reason":null,"effective":true}],"grace_until":null,"allowed":false}"#,
    )
    .unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&status).unwrap(), want);
    let banned = Banned {
        target: "x".into(),
        jail: "manual".into(),
        until: Some(Timestamp::from_micros(1_500_000)),
        renewed: false,
    };
    assert_eq!(
        serde_json::to_string(&BanAnswer::Banned(banned)).unwrap(),
        r#"{"target":"x","jail":"manual","until":1.5}"#
    );
    let error = ErrorBody { code: ErrorCode::NotPermitted, message: "m".into(), help: Some("h".into()) };
    assert_eq!(
        serde_json::to_string(&error).unwrap(),
        r#"{"code":"not-permitted","message":"m","help":"h"}"#
    );
}

#[test]
fn requests_and_answers_come_back_from_the_wire() {
    let none = || None::<String>;
    let requests = [
        Request::Status { target: none() },
        Request::Status { target: Some("account:alice".into()) },
        Request::Why { target: "203.0.113.7".into() },
        Request::Unban {
            targets: vec!["alice@example.org".into()],
            all: false,
            jail: Some("cyrus".into()),
            grace_secs: Some(1800),
            reason: Some("new phone".into()),
            all_addresses: true,
        },
        Request::Ban {
            targets: vec!["x".into()],
            jail: None,
            for_secs: Some(-1.0),
            reason: None,
            force: true,
        },
        Request::Bans { jail: None, ended: true, after: Some("c".into()) },
        Request::AllowAdd { targets: vec!["192.0.2.0/24".into()], for_secs: Some(60), reason: None },
        Request::AllowRm { targets: vec![] },
        Request::AllowList,
        Request::Reload,
        Request::Ping,
        Request::Flush,
        Request::JailSettings { jail: "cyrus".into() },
        Request::JailSet { jail: "cyrus".into(), change: JailChange::Bantime(-1.0) },
        Request::JailSet { jail: "cyrus".into(), change: JailChange::AddIgnoreip(vec!["192.0.2.1".into()]) },
        Request::Settings,
        Request::Stop,
    ];
    for request in requests {
        let line = serde_json::to_string(&RequestLine { v: VERSION, request: request.clone() }).unwrap();
        assert!(line.starts_with(r#"{"v":1,"command":""#), "{line}");
        assert_eq!(serde_json::from_str::<RequestLine>(&line).unwrap().request, request);
    }
    // What a person would type into socat.
    let short: RequestLine = serde_json::from_str(r#"{"v":1,"command":"bans"}"#).unwrap();
    assert_eq!(short.request, Request::Bans { jail: None, ended: false, after: None });
    let ended = BanInfo {
        ended: Some(Ending {
            ended_at: Timestamp::from_secs(5),
            ended_how: "unban".into(),
            ended_by: Some("carol".into()),
            ended_reason: None,
        }),
        ..a_ban("203.0.113.7")
    };
    for ban in [ended, a_ban("203.0.113.7")] {
        let line = serde_json::to_string(&ban).unwrap();
        assert_eq!(serde_json::from_str::<BanInfo>(&line).unwrap(), ban, "{line}");
    }
    let newer = r#"{"code":"something-new","message":"m","help":null,"more":1}"#;
    assert_eq!(serde_json::from_str::<ErrorBody>(newer).unwrap().code, ErrorCode::Other);
}

#[test]
fn several_requests_go_over_one_connection() {
    let daemon = Daemon::start(pong);
    let mut client = Client::connect(&daemon.socket()).unwrap();
    for _ in 0..3 {
        assert!(matches!(client.call(Request::Ping), Ok(Response::Ping(Pong { ok: true, .. }))));
    }
}

#[test]
fn garbage_is_answered_once_and_dropped() {
    let daemon = Daemon::start(pong);
    for garbage in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"{\"v\":1}\n",
        b"{\"v\":1,\"command\":\"shutdown\"}\n",
        b"{\"v\":1,\"command\":\"why\"}\n",
    ] {
        assert_eq!(code_of(&daemon.told(garbage)), "bad-request", "{garbage:?}");
    }
    assert_eq!(code_of(&daemon.told(b"{\"v\":2,\"command\":\"ping\"}\n")), "version");
    let deep = [b"{\"v\":1,\"command\":".repeat(500), b"\n".to_vec()].concat();
    assert_eq!(code_of(&daemon.told(&deep)), "bad-request");
    assert_eq!(code_of(&daemon.told(&b"x".repeat(3 << 20))), "too-large");
    // Nobody else notices.
    assert!(Client::connect(&daemon.socket()).unwrap().call(Request::Ping).is_ok());
}

#[test]
fn a_slow_client_is_told_and_dropped_and_one_that_leaves_is_forgotten() {
    let patience = Patience { request: Duration::from_millis(50), ..Patience::default() };
    let daemon = Daemon::with(|_| {}, Limits::default(), patience, pong);
    assert_eq!(code_of(&daemon.told(b"{\"v\":1,")), "timeout");
    drop(daemon.connect());
    let mut half = daemon.connect();
    half.write_all(b"{\"v\":1").unwrap();
    drop(half);
    assert!(Client::connect(&daemon.socket()).unwrap().call(Request::Ping).is_ok());
}

#[test]
fn a_client_that_takes_no_answers_does_not_hold_the_others_up() {
    let patience = Patience { taking: Duration::from_millis(50), ..Patience::default() };
    let daemon = Daemon::with(
        |_| {},
        Limits::default(),
        patience,
        |call| {
            let bans = vec![a_ban("203.0.113.7"); 20_000];
            let _ = call.answer.send(Response::Bans(BansPage { bans, after: None }));
        },
    );
    let mut deaf = daemon.connect();
    deaf.write_all(b"{\"v\":1,\"command\":\"bans\"}\n").unwrap();
    let request = Request::Bans { jail: None, ended: false, after: None };
    assert!(Client::connect(&daemon.socket()).unwrap().call(request).is_ok());
    // Cut off in the midst of the answer.
    std::thread::sleep(Duration::from_millis(100));
    let mut rest = Vec::new();
    deaf.read_to_end(&mut rest).unwrap();
    assert!(!rest.ends_with(b"\n"));
}

#[test]
fn one_client_too_many_is_told_so() {
    let limits = Limits { clients_max: 2, ..Limits::default() };
    let daemon = Daemon::with(|_| {}, limits, Patience::default(), pong);
    // Root has eight more, so that nobody can shut the admin out.
    let root = if nix::unistd::geteuid().is_root() { 8 } else { 0 };
    let mut clients: Vec<Client> =
        (0..2 + root).map(|_| Client::connect(&daemon.socket()).unwrap()).collect();
    for client in &mut clients {
        client.call(Request::Ping).unwrap();
    }
    let error = Client::connect(&daemon.socket()).unwrap().call(Request::Ping).unwrap_err();
    assert_eq!((error.code, error.code.exit_code()), (ErrorCode::Busy, 69));
    // Room again once one leaves; the server notices in its own time.
    clients.pop();
    let again = || Client::connect(&daemon.socket()).unwrap().call(Request::Ping).is_ok();
    assert!((0..200).any(|_| again() || {
        std::thread::sleep(Duration::from_millis(10));
        false
    }));
}

#[test]
fn an_engine_that_gives_no_answer_is_told_as_such() {
    let daemon = Daemon::start(drop);
    let error = Client::connect(&daemon.socket()).unwrap().call(Request::Ping).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Internal, "the daemon gave no answer"));
    let patience = Patience { answer: Duration::from_millis(30), ..Patience::default() };
    let mut kept = Vec::new();
    let daemon = Daemon::with(|_| {}, Limits::default(), patience, move |call| kept.push(call));
    let error = Client::connect(&daemon.socket()).unwrap().call(Request::Ping).unwrap_err();
    assert_eq!(error.code, ErrorCode::Timeout);
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_a_stale_socket_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SocketSettings::new(dir.path().join("run/control.sock"));
    let path = settings.path.clone();
    let first = Server::bind(&settings).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    assert!(matches!(Server::bind(&settings), Err(ControlError::InUse(_))));
    drop(first);
    assert!(!path.exists(), "taken away on leaving");

    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a crashed daemon leaves its socket");
    let second = Server::bind(&settings).unwrap();
    // Not ours any more: stays.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(second);
    assert!(path.exists());
    assert!(matches!(Server::bind(&settings), Err(ControlError::InUse(_))), "another program answers");
    drop(other);

    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&settings), Err(ControlError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_socket_lets_in_whom_the_configuration_names() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: the_socket_lets_in_whom_the_configuration_names (needs root)");
        return;
    }
    let group =
        |name: &str| nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    let (Some(admins), Some(helpers)) = (group("adm"), group("games")) else {
        eprintln!("skipped: the_socket_lets_in_whom_the_configuration_names (no groups adm and games)");
        return;
    };
    let daemon = Daemon::with(
        |settings| {
            settings.group = Some("adm".into());
            settings.helpdesk_group = Some("games".into());
        },
        Limits::default(),
        Patience::default(),
        |call| {
            assert_ne!(call.peer.user, "root");
            fixed(call);
        },
    );
    // A copy that everybody can run, wherever the build is.
    let program = daemon.dir.path().join("banctl");
    fs::copy(env!("CARGO_BIN_EXE_banctl"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |gid: u32, args: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--socket").arg(daemon.socket()).args(args).current_dir("/").uid(65534).gid(gid);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(helpers, &["status", "203.0.113.7"]).0, 0);
    assert_eq!(run(helpers, &["unban", "203.0.113.7", "--grace", "30m"]).0, 0);
    let (code, said) = run(helpers, &["ban", "203.0.113.9"]);
    assert_eq!(code, 77);
    assert!(said.ends_with("may not use ban; run it as root, or be a member of group adm\n"), "{said}");
    assert_eq!(run(helpers, &["unban", "--all"]).0, 77);
    assert_eq!(run(admins, &["ban", "203.0.113.9"]).0, 0);
    assert_eq!(run(65534, &["status", "203.0.113.7"]).0, 77);
    assert_eq!(run(65534, &["ping"]).0, 1, "anybody may ask whether it is well");

    // With one group the file itself keeps strangers out.
    let daemon = Daemon::with(
        |settings| settings.helpdesk_group = Some("games".into()),
        Limits::default(),
        Patience::default(),
        fixed,
    );
    let meta = fs::metadata(daemon.socket()).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, helpers));
    let mut stranger = Command::new(&program);
    stranger.arg("--socket").arg(daemon.socket()).arg("ping").current_dir("/").uid(65534).gid(65534);
    let output = stranger.output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(text(&output.stderr).contains("permission denied; run it as root"), "{}", text(&output.stderr));
}

#[test]
fn exit_codes_tell_yes_no_and_why_not() {
    let daemon = Daemon::start(fixed);
    let code = |args: &[&str]| daemon.banctl(args).status.code().unwrap();
    assert_eq!(code(&["status", "203.0.113.7"]), 0);
    assert_eq!(code(&["status", "203.0.113.9"]), 1);
    assert_eq!(code(&["why", "203.0.113.7"]), 0);
    assert_eq!(code(&["why", "203.0.113.9"]), 1);
    assert_eq!(code(&["unban", "203.0.113.7"]), 0);
    assert_eq!(code(&["unban", "203.0.113.9"]), 1);
    assert_eq!(code(&["ban", "203.0.113.9"]), 0);
    assert_eq!(code(&["ban", "203.0.113.9", "127.0.0.1"]), 1);
    assert_eq!(code(&["ban", "nonsense"]), 64);
    assert_eq!(code(&["bans"]), 0);
    assert_eq!(code(&["ping"]), 1);
    assert_eq!(code(&["reload"]), 1);
    assert_eq!(code(&["statsu"]), 64);
    assert_eq!(code(&["unban"]), 64);
    assert_eq!(code(&["--help"]), 0);
    let nobody = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
        command.args(["--socket", "/nonexistent/control.sock"]).args(args).output().unwrap()
    };
    let output = nobody(&["ping"]);
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(
        text(&output.stderr),
        "banctl: cannot reach the daemon at /nonexistent/control.sock: no such file; is portero.service up?\n"
    );
    let output = nobody(&["ping", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "unreachable");
    assert!(output.stderr.is_empty());
}

#[test]
fn json_is_one_object_a_line_and_nothing_else() {
    let daemon = Daemon::start(fixed);
    let lines = |args: &[&str]| -> Vec<serde_json::Value> {
        let output = daemon.banctl(args);
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let status = lines(&["status", "203.0.113.7", "--json"]);
    assert_eq!((status.len(), &status[0]["banned"]), (1, &true.into()));
    let bans = lines(&["--json", "bans"]);
    let targets: Vec<&str> = bans.iter().map(|ban| ban["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["203.0.113.7", "203.0.113.8"], "all pages");
    let unban = lines(&["unban", "203.0.113.7", "--grace", "30m", "--json"]);
    assert_eq!(unban[0]["lifted"][0]["jail"], "postfix-sasl");
    assert_eq!(unban[0]["grace_until"], 1_795_301_800);
    let ban = lines(&["ban", "203.0.113.9", "127.0.0.1", "--for", "1h", "--json"]);
    assert_eq!(ban[0], serde_json::json!({"target":"203.0.113.9","jail":"manual","until":1_795_303_600}));
    assert_eq!(ban[1]["error"]["code"], "never-banned");
    assert_eq!(lines(&["ban", "203.0.113.9", "--for", "-1", "--json"])[0]["until"], serde_json::Value::Null);
}

#[test]
fn text_is_made_to_be_read_out() {
    let daemon = Daemon::start(fixed);
    let output = daemon.banctl(&["bans"]);
    let shown = text(&output.stdout);
    assert_eq!(shown.lines().count(), 3, "one heading over all pages: {shown}");
    assert!(shown.starts_with("TARGET       JAIL          SINCE"), "{shown}");
    let output = daemon.banctl(&["unban", "203.0.113.7"]);
    assert_eq!(text(&output.stdout), "203.0.113.7: let in (jail postfix-sasl)\n");
    let output = daemon.banctl(&["ping"]);
    assert_eq!(text(&output.stdout), "portero 1: not well\n  not in step\n");
}

#[test]
fn a_list_on_stdin_is_banned_line_by_line() {
    let daemon = Daemon::start(fixed);
    let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
    command.arg("--socket").arg(daemon.socket()).args(["ban", "-", "--json"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut list = String::from("# a list\n\n203.0.113.9  # one\nnonsense\n");
    for index in 0..2500u32 {
        list.push_str(&format!("198.51.100.{}\n", index % 256));
    }
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout).lines().count(), 2502);
    assert_eq!(output.status.code(), Some(64), "the bad line is told, the others are banned");
}

#[test]
fn check_uses_the_daemons_loader() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portero.toml");
    let check = |text: &str, args: &[&str]| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
        command.args(["check", "--config"]).arg(&file).args(args).output().unwrap()
    };
    let output = check("enable = [\"sshd\"]\nfirewal = 1\n", &[]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert!(
        said.contains("portero.toml:2:1: unknown key \"firewal\"") && said.contains("  | ^~~~~~~"),
        "{said}"
    );
    let output = check("enable = [\"sshdd\"]\n", &["--json"]);
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &checked["ok"]), (Some(78), &false.into()));
    assert_eq!(checked["problems"][0]["line"], 1);
    let output = check("enable = [\"sshd\"]\n", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("portero.toml: good; jails: sshd\n"));
    // A pattern that does not compile is found too.
    let jail = "enable = [\"sshd\"]\n[jails.x]\nfilter = \"x\"\nlogpath = \"/x\"\n";
    fs::create_dir(dir.path().join("filters")).unwrap();
    fs::write(dir.path().join("filters/x.toml"), "failregex = ['''a(<HOST>$''']\n").unwrap();
    let output = check(jail, &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("filters/x.toml:1:"), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).ends_with("would guard in spite of that: sshd\n"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn man_pages_and_completions_match_the_code() {
    let dir = tempfile::tempdir().unwrap();
    portero::banctl::docs::generate(dir.path()).unwrap();
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for folder in ["man", "completions"] {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir.join(folder)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(dir.path()), names(&packaging), "run: banctl gen-docs packaging");
        for name in names(dir.path()) {
            let file = Path::new(folder).join(&name);
            let (want, is) =
                (fs::read(dir.path().join(&file)).unwrap(), fs::read(packaging.join(&file)).unwrap());
            assert!(want == is, "{} is out of date; run: banctl gen-docs packaging", file.display());
        }
    }
}
