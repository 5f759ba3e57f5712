//! Configurations, good and bad: what they mean, and word for word what is said of the bad ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use portero::config::{Config, Fatal, Loaded};
use portero::firewall::{Ports, Protocol, TableOwner, Verdict};
use portero::jail::{IgnoreEntry, KeyKind};
use portero::time::Span;

/// A configuration folder; files are given as path and text.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder(dir);
        folder.write("filters/mail.toml", "failregex = ['''bad login from <HOST>$''']\n");
        for (path, text) in files {
            folder.write(path, text);
        }
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self) -> Result<Loaded, Fatal> {
        Config::load_with(self.path(), &self.path().join("shipped"))
    }

    /// The folder's own path taken out of a message.
    fn short(&self, message: impl ToString) -> String {
        message.to_string().replace(&format!("{}/", self.path().display()), "")
    }

    fn fatal(&self) -> String {
        self.short(self.load().expect_err("it must not load"))
    }

    fn problems(&self) -> Vec<String> {
        let loaded = self.load().expect("portero.toml is good");
        loaded.problems.iter().map(|problem| format!("[{}] {}", problem.jail, self.short(problem))).collect()
    }

    fn good(&self) -> Config {
        let loaded = self.load().unwrap_or_else(|fatal| panic!("{fatal}"));
        assert_eq!(loaded.problems, [], "no problems");
        loaded.config
    }
}

const MAIL: &str = "filter = \"mail\"\nlogpath = \"/var/log/mail.log\"\n";

#[test]
fn a_folder_without_portero_toml_has_the_defaults() {
    let config = Folder::new(&[]).good();
    assert_eq!(config.socket.path, Path::new("/run/portero/control.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/portero"));
    assert_eq!((config.firewall.as_str(), config.table_owner), ("nftables", TableOwner::Auto));
    assert_eq!(config.history, Duration::from_secs(180 * 86_400));
    assert_eq!(config.enabled().count(), 0);
}

#[test]
fn every_key_of_a_jail_reaches_its_stage() {
    let folder = Folder::new(&[(
        "jails/mail.toml",
        r#"
description = "SMTP logins"
enabled = true
filter = "mail[mode=aggressive]"
logpath = ["/var/log/mail.log", "/var/log/mail.d/*.log"]
backend = "file"
port = ["smtp", "submission", 465, "4000-4010"]
protocol = "tcp"
maxretry = 3
findtime = "15m"
bantime = "1h 30m"
bantime_increment = { enabled = true, factor = 2, maxtime = "5w", rndtime = "5m", overalljails = true, decay = "60d" }
key = "subnet"
ipv4_prefix = 28
ipv6_prefix = 56
timezone = "Europe/Madrid"
action = "reject"
ignoreip = "192.0.2.0/24, office.example.org"
ignoreself = false
"#,
    )]);
    let config = folder.good();
    let jail = config.jail("mail").expect("it is there");
    assert!(jail.enabled && !jail.shipped);
    assert_eq!(jail.filter, "mail[mode=aggressive]");
    assert_eq!(jail.logpath, ["/var/log/mail.log", "/var/log/mail.d/*.log"]);
    assert_eq!(jail.timezone, chrono_tz::Tz::Europe__Madrid);
    assert_eq!(portero::config::show_ports(&jail.rules.ports), "25,587,465,4000-4010");
    assert_eq!(
        (jail.rules.verdict, jail.rules.protocols.as_slice()),
        (Verdict::Reject, &[Protocol::Tcp][..])
    );
    assert_eq!((jail.rules.ipv4_prefix, jail.rules.ipv6_prefix), (28, 56));
    let set = &jail.settings;
    assert_eq!((set.maxretry, set.findtime), (3, Duration::from_secs(900)));
    assert_eq!(set.bantime, Span::For(Duration::from_secs(5400)));
    assert_eq!((set.key, set.ipv4_prefix, set.ipv6_prefix), (KeyKind::Subnet, 28, 56));
    assert_eq!(set.increment.maxtime, Some(Duration::from_secs(5 * 604_800)));
    assert!(set.increment.enabled && set.increment.overalljails && !set.ignoreself);
    let office = IgnoreEntry::Name("office.example.org".into());
    assert_eq!(set.ignoreip, [IgnoreEntry::Net("192.0.2.0/24".parse().unwrap()), office]);
}

