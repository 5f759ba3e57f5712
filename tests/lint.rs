//! `banctl filter lint`: the shipped filters pass it, the patterns that admins copied for years do not.

use std::process::Command;

use portero::config::report::SourceText;
use portero::filter::Filter;
use portero::filter::lint::{self, Fault};
use portero::shipped;

#[test]
fn no_client_chooses_the_address_in_a_shipped_filter() {
    let wanted = std::env::var("PORTERO_FILTER").ok();
    let mut count = 0;
    for (name, text) in shipped::FILTERS {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let source = SourceText::new(format!("filters/{name}.toml"), *text);
        let found = lint::sources(name, &[source]).unwrap();
        println!("{name}: {} findings", found.len());
        count += found.len();
        for finding in found {
            println!("  {finding}\n    {}", finding.pattern);
        }
    }
    assert_eq!(count, 0, "see above");
}

fn faults(pattern: &str) -> Vec<Fault> {
    let found = lint::pasted::pattern(pattern, "failregex", "");
    for finding in &found {
        println!("{finding}");
    }
    found.into_iter().map(|finding| finding.fault).collect()
}

#[test]
fn patterns_of_a_well_known_article_are_fooled() {
    let sasl = r": warning: .*+\[<HOST>\]: SASL (?:LOGIN|PLAIN|(?:CRAM|DIGEST)-MD5) authentication failed";
    let cyrus = r": badlogin: .*\[<HOST>\] (?:plaintext|LOGIN|(?:CRAM|DIGEST)-MD5|NTLM) .*SASL\(-13\): authentication failure";
    assert_eq!(faults(sasl), [Fault::Possessive, Fault::NoAnchor, Fault::GreedyBeforeAddress]);
    assert_eq!(faults(cyrus), [Fault::NoAnchor, Fault::GreedyBeforeAddress]);
}

#[test]
fn patterns_of_many_blogs_are_fooled() {
    for (pattern, fault) in [
        (r"Failed password for .* from <HOST>", Fault::GreedyBeforeAddress),
        (r"Failed password for .*? from <HOST> port \d+", Fault::NotTiedToEnd),
        (r"^Failed password for \S* ?.*? from <HOST>( port \d+)?", Fault::GreedyBeforeAddress),
        (r"authentication failure; .* rhost=<HOST>", Fault::GreedyBeforeAddress),
        (r"auth failed.*rip=<HOST>", Fault::GreedyBeforeAddress),
        (r".*rip=<HOST>,.*", Fault::GreedyBeforeAddress),
        (r"NOQUEUE: reject: RCPT from (.*)\[<HOST>\]: 554", Fault::GreedyBeforeAddress),
        (r"^.*ip=<HOST>;.*authentication failed for .*$", Fault::GreedyBeforeAddress),
        (r"\[.*oip=<HOST>;.* failed|\[.*ip=<HOST>;.* failed", Fault::TwoAddresses),
        (r"^x (?:a+)+ <HOST>$", Fault::NestedRepetition),
        (r"^(?!root)\S+ <HOST>$", Fault::NotLinear),
        (r"^(.)\1 <HOST>$", Fault::NotLinear),
        (r"^a(b <HOST>$", Fault::Syntax),
    ] {
        assert!(faults(pattern).contains(&fault), "{pattern}: {:?}", faults(pattern));
    }
}

#[test]
fn patterns_that_are_pinned_pass() {
    for pattern in [
        r"^Failed password for .* from <HOST> port \d+ ssh2$",
        r"^warning: [^\[\] ]*\[<HOST>\]: SASL [A-Z0-9-]+ authentication failed(?:: .*)?$",
        r"^client <HOST> said: .*$",
    ] {
        assert_eq!(faults(pattern), [], "{pattern}");
    }
}

