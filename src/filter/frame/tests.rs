use super::*;

fn parts(line: &str) -> Option<(String, String, u32)> {
    let framed = syslog(line.as_bytes())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(framed.ident?), text(framed.message), framed.times))
}

#[test]
fn every_syslog_form_gives_the_same_parts() {
    for line in [
        "Jun  1 06:27:45 mail sshd[12]: hello: world",
        "<38>Jun  1 06:27:45 mail sshd[12]: hello: world",
        "Jun  1 06:27:45 2026 mail sshd[12]: hello: world",
        "2026-06-01T06:27:45.123456+02:00 mail sshd[12]: hello: world",
        "2026-06-01T06:27:45.123456+02:00 mail sshd: hello: world",
        "Jun  1 06:27:45 sshd[12]: hello: world",
        "Jun  1 06:27:45 sshd: hello: world",
        "Jun  1 06:27:45 fd00:db8:: sshd[12]: hello: world",
        "mail sshd[12]: hello: world",
        "<38>1 2026-06-01T06:27:45Z mail sshd 12 - - hello: world",
        "<38>1 - mail sshd 12 - -  hello: world",
        "<38>1 2026-06-01T06:27:45Z mail sshd 12 ID [a b=\"x]\\\"\"][c d=\"e\"] \u{feff}hello: world",
        "Jun  1 06:27:45 mail sshd[12]: [   12.345678] hello: world",
        "Jun  1 06:27:45 2001:db8::25 sshd[12]: hello: world",
        "Jun  1 06:27:45 mail auth.info sshd[12]: hello: world",
        "Mon Jun  1 06:27:45 2026 authpriv.warn sshd[12]: hello: world",
        "Jun  1 06:27:45 <auth.info> mail sshd[12]: hello: world",
        "Jun  1 06:27:45 mail sshd[12]: [ID 800047 auth.info] hello: world",
        "Mon 2026-06-01 06:27:45 UTC mail sshd[12]: hello: world",
        "Mon 2026-06-01 06:27:45.123456 CEST mail sshd[12]: hello: world",
        "2026-06-01T06:27:45.123456789Z Jun  1 06:27:45 mail sshd[12]: hello: world",
        "mail-1  | Jun  1 06:27:45 mail sshd[12]: hello: world",
        "2026-06-01 06:27:45,417 mail sshd[12] hello: world",
        "1 2026-06-01T06:27:45Z mail sshd 12 - - hello: world",
        "2026-06-01T06:27:45Z mail sshd 12 - - hello: world",
    ] {
        assert_eq!(parts(line), Some(("sshd".into(), "hello: world".into(), 1)), "{line}");
    }
}

#[test]
fn repeated_messages_are_opened() {
    assert_eq!(
        parts("Jun  1 06:27:45 mail sshd[12]: message repeated 3 times: [ hello]"),
        Some(("sshd".into(), "hello".into(), 3))
    );
    let as_it_is = "message repeated 3 times: [ hello";
    assert_eq!(parts(&format!("Jun  1 06:27:45 mail x: {as_it_is}")).unwrap().1, as_it_is);
}

#[test]
fn what_is_no_syslog_line_is_none() {
    for line in [
        "",
        " ",
        "x",
        "Jun  1 06:27:45",
        "Jun  1 06:27:45 mail",
        "Jun  1 06:27:45 mail sshd",
        "Jun  1 06:27:45 mail last message repeated 2 times",
        "<38>1 2026-06-01T06:27:45Z mail sshd",
        "<>x y z: m",
        "[2026-06-01 06:27:45] mail sshd[12]: x",
        "Jun  1 06:27:45 mail sshd[12 x]: y",
        "Jun  1 06:27:45 mail x.info sshd[12]: y",
        "Jun  1 06:27:45 mail auth.x sshd[12]: y",
        "Jun  1 06:27:45 mail sshd 12 - - y",
        "2026-06-01 06:27:45 mail sshd 12 - - y",
        "mail | sshd",
        "mail sshd[12] y",
        "{\"url\":\"/x sshd[12]: y",
        "Jun  1 06:27:45 mail sshd[x] y",
        "mail 1 | Jun  1 06:27:45 mail sshd[12]: y",
    ] {
        assert_eq!(parts(line), None, "{line}");
    }
}

#[test]
fn containers_in_containers_are_not_followed() {
    let line = "a | ".repeat(16_000) + "Jun  1 06:27:45 mail sshd[12]: y";
    assert_eq!(parts(&line), None);
    assert!(date(line.as_bytes()).is_none());
}

#[test]
fn a_date_frame_leaves_the_rest() {
    for (line, want) in [
        ("2026-06-01 06:27:45,895 WARN  [x] [y] security - z", "WARN  [x] [y] security - z"),
        ("2026/06/01 06:27:45 [error] 12#12: *3 user", "[error] 12#12: *3 user"),
        ("[01-Jun-2026 06:27:45 +0000]: <s> IMAP Error: x", "<s> IMAP Error: x"),
        ("Jun 01 06:27:45 sogod [123]: y", "sogod [123]: y"),
        ("web-1 | 2026/06/01 06:27:45 [error] 12#12: *3 user", "[error] 12#12: *3 user"),
        ("[Mon Jun 01 06:27:45.123456 2026] [auth_basic:error] [pid 1]", "[auth_basic:error] [pid 1]"),
    ] {
        let framed = date(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(framed.message), want);
    }
}

#[test]
fn ident_globs_fit_whole_names() {
    let fits = |glob: &str, ident: &str, short| IdentGlob::new(glob).fits(ident.as_bytes(), short);
    assert!(fits("postfix/smtpd", "postfix/smtpd", false));
    assert!(!fits("postfix/smtpd", "postfix/smtpd2", false));
    assert!(fits("postfix/*/smtpd", "postfix/submission/smtpd", false));
    assert!(fits("postfix*/smtpd", "postfix-out/smtpd", false));
    assert!(fits("*", "anything", false));
    assert!(!fits("postfix/smtpd", "postfix", false));
    assert!(fits("postfix/smtpd", "postfix", true));
}