#[test]
fn defaults_hold_for_every_jail_and_the_jails_own_words_win() {
    let folder = Folder::new(&[
        (
            "portero.toml",
            "[defaults]\nmaxretry = 9\nbantime = -1\nport = \"all\"\n[jails.b]\nfilter = \"mail\"\nlogpath = \"/b\"\nmaxretry = 2\n",
        ),
        ("jails/a.toml", MAIL),
    ]);
    let config = folder.good();
    let (a, b) = (config.jail("a").unwrap(), config.jail("b").unwrap());
    assert_eq!((a.settings.maxretry, b.settings.maxretry), (9, 2));
    assert_eq!((a.settings.bantime, b.settings.bantime), (Span::Forever, Span::Forever));
    assert_eq!(a.rules.ports, Ports::All);
    assert!(a.rules.protocols.is_empty(), "all ports: any protocol");
}

#[test]
fn shipped_jails_are_off_until_enabled_and_overlays_change_single_keys() {
    let files = [
        ("shipped/jails/one.toml", "filter = \"mail\"\nlogpath = \"/one\"\nmaxretry = 5\nport = \"smtp\"\n"),
        ("shipped/jails/two.toml", "filter = \"mail\"\nlogpath = \"/two\"\n"),
        ("jails/one.d/10-site.toml", "maxretry = 7\nfindtime = \"1h\"\n"),
        ("jails/one.d/20-site.toml", "maxretry = 8\n"),
        ("portero.toml", "enable = [\"one\"]\n[jails.one]\nbantime = \"2h\"\n"),
    ];
    let folder = Folder::new(&files);
    let config = folder.good();
    let one = config.jail("one").unwrap();
    assert!(one.enabled && one.shipped && !config.jail("two").unwrap().enabled);
    assert_eq!((one.settings.maxretry, one.settings.findtime), (8, Duration::from_secs(3600)));
    assert_eq!(one.settings.bantime, Span::For(Duration::from_secs(7200)));
    assert_eq!(portero::config::show_ports(&one.rules.ports), "25");

    folder.write("jails/one.d/30-off.toml", "enabled = false\n");
    assert!(!folder.good().jail("one").unwrap().enabled, "the admin's own word beats enable");
    // The same name replaces.
    folder.write("jails/two.toml", "filter = \"mail\"\nlogpath = \"/mine\"\n");
    let config = folder.good();
    let two = config.jail("two").unwrap();
    assert_eq!(two.logpath, ["/mine"]);
    assert!(two.enabled && !two.shipped);
}

#[test]
fn global_settings_are_taken() {
    let folder = Folder::new(&[(
        "portero.toml",
        r#"
state_dir = "/srv/portero"
socket = "/run/p.sock"
socket_mode = "0660"
socket_group = "mailops"
helpdesk_group = "helpdesk"
firewall = "log-only"
table_owner = "off"
ignoreip = ["192.0.2.0/24", "2001:db8::1", "office.example.org", "file:/etc/portero/allow.txt"]
trusted_proxies = ["10.0.0.0/24"]
timezone = "UTC"
history = "90d"
[limits]
clients_max = 5
"#,
    )]);
    let config = folder.good();
    assert_eq!(config.socket.mode, Some(0o660));
    assert_eq!(config.socket.helpdesk_group.as_deref(), Some("helpdesk"));
    assert_eq!((config.firewall.as_str(), config.table_owner), ("log-only", TableOwner::Off));
    assert_eq!(config.ignoreip.len(), 4);
    assert_eq!(config.trusted_proxies[0].to_string(), "10.0.0.0/24");
    assert_eq!((config.limits.clients_max, config.limits.block_bytes), (5, 256 * 1024));
}

#[test]
fn a_bad_portero_toml_is_refused_with_place_caret_and_help() {
    for (text, want) in [
        (
            "state_dir = \"/s\"\nfirewal = \"log-only\"\n",
            "portero.toml:2:1: unknown key \"firewal\" in portero.toml; did you mean \"firewall\"?\n\
             2 | firewal = \"log-only\"\n  | ^~~~~~~",
        ),
        (
            "firewall = \"iptables\"\n",
            "portero.toml:1:12: firewall \"iptables\" is not known; did you mean \"nftables\"?\n\
             1 | firewall = \"iptables\"\n  |            ^~~~~~~~~~",
        ),
        (
            "[defaults]\nbantime = \"10q\"\n",
            "portero.toml:2:11: bantime \"10q\" is not a duration; examples: 600, 10m, 1h 30m, -1 (never ends)\n\
             2 | bantime = \"10q\"\n  |           ^~~~~",
        ),
        (
            "trusted_proxies = [\"10.0.0.0/24\", \"10.0.0\"]\n",
            "portero.toml:1:35: trusted_proxies \"10.0.0\" is not an address or a network; examples: \
             203.0.113.7, 2001:db8::1, 192.0.2.0/24\n\
             1 | trusted_proxies = [\"10.0.0.0/24\", \"10.0.0\"]\n  |                                   ^~~~~~~~",
        ),
        (
            "timezone = \"Europe/Madird\"\n",
            "portero.toml:1:12: timezone \"Europe/Madird\" is not a zone of the IANA time zone database; \
             did you mean \"Europe/Madrid\"?\n\
             1 | timezone = \"Europe/Madird\"\n  |            ^~~~~~~~~~~~~~~",
        ),
        (
            "[limits]\nclients = 5\n",
            "portero.toml:2:1: unknown key \"clients\" in [limits]; keys here: accounts_per_host_max, ",
        ),
        (
            "socket = 5\nhistory = -1\n",
            "portero.toml:1:10: socket must be a text in quotes, not a number\n1 | socket = 5\n  |          ^\n\
             portero.toml:2:11: history must end; examples: 600, 10m, 1h 30m\n2 | history = -1\n  |           ^~",
        ),
        ("enable = [\n", "portero.toml:"),
    ] {
        let shown = Folder::new(&[("portero.toml", text)]).fatal();
        assert!(shown.starts_with(want), "for {text:?}:\n{shown}\nwanted:\n{want}");
    }
}

