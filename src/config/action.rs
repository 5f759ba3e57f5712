//! `run` of a jail, and the actions it names: actions/NAME.toml.

use std::sync::Arc;
use std::time::Duration;

use super::raw::{self, Places};
use super::report::{ReportedError, SourceText};
use super::value::{Entries, Value, parse};
use crate::action::{Definition, Verb};
use crate::fail2ban::options;
use crate::jail::JailName;

/// The keys of an action beside those of [`Verb`].
const OTHER_KEYS: &[&str] = &[
    "description",
    "timeout",
    "norestored",
    "start_on_demand",
    "repair_on_unban",
    "tags",
    "tags_inet4",
    "tags_inet6",
];

/// A command that may take longer than this is no reaction to a ban.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// Reads `run = ["mail", "cloudflare[token=...]"]` with the files that it names. Arguments go before the file's tags.
///
/// # Errors
/// No such file, or something in it is wrong.
pub(super) fn of_value(
    value: &Value,
    places: &Places,
    jail: &JailName,
) -> Result<Vec<Arc<Definition>>, ReportedError> {
    value.texts("run")?;
    let mut all: Vec<Arc<Definition>> = Vec::new();
    for item in value.list() {
        let text = item.text("run")?;
        let wrong = |why: &str| {
            item.error(format!("run {text:?}: {why}; examples: \"mail\", \"mail[dest=root@example.org]\""))
        };
        let (name, arguments) = options::extract(text.trim()).map_err(|why| wrong(&why))?;
        if !is_file_name(&name) {
            return Err(wrong("not an action's name"));
        }
        let path = places.admin.join("actions").join(format!("{name}.toml"));
        let Some(source) = raw::read(&path)? else {
            return Err(item.error(format!("there is no action {name:?}: no file {}", path.display())));
        };
        let mut definition = definition(&source, &name)?;
        let nth = all.iter().filter(|other| other.file == name).count();
        if nth > 0 {
            definition.name = format!("{name}-{}", nth + 1);
        }
        for (key, value) in [("name", jail.as_str()), ("actname", &definition.name.clone())] {
            definition.tags.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
        for (key, value) in arguments {
            definition.tags.retain(|known, _| known.split_once('?').is_none_or(|(plain, _)| plain != key));
            definition.tags.insert(key, value);
        }
        all.push(Arc::new(definition));
    }
    Ok(all)
}

/// A name without a path in it.
fn is_file_name(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.bytes().all(fit)
}

fn definition(source: &SourceText, name: &str) -> Result<Definition, ReportedError> {
    let mut definition = Definition::new(name, name);
    let known: Vec<&str> =
        Verb::ALL.iter().map(|verb| verb.name()).chain(OTHER_KEYS.iter().copied()).collect();
    for (key, value) in parse(source)? {
        let name = key.name.as_str();
        if let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.name() == name) {
            definition.commands.insert(verb, value.text(name)?.to_owned());
            continue;
        }
        match name {
            "description" => drop(value.text(name)?),
            "timeout" => {
                definition.timeout = value.duration(name)?;
                if definition.timeout.is_zero() || definition.timeout > TIMEOUT_MAX {
                    return Err(value.error("timeout must be longer than 0 and at most a day"));
                }
            }
            "norestored" => definition.norestored = value.flag(name)?,
            "start_on_demand" => definition.on_demand = Some(value.flag(name)?),
            "repair_on_unban" => definition.repair_on_unban = value.flag(name)?,
            "tags" => tags(&mut definition, value.table(name)?, "")?,
            "tags_inet4" => tags(&mut definition, value.table(name)?, "?family=inet4")?,
            "tags_inet6" => tags(&mut definition, value.table(name)?, "?family=inet6")?,
            _ => return Err(key.unknown("an action", &known)),
        }
    }
    if Verb::ALL.into_iter().all(|verb| definition.command(verb).is_none()) {
        return Err(source.error_in_whole(format!(
            "action {name} has no command; examples: ban = \"logger banned <ip>\", unban = \"logger unbanned <ip>\""
        )));
    }
    Ok(definition)
}

fn tags(definition: &mut Definition, entries: &Entries, family: &str) -> Result<(), ReportedError> {
    for (key, value) in entries {
        if key.name.is_empty() || key.name.contains(['<', '>', ' ', '?']) {
            return Err(key.error(format!(
                "{:?} is no tag's name: blanks, \"<\", \">\" and \"?\" do not go",
                key.name
            )));
        }
        definition.tags.insert(format!("{}{family}", key.name), value.text(&key.name)?.to_owned());
    }
    Ok(())
}

/// `definition` as a file for [`of_value`]; the place of each command is the business of the caller.
pub fn to_toml(definition: &Definition) -> String {
    let mut file = toml::Table::new();
    for verb in Verb::ALL {
        if let Some(command) = definition.command(verb) {
            file.insert(verb.name().to_owned(), command.into());
        }
    }
    let timeout = definition.timeout;
    if timeout != crate::action::definition::TIMEOUT_DEFAULT {
        file.insert("timeout".to_owned(), format!("{}s", timeout.as_secs().max(1)).into());
    }
    for (key, set) in [("norestored", definition.norestored), ("repair_on_unban", definition.repair_on_unban)]
    {
        if set {
            file.insert(key.to_owned(), true.into());
        }
    }
    if let Some(on_demand) = definition.on_demand {
        file.insert("start_on_demand".to_owned(), on_demand.into());
    }
    for (key, family) in [("tags", ""), ("tags_inet4", "?family=inet4"), ("tags_inet6", "?family=inet6")] {
        let tags: toml::Table = definition
            .tags
            .iter()
            .filter_map(|(name, value)| {
                let plain = if family.is_empty() { name } else { name.strip_suffix(family)? };
                (!plain.contains('?')).then(|| (plain.to_owned(), value.as_str().into()))
            })
            .collect();
        if !tags.is_empty() {
            file.insert(key.to_owned(), tags.into());
        }
    }
    toml::to_string_pretty(&file).expect("texts and switches are TOML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_written_as_toml_reads_back_the_same() {
        let mut definition = Definition::new("x", "x");
        let ban = "printf '%s' \"<ip> <matches>\\n\" |\n  <tool> '''quoted''' <F-USER>\n";
        definition.commands.insert(Verb::Ban, ban.to_owned());
        definition.commands.insert(Verb::Start, "start".to_owned());
        definition.tags.insert("tool".to_owned(), "iptables <lock>".to_owned());
        definition.tags.insert("tool?family=inet6".to_owned(), "ip6tables <lock>".to_owned());
        definition.tags.insert("lock".to_owned(), "-w".to_owned());
        definition.timeout = Duration::from_secs(90);
        definition.norestored = true;
        definition.on_demand = Some(false);
        let text = to_toml(&definition);
        let source = SourceText::new("actions/x.toml", text.clone());
        assert_eq!(super::definition(&source, "x").unwrap(), definition, "{text}");
    }
}
