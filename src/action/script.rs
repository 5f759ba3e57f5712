//! From a command with tags to what the shell is given: a text and the environment. Pure.
//!
//! Two passes, as fail2ban has them: first the action's own tags, which may be made of one another; then those of the
//! ban, once and not again, so that nothing in a log can name a tag. What a stranger wrote is put into the environment
//! and the text refers to it; nothing of it ever becomes part of the text.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, Family, Verb};
use super::quote::Quoting;
use super::ticket::Value;
use crate::fail2ban::tags::{next_tag, substitute};

/// One variable holds no more than this; the kernel takes 128 KiB. Bytes.
const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// Values of these are never looked for among an action's own tags.
const OF_THE_BAN: [&str; 3] = ["matches", "ipmatches", "ipjailmatches"];

/// What `/bin/sh -c` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Script {
    pub text: String,
    /// Names begin with `f2bV_`.
    pub env: BTreeMap<String, Vec<u8>>,
}

/// This host's names, for `<fq-hostname>` and `<sh-hostname>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames {
    pub full: String,
    pub short: String,
}

/// The command for `verb` with the action's own tags replaced; empty if there is none.
///
/// # Errors
/// Tags that refer to themselves.
pub fn fixed(
    definition: &Definition,
    verb: Verb,
    family: Family,
    names: &HostNames,
) -> Result<String, String> {
    let Some(command) = definition.command(verb) else { return Ok(String::new()) };
    let own = |tag: &str| -> Option<String> {
        let by_family = match family {
            Family::Any => None,
            family => definition.tags.get(&format!("{tag}?family={}", family.name())),
        };
        let value = by_family.or_else(|| definition.tags.get(tag)).cloned();
        value
            .or_else(|| (tag == "timeout").then(|| definition.timeout.as_secs().to_string()))
            .or_else(|| {
                let other =
                    Verb::ALL.into_iter().find(|verb| tag.strip_prefix("action") == Some(verb.name()))?;
                definition.commands.get(&other).cloned()
            })
            .or_else(|| always(tag, names))
    };
    // A name that no tag can have.
    let mut texts = BTreeMap::from([(String::new(), command.to_owned())]);
    let ignored: BTreeSet<String> = OF_THE_BAN.iter().map(|tag| (*tag).to_owned()).collect();
    substitute(&mut texts, &ignored, &mut |tag| Ok(own(tag)))
        .map_err(|why| format!("action{}{why}", verb.name()))?;
    Ok(texts.remove("").unwrap_or_default())
}

fn always(tag: &str, names: &HostNames) -> Option<String> {
    match tag {
        "br" => Some("\n".to_owned()),
        "sp" => Some(" ".to_owned()),
        "fq-hostname" => Some(names.full.clone()),
        "sh-hostname" => Some(names.short.clone()),
        _ => None,
    }
}

/// Puts the ban's tags into `text`. A tag that `value` does not know stays as it is: it may be the shell's own `<`.
pub fn dynamic(text: &str, mut value: impl FnMut(&str) -> Option<Value>) -> Script {
    let mut script = Script::default();
    let mut quoting = Quoting::new();
    let mut done = 0;
    let mut from = 0;
    while let Some((start, end)) = next_tag(text, from) {
        from = end;
        let tag = &text[start + 1..end - 1];
        let Some(value) = value(tag) else { continue };
        quoting.read(&text[done..start]);
        script.text.push_str(&text[done..start]);
        done = end;
        match value {
            Value::Own(own) if own.bytes().all(is_plain) => script.text.push_str(&own),
            Value::Own(own) => script.refer(&quoting, tag, own.into_bytes()),
            Value::Foreign(bytes) => script.refer(&quoting, tag, bytes),
        }
    }
    script.text.push_str(&text[done..]);
    script
}

/// What addresses, networks, numbers and jails' names are made of: nothing that a shell gives a meaning.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".:/_-".contains(&byte)
}

impl Script {
    fn refer(&mut self, quoting: &Quoting, tag: &str, mut value: Vec<u8>) {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        // As fail2ban spells it: F_ and the field in lower case.
        let name: String = match tag.strip_prefix("F-") {
            Some(field) => format!("F_{}", field.to_ascii_lowercase().chars().map(word).collect::<String>()),
            None => tag.chars().map(word).collect(),
        };
        let name = format!("f2bV_{name}");
        // No variable can hold the zero byte.
        value.retain(|byte| *byte != 0);
        value.truncate(VARIABLE_BYTES_MAX);
        self.text.push_str(&quoting.reference(&name));
        self.env.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(ban: &str, tags: &[(&str, &str)]) -> Definition {
        let mut definition = Definition::new("x", "x");
        definition.commands.insert(Verb::Ban, ban.to_owned());
        definition.tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        definition
    }

    fn names() -> HostNames {
        HostNames { full: "mx.example.org".into(), short: "mx".into() }
    }

    #[test]
    fn an_actions_tags_are_made_of_one_another_and_may_differ_by_family() {
        let definition = definition(
            "<tool> -I f2b-<name><br><opt-<kind>> <ip> < in > out <sh-hostname>",
            &[
                ("tool", "iptables <lock>"),
                ("tool?family=inet6", "ip6tables <lock>"),
                ("lock", "-w"),
                ("kind", "a"),
                ("opt-a", "-s"),
                ("name", "sshd"),
            ],
        );
        let text = |family| fixed(&definition, Verb::Ban, family, &names()).unwrap();
        assert_eq!(text(Family::Inet4), "iptables -w -I f2b-sshd\n-s <ip> < in > out mx");
        assert_eq!(text(Family::Inet6), "ip6tables -w -I f2b-sshd\n-s <ip> < in > out mx");
        assert_eq!(fixed(&definition, Verb::Stop, Family::Any, &names()).unwrap(), "");
    }

    #[test]
    fn a_circle_of_tags_is_an_error() {
        let definition = definition("<a>", &[("a", "<b>"), ("b", "<a>")]);
        assert!(fixed(&definition, Verb::Ban, Family::Any, &names()).is_err());
    }

    #[test]
    fn what_a_stranger_wrote_is_in_the_environment_and_not_in_the_text() {
        let evil = b"$(touch x)`id`'\"; <ip>\n\0rm -rf".to_vec();
        let script = dynamic("ban <ip> \"<F-USER>\" '<matches>' <F-USER> <F-NONE> <STDIN", |tag| match tag {
            "ip" => Some(Value::Own("203.0.113.7".into())),
            "F-NONE" => Some(Value::Foreign(Vec::new())),
            "F-USER" | "matches" => Some(Value::Foreign(evil.clone())),
            _ => None,
        });
        assert_eq!(
            script.text,
            "ban 203.0.113.7 \"${f2bV_F_user}\" ''\"${f2bV_matches}\"'' \"${f2bV_F_user}\" \"${f2bV_F_none}\" <STDIN"
        );
        assert_eq!(script.env["f2bV_F_user"], b"$(touch x)`id`'\"; <ip>\nrm -rf");
        assert_eq!(script.env.len(), 3);
    }

    #[test]
    fn own_values_with_odd_characters_go_the_safe_way_too() {
        let script = dynamic("x <ip>", |_| Some(Value::Own("a b".into())));
        assert_eq!(script.text, "x \"${f2bV_ip}\"");
    }
}