#[test]
fn a_bad_jail_is_named_and_the_others_guard_on() {
    let folder = Folder::new(&[
        ("jails/good.toml", MAIL),
        ("jails/bad.toml", "filter = \"mail\"\nlogpath = [\"mail.log\"]\nmaxretry = 0\nbantme = 5\n"),
        ("jails/nofilter.toml", "logpath = \"/var/log/mail.log\"\n"),
        ("jails/other.toml", "filter = \"mial\"\nlogpath = \"/var/log/mail.log\"\n"),
        ("jails/off.toml", "enabled = false\nfilter = 7\n"),
        ("portero.toml", "enable = [\"goood\"]\n"),
    ]);
    assert_eq!(
        folder.problems(),
        [
            "[goood] portero.toml:1:11: enable names \"goood\", and there is no such jail; did you mean \"good\"?\n\
             1 | enable = [\"goood\"]\n  |           ^~~~~~~",
            "[bad] jails/bad.toml:4:1: unknown key \"bantme\" in a jail; did you mean \"bantime\"?\n\
             4 | bantme = 5\n  | ^~~~~~",
            "[nofilter] jails/nofilter.toml: jail nofilter has no filter; to change single keys of a shipped jail \
             put them into jails/nofilter.d/NAME.toml",
            "[other] jails/other.toml:1:10: there is no filter \"mial\"; did you mean \"mail\"?\n\
             1 | filter = \"mial\"\n  |          ^~~~~~",
        ]
    );
    let loaded = folder.load().unwrap().require_jails().unwrap();
    let names: Vec<String> = loaded.config.enabled().map(|jail| jail.settings.name.to_string()).collect();
    assert_eq!(names, ["good"]);
}

#[test]
fn all_that_is_wrong_with_a_jail_is_said_at_once() {
    let folder = Folder::new(&[(
        "jails/bad.toml",
        "filter = \"mail\"\nlogpath = [\"mail.log\"]\nmaxretry = 0\nkey = \"account\"\nbackend = \"jurnal\"\n\
         bantime_increment = { factr = 2 }\nipv4_prefix = 24\n",
    )]);
    let problems = folder.problems();
    let heads: Vec<&str> = problems.iter().map(|problem| problem.lines().next().unwrap()).collect();
    assert_eq!(
        heads,
        [
            "[bad] jails/bad.toml:2:12: logpath \"mail.log\" must be an absolute path",
            "[bad] jails/bad.toml:5:11: backend \"jurnal\" is not known; did you mean \"journal\"?",
            "[bad] jails/bad.toml:3:12: maxretry must be from 1 to 1000000, not 0",
            "[bad] jails/bad.toml:6:23: unknown key \"factr\" in bantime_increment; did you mean \"factor\"?",
            "[bad] jails/bad.toml:4:7: key \"account\" is not available in this version; one of: ip, subnet",
            "[bad] jails/bad.toml:7:15: ipv4_prefix 24 counts by network; say so with key = \"subnet\"",
        ]
    );
}

#[test]
fn an_overlays_error_points_into_the_overlay() {
    let folder = Folder::new(&[("jails/a.toml", MAIL), ("jails/a.d/x.toml", "# site\nport = \"smpt\"\n")]);
    assert_eq!(
        folder.problems(),
        ["[a] jails/a.d/x.toml:2:8: port \"smpt\" is no service known here; did you mean \"smtp\"?\n\
          2 | port = \"smpt\"\n  |        ^~~~~~"]
    );
}

