//! What is tested: a pattern, a filter by its name or the path of one, with what the options say instead.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::{Options, shortened};
use crate::fail2ban::client::datepattern::described;
use crate::fail2ban::client::value::Value;
use crate::fail2ban::definition::Definition;
use crate::fail2ban::files::Files;
use crate::fail2ban::interpolate::Vars;
use crate::fail2ban::matcher::Rules;
use crate::fail2ban::options::{Arguments, extract};

/// What a filter may say that is of use here.
const OPTIONS: &[&str] =
    &["prefregex", "failregex", "ignoreregex", "maxlines", "datepattern", "usedns", "logtimezone"];

/// Rules, and the lines that tell where they come from.
pub struct Source {
    pub rules: Rules,
    pub said: Vec<String>,
}

/// What may be a filter's name: a word or a path, with or without options.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^/{0,3}[\w/\-.]+(?:\[.*\])?$").expect("it is sound"));

/// Reads what `regex` and the options name.
///
/// # Errors
/// In words for a person: a filter that cannot be read.
pub fn find(options: &Options, regex: &str) -> Result<Source, String> {
    let mut said = Vec::new();
    let (mut rules, says_maxlines) = match filter(options, regex, &mut said)? {
        Some(found) => found,
        None => {
            said.push(format!("Use   failregex line : {}", shortened(regex)));
            (Rules { failregex: vec![regex.to_owned()], maxlines: 1, ..Rules::default() }, false)
        }
    };
    if let Some(lines) = options.maxlines {
        rules.maxlines = lines;
    }
    if options.maxlines.is_some() || says_maxlines {
        said.push(format!("Use         maxlines : {}", rules.maxlines));
    }
    if options.datepattern.is_some() {
        rules.datepattern.clone_from(&options.datepattern);
    }
    if let Some(pattern) = &rules.datepattern {
        said.push(format!("Use      datepattern : {pattern} : {}", described(pattern).1));
    }
    if options.usedns.is_some() {
        rules.usedns.clone_from(&options.usedns);
    }
    if options.timezone.is_some() {
        rules.logtimezone.clone_from(&options.timezone);
    }
    rules.logencoding = Some(options.encoding.clone());
    if let Some(pattern) = &options.ignoreregex {
        said.push(format!("Use ignoreregex line : {}", shortened(pattern)));
        rules.ignoreregex.push(pattern.clone());
    }
    Ok(Source { rules, said })
}

/// The rules of a filter, and whether it says `maxlines`; `None`: `text` names none and is a pattern.
fn filter(options: &Options, text: &str, said: &mut Vec<String>) -> Result<Option<(Rules, bool)>, String> {
    if !NAME.is_match(text) {
        return Ok(None);
    }
    let (name, arguments) = extract(text)
        .map_err(|why| format!("Wrong filter name or options: {why}\n       while parsing: {text}"))?;
    // A suffix says which file is meant; without one there are two.
    let suffixed = name.chars().rev().take(6).any(|c| c == '.');
    let suffixes: &[&str] = if suffixed { &[""] } else { &["", ".conf", ".local"] };
    let conf = &options.config;
    let in_filters = conf.file_name().is_some_and(|name| name == "filter.d");
    let folder = if in_filters { conf.clone() } else { conf.join("filter.d") };
    let files = suffixes.iter().map(|suffix| {
        let file = format!("{name}{suffix}");
        if file.contains('/') { file.into() } else { folder.join(file) }
    });
    let Some(file) = files.into_iter().find(|file: &std::path::PathBuf| file.is_file()) else {
        return Ok(None);
    };
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // In a folder filter.d a file is a part of a configuration, with all that belongs to it.
    let rules = if parent.file_name().is_some_and(|name| name == "filter.d") {
        let base = parent.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
        said.push(format!("Use   failregex filter file : {stem}, basedir: {}", base.display()));
        read(base, &format!("filter.d/{stem}"), &arguments)
    } else {
        said.push(format!("Use   failregex file : {}", file.display()));
        read(parent, &stem, &arguments)
    };
    if !arguments.is_empty() {
        let pairs = arguments.iter().map(|(name, value)| (Value::text(name), Value::text(value)));
        said.push(format!("Use   filter options : {}", Value::Dict(pairs.collect())));
    }
    rules.map(Some).map_err(|why| format!("failed to load filter {text}: {why}"))
}

fn read(base: &Path, name: &str, arguments: &Arguments) -> Result<(Rules, bool), String> {
    let config = Files::new(base).read(name).map_err(|error| error.to_string())?;
    let config = config.ok_or_else(|| format!("there is no {name}.conf or .local in {}", base.display()))?;
    let mut definition = Definition::new(config, arguments);
    definition.set_default("logtype", "file");
    definition.resolve(&Vars::new(), OPTIONS, true)?;
    let combined = definition.combined(&[])?;
    Ok((Rules::from_options(&combined), combined.contains_key("maxlines")))
}
