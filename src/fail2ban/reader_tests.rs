use super::*;
use std::fs;

/// Reads a configuration made of these files.
fn import(files: &[(&str, &str)]) -> Result<Import, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    read(folder.path()).map_err(|error| error.to_string())
}

const FILTER: (&str, &str) = (
    "filter.d/app.conf",
    "[INCLUDES]\nbefore = base.conf\n[Definition]\nfailregex = <pre>bad <HOST><mdre-<mode>>\nmdre-normal =\n\
         mdre-hard = \\s+<word>$\ndatepattern = ^%%Y\n[Init]\nword = again\nmode = normal\n",
);
const BASE: (&str, &str) =
    ("filter.d/base.conf", "[DEFAULT]\nbrand = acme\n[Definition]\npre = ^%(brand)s: \n");
const ACTION: (&str, &str) = (
    "action.d/ban.conf",
    "[Definition]\nactionban = add <name> <port> <ip> <how> <matches> <chain>\nnorestored = yes\n\
         [Init]\nhow = drop\nchain = INPUT\n[Init?family=inet6]\nhow = drop6\n",
);

#[test]
fn later_files_win_option_by_option() {
    let import = import(&[
        FILTER,
        BASE,
        ("jail.conf", "[DEFAULT]\nmaxretry = 1\nbantime = 1\n[app]\nfilter = app\nport = 1\nlogpath = /a\n"),
        ("jail.d/b.conf", "[app]\nenabled = true\nmaxretry = 2\n"),
        ("jail.d/a.local", "[app]\nmaxretry = 4\nlogpath = %(known/logpath)s\n  /b tail\n"),
        ("jail.local", "[app]\nmaxretry = 3\nbantime = 1d 12h\nport = %(known/port)s,2\n[other]\nport = 3\n"),
        ("jail.d/c.rpmsave", "nonsense"),
    ])
    .unwrap();
    let [jail] = &import.jails[..] else { panic!("{:?}", import.jails) };
    assert_eq!((jail.max_retry, &jail.ban_time), (Some(4), &Some(Time::Seconds(129_600))));
    assert_eq!(
        (&jail.ports[..], &jail.log_paths[..]),
        (&["1".into(), "2".into()][..], &["/a".into(), "/b".into()][..])
    );
    assert_eq!(jail.log_tail, ["/b"]);
    assert_eq!(jail.places["maxretry"].at.line(), 2);
    assert!(jail.places["maxretry"].at.file().ends_with("jail.d/a.local"));
}

#[test]
fn filters_are_built_from_includes_arguments_and_tags() {
    let import = import(&[
        FILTER,
        BASE,
        ("filter.d/base.local", "[DEFAULT]\nbrand = zenith\n"),
        ("jail.conf", "[DEFAULT]\nenabled = 1\n[a]\nfilter = app[mode=hard, word=\"x, y\"]\n"),
        ("jail.local", "[b]\nfilter = app\nfailregex = %(known/failregex)s\n  ^more <HOST>\nmaxlines = 2\n"),
    ])
    .unwrap();
    let jail = |name: &str| import.jails.iter().find(|jail| jail.name == name).unwrap();
    assert_eq!(jail("a").failregex, ["^zenith:bad <HOST>\\s+x, y$"]);
    assert_eq!(jail("a").date_pattern.as_deref(), Some("^%Y"));
    assert_eq!(jail("b").failregex, ["^zenith:bad <HOST>", "^more <HOST>"]);
    assert_eq!(jail("b").max_lines, Some(2));
}

#[test]
fn actions_know_their_jail_and_leave_what_depends_on_the_address() {
    let import = import(&[
            ACTION,
            ("jail.conf", "[j]\nenabled = on\nport = ssh\nfilter =\naction = ban[port=%(port)s, chain=<known/chain>]\n  ban[name=two]\n"),
        ])
        .unwrap();
    let actions = &import.jails[0].actions;
    assert_eq!(actions[0].name, "ban");
    assert_eq!(actions[0].commands["actionban"], "add j ssh <ip> <how> <matches> INPUT");
    assert_eq!(actions[0].commands["norestored"], true);
    assert_eq!((actions[1].name.as_str(), actions[1].file.as_str()), ("ban-two", "ban"));
    assert_eq!(actions[1].commands["actionban"], "add two <port> <ip> <how> <matches> INPUT");
}

#[test]
fn a_broken_jail_is_named_and_the_others_run() {
    let import = import(&[
            FILTER,
            BASE,
            ("filter.d/loop.conf", "[Definition]\nfailregex = <a>\na = <b>\nb = <c>\nc = <b>x\n"),
            (
                "jail.conf",
                "[DEFAULT]\nenabled = true\n[good]\nfilter = app\n[missing]\nfilter = nowhere\n\
                 [syntax]\nfilter = app[mode=hard\n[circle]\nfilter = loop\n[noref]\nfilter = app\nlogpath = %(nothing)s\n\
                 [noaction]\nfilter = app\naction = nowhere\n[off]\nenabled = maybe\n",
            ),
        ])
        .unwrap();
    assert_eq!(import.jails.iter().map(|jail| jail.name.as_str()).collect::<Vec<_>>(), ["good"]);
    let refused: Vec<&str> = import
        .notes
        .iter()
        .filter(|note| note.kind == Kind::Refused)
        .filter_map(|note| note.jail.as_deref())
        .collect();
    assert_eq!(refused, ["missing", "syntax", "circle", "noref", "noaction"]);
    assert!(import.notes.iter().any(|note| note.line().contains("jail off: hint: ")), "{:?}", import.notes);
    let missing = import.notes.iter().find(|note| note.jail.as_deref() == Some("missing")).unwrap();
    assert!(
        missing.line().contains("jail.conf:6:1: there is no filter.d/nowhere.conf"),
        "{}",
        missing.line()
    );
}

#[test]
fn a_file_that_cannot_be_parsed_refuses_everything() {
    assert!(import(&[]).unwrap_err().contains("no jail.conf"));
    let error = import(&[("jail.conf", "[a]\nenabled = true\n"), ("jail.local", "[a]\nx = 1\nX = 2\n")]);
    assert!(error.unwrap_err().contains("jail.local:3:1: option x stands twice"));
    let filter = ("filter.d/app.conf", "failregex = x\n");
    assert!(import(&[filter, ("jail.conf", "[a]\nenabled = true\nfilter = app\n")]).is_err());
}

#[test]
fn references_that_grow_without_end_are_stopped() {
    let mut text = "[a]\nenabled = true\nfilter = %(x0)s\nx9 = xxxxxxxxxxxxxxxxxxxxxxxx\n".to_owned();
    for n in 0..9 {
        text.push_str(&format!("x{n} = {}\n", format!("%(x{})s", n + 1).repeat(20)));
    }
    let import = import(&[("jail.conf", &text)]).unwrap();
    assert!(import.jails.is_empty() && import.notes[0].line().contains("grows beyond"), "{:?}", import.notes);
}