#[test]
fn no_usable_jail_is_fatal_for_a_daemon() {
    let folder = Folder::new(&[("shipped/jails/one.toml", MAIL)]);
    let fatal = folder.load().unwrap().require_jails().unwrap_err();
    let shown = folder.short(fatal);
    assert!(
        shown.starts_with("portero.toml: no jail is switched on; write enable = [\"NAME\", ...] with"),
        "{shown}"
    );
    assert!(shown.contains("one"), "{shown}");
    let folder = Folder::new(&[("jails/bad.toml", "filter = \"mail\"\n")]);
    let shown = folder.short(folder.load().unwrap().require_jails().unwrap_err());
    assert!(shown.contains("jail bad has no logpath") && shown.contains("no jail is usable"), "{shown}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new(&[]);
    let missing = folder.path().join("other.toml");
    let shown = folder.short(Config::load(&missing).unwrap_err());
    assert!(shown.starts_with("other.toml: no such file; "), "{shown}");
    fs::write(folder.path().join("portero.toml"), b"state_dir = \"\xff\"\n").unwrap();
    assert!(
        folder.fatal().starts_with("portero.toml:1:14: not UTF-8; save the file as UTF-8\n"),
        "{}",
        folder.fatal()
    );
    folder.write("portero.toml", "");
    folder.write("jails/x y.toml", MAIL);
    let problems = folder.problems();
    assert!(
        problems[0].starts_with("[x y] jails/x y.toml: \"x y\" is not a name for a jail"),
        "{problems:?}"
    );
}

#[test]
fn every_shipped_jail_loads_with_its_filter() {
    let names: Vec<String> = portero::shipped::JAILS.iter().map(|(name, _)| format!("{name:?}")).collect();
    let text = format!("enable = [{}]\n[defaults]\nbantime = \"3h\"\nmaxretry = 4\n", names.join(", "));
    let config = Folder::new(&[("portero.toml", &text)]).good();
    for (name, _) in portero::shipped::JAILS {
        let jail = config.jail(name).expect("it is built in");
        assert!(jail.enabled && jail.shipped, "{name}");
        // What a shipped jail says itself no [defaults] can change: it says only what is special about it.
        assert_eq!(jail.settings.maxretry, 4, "{name}");
        // A ban of one who comes back means nothing unless it is longer.
        let hours = if jail.settings.recidive.is_some() { 7 * 24 } else { 3 };
        assert_eq!(jail.settings.bantime, Span::For(Duration::from_secs(hours * 3600)), "{name}");
    }
}

#[test]
fn the_default_configuration_of_the_package_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/portero.toml");
    let loaded = Config::load_with(&path, Path::new("/nonexistent")).unwrap();
    assert_eq!(loaded.problems, []);
}

#[test]
fn an_action_is_read_with_its_arguments_and_mistakes_are_pointed_at() {
    let jail = |run: &str| format!("{MAIL}enabled = true\nport = \"none\"\nrun = {run}\n");
    let folder = |run: &str, action: &str| {
        Folder::new(&[("jails/mail.toml", &jail(run)), ("actions/tell.toml", action)])
    };
    let good = folder(
        r#"["tell[dest=\"a@example.org\"]", "tell"]"#,
        "ban = \"mail <dest>\"\ntimeout = \"5s\"\n[tags]\ndest = \"root\"\n[tags_inet6]\ndest = \"six\"\n",
    )
    .good();
    let run = &good.jail("mail").unwrap().run;
    assert_eq!((run[0].name.as_str(), run[1].name.as_str()), ("tell", "tell-2"));
    assert_eq!((run[0].tags["dest"].as_str(), run[0].tags.get("dest?family=inet6")), ("a@example.org", None));
    assert_eq!((run[1].tags["name"].as_str(), run[1].tags["dest?family=inet6"].as_str()), ("mail", "six"));
    assert_eq!(run[0].timeout, Duration::from_secs(5));
    for (run, action, says) in [
        ("[\"tel\"]", "ban = \"x\"", "there is no action \"tel\""),
        ("[\"tell[a\"]", "ban = \"x\"", "the option bracket is not closed"),
        ("[\"../tell\"]", "ban = \"x\"", "not an action's name"),
        ("[\"tell\"]", "bann = \"x\"", "unknown key \"bann\" in an action; did you mean \"ban\"?"),
        ("[\"tell\"]", "ban = 1", "ban must be a text in quotes"),
        ("[\"tell\"]", "timeout = 5", "action tell has no command"),
        ("[\"tell\"]", "ban = \"x\"\ntimeout = 0", "timeout must be longer than 0"),
        ("[\"tell\"]", "ban = \"x\"\n[tags]\n\"a b\" = \"c\"", "is no tag's name"),
    ] {
        let problems = folder(run, action).problems();
        assert!(problems.len() == 1 && problems[0].contains(says), "{run} {action}: {problems:?}");
    }
}