#[test]
fn an_admins_filter_that_can_be_tricked_is_refused_unless_it_says_so() {
    let text = "description = \"x\"\nfailregex = [\n  '''login of .* from <HOST> failed''',\n]\n";
    let load = |text: &str| {
        let source = SourceText::new("filters/x.toml", text);
        let filter = Filter::from_toml("x", text, "filters/x.toml").unwrap();
        lint::admit(&filter, &[source])
    };
    let shown = load(text).unwrap_err().to_string();
    assert!(shown.starts_with("filters/x.toml:3:3: failregex: greedy text before the address"), "{shown}");
    assert!(shown.contains("it takes 198.51.100.66: Jun  1 06:27:45 mail server[77]: login of "), "{shown}");
    assert!(shown.contains("allow_unsafe = true"), "{shown}");
    assert_eq!(load(&format!("allow_unsafe = true\n{text}")), Ok(()));
    assert_eq!(load(&text.replace("failed'''", "failed$'''")), Ok(()));
}

fn banctl(args: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_banctl")).arg("filter").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn filter_lint_answers_for_files_and_pasted_patterns() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("x.toml"), "failregex = ['''bad .* from <HOST> now''']\n").unwrap();
    std::fs::write(
        path("y.conf"),
        "[Definition]\nfailregex = ^bad login from <HOST>$\n  ^(?=x)bad .* <HOST>\n",
    )
    .unwrap();
    let (code, out, _) = banctl(&["lint", &path("x.toml")]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("x.toml:1:14: greedy text before the address"), "{out}");
    let (code, out, _) = banctl(&["lint", "--json", &path("y.conf")]);
    let found: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, &found[0]["fault"]), (Some(1), &"not-linear".into()));
    assert!(found.iter().all(|finding| finding["place"].as_str().unwrap().ends_with("y.conf:3")), "{out}");
    assert_eq!(banctl(&["lint", "--pattern", "^login from <HOST> failed$"]).0, Some(0));
    let (code, _, error) = banctl(&["lint", "vsftp"]);
    assert!(code == Some(78) && error.contains("did you mean \"vsftpd\"?"), "{error}");
}

#[test]
fn filter_test_answers_for_every_line() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let text = "Jun  1 06:27:45 mail vsftpd[1]: [bob] FAIL LOGIN: Client \"192.0.2.7\"\n\
                Jun  1 06:27:46 mail vsftpd[1]: [bob] OK LOGIN: Client \"192.0.2.7\"\n\
                mail vsftpd[1]: FAIL LOGIN: Client \"2001:db8::1\"\nJun  1 06:27:46 mail imapd[1]: x\n";
    std::fs::write(log.path(), text).unwrap();
    let path = log.path().display().to_string();
    let base = ["test", "--filter", "vsftpd", "--log", &path, "--timezone", "UTC", "--now", "1780300000"];
    let (code, out, _) = banctl(&[&base[..], &["--json"]].concat());
    let found: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, found.len()), (Some(0), 4));
    let parts = |at: usize| {
        let line = &found[at];
        ["line", "match", "host", "user", "time"].map(|key| line[key].to_string()).join(" ")
    };
    assert_eq!(parts(0), "1 true \"192.0.2.7\" \"bob\" 1780295265");
    assert_eq!(parts(1), "2 false \"192.0.2.7\" \"bob\" 1780295266");
    assert_eq!(parts(2), "3 true \"2001:db8::1\" null null");
    assert_eq!(found[3].to_string(), r#"{"ignored":false,"line":4,"match":false}"#);
    let (_, out, _) = banctl(&[&base[..], &["--json", "--journal"]].concat());
    assert!(out.lines().nth(2).unwrap().contains("\"time\":1780300000"), "{out}");
    let (code, out, _) = banctl(&base);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("1: failure 192.0.2.7 bob\n")
            && out.contains("a line of imapd; this filter reads vsftpd*")
    );
    assert!(!out.contains('\x1b'), "no colours but on a terminal");
    let (code, _, error) = banctl(&[&base[..], &["--fail2ban-dir", "/x"]].concat());
    assert!(code == Some(78) && error.contains("no filter.d/"), "{error}");
}

#[test]
fn filters_are_listed_and_shown() {
    let (code, out, _) = banctl(&["list", "--json"]);
    let names: Vec<String> = out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(code, Some(0));
    assert!(shipped::FILTERS.iter().all(|(name, _)| names.iter().any(|known| known == name)));
    let (code, out, _) = banctl(&["show", "vsftpd"]);
    assert!(code == Some(0) && out.starts_with("# ") && out.contains("FAIL LOGIN"), "{out}");
}
