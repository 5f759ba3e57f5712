//! `banctl filter lint`: the shipped filters pass it, the patterns that admins copied for years do not.

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
