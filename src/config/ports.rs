//! Ports as admins type them: numbers, ranges, service names, `"all"`.

use super::report::ReportedError;
use super::value::{Kind, Value};
use crate::firewall::{PortRange, Ports, Protocol};
use crate::text::suggest;

/// Services that mail hosts name, so that a container without /etc/services knows them too. Source: the IANA
/// registry of service names, and Debian's /etc/services for the names beside it (`smtps`, `ssmtp`).
const SERVICES: &[(&str, u16)] = &[
    ("ssh", 22),
    ("ftp", 21),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("nntp", 119),
    ("imap", 143),
    ("imap2", 143),
    ("ldap", 389),
    ("https", 443),
    ("smtps", 465),
    ("ssmtp", 465),
    ("submissions", 465),
    ("urd", 465),
    ("nntps", 563),
    ("submission", 587),
    ("msa", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("sieve", 4190),
    ("managesieve", 4190),
];

/// `port = ["smtp", 465, "1000-2000"]`, `port = "smtp,submission"`, `port = "all"`; `port = "none"` shuts nobody out:
/// the jail's bans are for its actions alone.
pub(super) fn of_value(value: &Value) -> Result<Ports, ReportedError> {
    let mut ranges = Vec::new();
    for item in value.list() {
        match &item.kind {
            Kind::Integer(_) => ranges.push(PortRange::from(item.number("port", 1..=65535)? as u16)),
            Kind::Text(text) if text.trim() == "all" => {
                if value.list().len() > 1 {
                    return Err(item.error("port \"all\" stands alone: port = \"all\""));
                }
                return Ok(Ports::All);
            }
            Kind::Text(text) if text.trim() == "none" => {
                if value.list().len() > 1 {
                    return Err(item.error("port \"none\" stands alone: port = \"none\""));
                }
                return Ok(Ports::List(Vec::new()));
            }
            Kind::Text(text) => {
                for word in text.split(',') {
                    ranges.push(range_of(word.trim()).map_err(|message| item.error(message))?);
                }
            }
            _ => {
                item.text("port").map_err(|_| {
                    item.error("port must be numbers, ranges or service names; examples: [\"smtp\", 465, \"1000-2000\"], \"all\"")
                })?;
            }
        }
    }
    if ranges.is_empty() {
        return Err(value.error("port is empty: nothing would be banned; examples: [\"smtp\", 465], \"all\""));
    }
    Ok(Ports::List(ranges))
}

/// Single words of any form that [`of_value`] takes, but for `all`; fail2ban's `first:last` among them.
pub(super) fn of_words(words: &[String]) -> Result<Ports, String> {
    words.iter().map(|word| range_of(word)).collect::<Result<_, _>>().map(Ports::List)
}

fn range_of(word: &str) -> Result<PortRange, String> {
    if let Some((first, last)) = word.split_once(['-', ':'])
        && let (Some(first), Some(last)) = (number(first), number(last))
    {
        return if first <= last {
            Ok(PortRange { first, last })
        } else {
            Err(format!("port range {word} runs backwards; did you mean {last}-{first}?"))
        };
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty() {
        let out = || format!("port {word} is not between 1 and 65535");
        return number(word).map(PortRange::from).ok_or_else(out);
    }
    service(word).map(PortRange::from).ok_or_else(|| {
        let help = match suggest(word, SERVICES.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "examples: \"smtp\", 465, \"1000-2000\", \"all\"".to_owned(),
        };
        format!("port {word:?} is no service known here; {help}")
    })
}

fn number(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

/// A service's port: our own table first, so that names mean the same on every host.
fn service(name: &str) -> Option<u16> {
    let own = SERVICES.iter().find(|(service, _)| *service == name).map(|(_, port)| *port);
    own.or_else(|| in_services_file(&std::fs::read_to_string("/etc/services").ok()?, name))
}

/// Source: services(5): `name port/protocol aliases... # comment`.
fn in_services_file(text: &str, name: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let mut fields = line.split('#').next()?.split_ascii_whitespace();
        let (service, port) = (fields.next()?, fields.next()?);
        (service == name || fields.any(|alias| alias == name)).then_some(())?;
        number(port.split('/').next()?)
    })
}

/// `protocol = "tcp"` or a list; `"all"` is any protocol, and only with `port = "all"`.
pub(super) fn protocols(value: &Value, ports: &Ports) -> Result<Vec<Protocol>, ReportedError> {
    const WORDS: &[&str] = &["tcp", "udp", "sctp", "dccp", "all"];
    let mut protocols = Vec::new();
    if !matches!(value.kind, Kind::Text(_) | Kind::List(_)) {
        value.text("protocol")?;
    }
    for item in value.list() {
        match item.word("protocol", WORDS)? {
            "tcp" => protocols.push(Protocol::Tcp),
            "udp" => protocols.push(Protocol::Udp),
            "sctp" => protocols.push(Protocol::Sctp),
            "dccp" => protocols.push(Protocol::Dccp),
            _ if *ports == Ports::All && value.list().len() == 1 => {}
            _ => return Err(item.error("protocol \"all\" goes only with port = \"all\"")),
        }
    }
    protocols.sort_unstable();
    protocols.dedup();
    Ok(protocols)
}

/// Ports as a person reads them: `25,465,1000-2000`, `all`.
pub fn show(ports: &Ports) -> String {
    match ports {
        Ports::All => "all".to_owned(),
        Ports::List(ranges) if ranges.is_empty() => "none".to_owned(),
        Ports::List(ranges) => {
            let one = |range: &PortRange| match range {
                PortRange { first, last } if first == last => first.to_string(),
                PortRange { first, last } => format!("{first}-{last}"),
            };
            ranges.iter().map(one).collect::<Vec<_>>().join(",")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::SourceText;
    use crate::config::value::parse;

    fn ports(typed: &str) -> Result<String, String> {
        let source = SourceText::new("f", format!("port = {typed}"));
        let entries = parse(&source).unwrap();
        of_value(&entries[0].1).map(|ports| show(&ports)).map_err(|error| error.message)
    }

    #[test]
    fn ports_are_numbers_ranges_names_or_all() {
        assert_eq!(
            ports(r#"["smtp", "submission", 465, "4000-4010", "5000:5001"]"#).unwrap(),
            "25,587,465,4000-4010,5000-5001"
        );
        assert_eq!(ports(r#""smtp,imaps, sieve""#).unwrap(), "25,993,4190");
        assert_eq!(ports("22").unwrap(), "22");
        assert_eq!(ports(r#""all""#).unwrap(), "all");
        assert_eq!(ports(r#""none""#).unwrap(), "none");
    }

    #[test]
    fn what_is_no_port_is_refused_with_the_reason() {
        assert_eq!(ports("0").unwrap_err(), "port must be from 1 to 65535, not 0");
        assert_eq!(ports(r#""70000""#).unwrap_err(), "port 70000 is not between 1 and 65535");
        assert_eq!(ports(r#""20-10""#).unwrap_err(), "port range 20-10 runs backwards; did you mean 10-20?");
        assert_eq!(
            ports(r#""submision""#).unwrap_err(),
            "port \"submision\" is no service known here; did you mean \"submission\"?"
        );
        assert!(ports("[]").unwrap_err().starts_with("port is empty"));
        assert!(ports(r#"["all", 25]"#).unwrap_err().contains("stands alone"));
        assert!(ports("[true]").unwrap_err().contains("service names"));
    }

    #[test]
    fn the_services_file_is_read_with_aliases_and_comments() {
        let text = "# x\nsmtp\t\t25/tcp\t\tmail\nfoo 77/udp bar baz # imap2\n";
        assert_eq!(in_services_file(text, "mail"), Some(25));
        assert_eq!(in_services_file(text, "baz"), Some(77));
        assert_eq!(in_services_file(text, "imap2"), None);
    }
}
