//! What fail2ban takes without a word although it hardly was meant.

use std::collections::BTreeSet;

use super::note::{Kind, Note};
use super::reader::{FILTER_OPTIONS, Import, JAIL_OPTIONS};
use crate::text::suggest;

/// Values that hold no `#` unless somebody took it for a comment.
const PLAIN: &[&str] =
    &["bantime", "findtime", "maxretry", "ignoreip", "port", "logpath", "enabled", "backend"];

/// Looks for options that nothing reads and for `#` taken as a comment, in `[DEFAULT]` and the enabled jails.
pub fn hints(import: &Import) -> Vec<Note> {
    let config = &import.config;
    let sections = || config.sections.values().chain([&config.defaults]);
    let mut used: BTreeSet<&str> = JAIL_OPTIONS.iter().chain(FILTER_OPTIONS).copied().collect();
    used.extend(["port", "protocol", "chain", "fail2ban_version", "fail2ban_confpath"]);
    for value in sections().flat_map(|options| options.values()) {
        for reference in value.text.split("%(").skip(1).filter_map(|rest| Some(rest.split_once(")s")?.0)) {
            used.insert(reference.rsplit('/').next().unwrap_or(reference));
        }
    }
    let enabled = |name: &str| import.jails.iter().any(|jail| jail.name == name);
    let jails =
        config.sections.iter().filter(|(name, _)| enabled(name)).map(|(name, options)| (Some(name), options));
    let mut notes = Vec::new();
    for (jail, options) in jails.chain([(None, &config.defaults)]) {
        for (option, value) in options {
            let mut hint = |text: String| {
                notes.push(Note { kind: Kind::Hint, jail: jail.cloned(), error: value.at.error(text) });
            };
            // The stock files offer action_mw and the like for use; nobody has to.
            if !used.contains(option.as_str()) && !option.starts_with("action_") {
                let meant = suggest(
                    option,
                    JAIL_OPTIONS.iter().chain(FILTER_OPTIONS).chain(&["port", "protocol"]).copied(),
                );
                let meant = meant.map(|word| format!("; {word} was meant?")).unwrap_or_default();
                // Any other name may be there for later use.
                if !meant.is_empty() {
                    hint(format!("nothing reads {option}{meant}"));
                }
            }
            if PLAIN.contains(&option.as_str()) && value.text.contains(" #") {
                hint(format!("{option}: # within a line begins no comment here; it is part of the value"));
            }
        }
    }
    notes
}
