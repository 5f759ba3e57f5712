//! The tags a fail2ban regex may carry (`<HOST>`, `<F-USER>…</F-USER>`, `<SKIPLINES>` …), as named groups.

use std::collections::BTreeSet;

const IP4: &str = r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})";
/// fail2ban asks by look-behind that the last colon follow a colon. What stands before always ends in one,
/// so nothing is lost without it, and the linear engine can run this.
const IP6: &str = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|:))";
const DNS: &str = r"(?P<dns>[\w\-.^_]*\w)";
const CIDR: &str = r"(?P<cidr>\d+)";

/// The group name that a tag's name stands for.
pub fn group_of(tag: &str) -> String {
    match tag.to_lowercase().as_str() {
        "id" => "fid".to_owned(),
        "port" => "fport".to_owned(),
        other => other.to_owned(),
    }
}

/// Replaces every known tag of `regex`; an unknown one stays as it is.
///
/// `names`: whether `<HOST>` takes host names too (every `usedns` but `no`).
pub fn replace(regex: &str, names: bool) -> String {
    let mut out = String::with_capacity(regex.len() * 2);
    let mut open = BTreeSet::new();
    let mut skiplines = 0;
    let mut rest = regex;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match tag_at(rest) {
            Some(tag) => {
                rest = &rest[tag.len() + 2..];
                match expand(tag, names, &mut open, &mut skiplines) {
                    Some(text) => out.push_str(&text),
                    None => out.push_str(&format!("<{tag}>")),
                }
            }
            None => {
                out.push('<');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The text between the angle brackets, if `text` begins with a tag.
fn tag_at(text: &str) -> Option<&str> {
    let inside = &text[1..text.find('>')?];
    let name = inside.strip_prefix('/').unwrap_or(inside);
    let name = name.strip_suffix('/').unwrap_or(name);
    let named = !name.is_empty() && name.chars().all(|c| c == '_' || c == '-' || c.is_alphanumeric());
    named.then_some(inside)
}

fn expand(tag: &str, names: bool, open: &mut BTreeSet<String>, skiplines: &mut usize) -> Option<String> {
    let address = || format!(r"\[?(?:{IP4}|{IP6})\]?");
    Some(match tag {
        "HOST" if names => format!("(?:{}|{DNS})", address()),
        "HOST" | "ADDR" | "F-ADDR/" => address(),
        "IP4" | "F-IP4/" => IP4.to_owned(),
        "IP6" | "F-IP6/" => IP6.to_owned(),
        "DNS" | "F-DNS/" => DNS.to_owned(),
        "CIDR" | "F-CIDR/" => CIDR.to_owned(),
        "SUBNET" | "F-SUBNET/" => format!(r"\[?(?:{IP4}|{IP6})(?:/{CIDR})?\]?"),
        "F-ID/" => r"(?P<fid>\S+)".to_owned(),
        "F-PORT/" => r"(?P<fport>\w+)".to_owned(),
        "SKIPLINES" => {
            *skiplines += 1;
            format!(r"\n(?P<skiplines{}>(?:(?:.*\n)*?))", *skiplines - 1)
        }
        _ => {
            let (closes, name) = match tag.strip_prefix('/') {
                Some(name) => (true, name),
                None => (false, tag),
            };
            let name = name.strip_prefix("F-")?;
            let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
            if name.is_empty() || !name.bytes().all(upper) {
                return None;
            }
            match closes {
                true => open.contains(name).then(|| ")".to_owned())?,
                false => {
                    open.insert(name.to_owned());
                    format!("(?P<{}>", group_of(name))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_tags_become_groups_and_unknown_ones_stay() {
        assert_eq!(
            replace(r"^<F-USER>\S+</F-USER> <F-ID>x</F-ID> <nosuch> </F-RUSER>", true),
            r"^(?P<user>\S+) (?P<fid>x) <nosuch> </F-RUSER>"
        );
        assert_eq!(replace("a<SKIPLINES>b<SKIPLINES>", true).matches("skiplines").count(), 2);
        assert_eq!(replace("(?P<user>a) < b > <", true), "(?P<user>a) < b > <");
    }

    #[test]
    fn host_takes_names_unless_usedns_is_no() {
        assert!(replace("<HOST>", true).contains("?P<dns>"));
        assert!(!replace("<HOST>", false).contains("?P<dns>"));
        let host = regex::Regex::new(&format!("^{}$", replace("<HOST>", true))).expect("compiles");
        for (text, group) in [
            ("192.0.2.7", "ip4"),
            ("::ffff:192.0.2.7", "ip4"),
            ("[2001:db8::1]", "ip6"),
            ("2001:db8::", "ip6"),
            ("mx.example.org", "dns"),
        ] {
            assert!(host.captures(text).expect("matches").name(group).is_some(), "{text} is {group}");
        }
    }
}
