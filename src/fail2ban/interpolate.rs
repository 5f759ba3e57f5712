//! `%(...)s`.

use std::collections::BTreeMap;

use super::TEXT_BYTES_MAX;
use super::section::Config;

/// References within references.
const DEPTH_MAX: usize = 10;

/// Values that go before those of the section.
pub type Vars = BTreeMap<String, String>;

/// Where a value is looked up.
struct Scope<'a> {
    config: &'a Config,
    section: &'a str,
    vars: &'a Vars,
}

impl Config {
    /// `option` of `section`, else of `[DEFAULT]`, with every `%(...)s` replaced; `vars` go before both.
    ///
    /// `Ok(None)`: there is no such section or option.
    ///
    /// # Errors
    /// Why a reference cannot be resolved, without a place: `raw` knows it.
    pub fn get(&self, section: &str, option: &str, vars: &Vars) -> Result<Option<String>, String> {
        if !self.sections.contains_key(section) && section != "DEFAULT" {
            return Ok(None);
        }
        let option = option.to_lowercase();
        let scope = Scope { config: self, section, vars };
        let Some(raw) = scope.own(&option) else { return Ok(None) };
        let mut out = String::new();
        scope.expand(&option, raw, 1, &mut out)?;
        Ok(Some(out))
    }

    /// As `get`, but `option` may be of the form `section/option`: the named sections of tags.
    ///
    /// # Errors
    /// As `get`.
    pub fn get_tag(&self, section: &str, option: &str, vars: &Vars) -> Result<Option<String>, String> {
        if let Some((named, inner)) = named(option) {
            let none = Vars::new();
            let found = match named.to_lowercase().as_str() {
                "known" => match self.known_value(section, inner)? {
                    Some(value) => Some(value),
                    None => self.get(section, inner, &none)?,
                },
                "default" => self.get("DEFAULT", inner, &none)?,
                _ => self.get(named, inner, &none)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        self.get(section, option, vars)
    }

    /// What `section` said before a later file overrode it.
    fn known_value(&self, section: &str, option: &str) -> Result<Option<String>, String> {
        let Some(known) = self.known.get(section) else { return Ok(None) };
        let Some(value) = known.get(&option.to_lowercase()) else { return Ok(None) };
        let vars = Vars::new();
        let mut out = String::new();
        Scope { config: self, section, vars: &vars }.expand(option, &value.text, 1, &mut out)?;
        Ok(Some(out))
    }
}

impl<'a> Scope<'a> {
    fn own(&self, option: &str) -> Option<&'a str> {
        self.vars
            .get(option)
            .map(String::as_str)
            .or_else(|| self.config.raw(self.section, option).map(|value| value.text.as_str()))
            .or_else(|| (option == "__name__").then_some(self.section))
    }

    /// The raw value that `%(name)s` stands for.
    fn lookup(&self, name: &str) -> Option<&'a str> {
        let lower = name.to_lowercase();
        if let Some(own) = self.own(&lower) {
            return Some(own);
        }
        let (section, option) = named(name)?;
        let default = || self.config.defaults.get(option).map(|value| value.text.as_str());
        let of = |sections: &'a BTreeMap<String, super::ini::Options>, section: &str| {
            sections.get(section).and_then(|options| options.get(option)).map(|value| value.text.as_str())
        };
        match section.to_lowercase().as_str() {
            "default" => default(),
            "known" => of(&self.config.known, self.section).or_else(default),
            // As there: references are lower-cased, section names are not.
            _ if name != lower || !self.config.sections.contains_key(section) => None,
            _ => of(&self.config.sections, section).or_else(default),
        }
    }

    fn expand(&self, option: &str, raw: &str, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("{option} refers to itself, or through more than {DEPTH_MAX} others"));
        }
        let mut rest = raw;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let reference = rest.strip_prefix('(').and_then(|inner| inner.split_once(")s"));
            let Some((name, after)) = reference.filter(|(name, _)| !name.is_empty() && !name.contains(')'))
            else {
                let shown: String = rest.chars().take(20).collect();
                return Err(format!("{option}: \"%{shown}\" is no reference; a percent sign is written %%"));
            };
            let Some(value) = self.lookup(name) else {
                return Err(format!("{option}: nothing is known under %({name})s"));
            };
            rest = after;
            if value.contains('%') {
                self.expand(name, value, depth + 1, out)?;
            } else {
                out.push_str(value);
            }
            if out.len() > TEXT_BYTES_MAX {
                return Err(format!("{option} grows beyond {TEXT_BYTES_MAX} bytes"));
            }
        }
        out.push_str(rest);
        Ok(())
    }
}

/// `section/option`.
fn named(name: &str) -> Option<(&str, &str)> {
    let (section, option) = name.split_once('/')?;
    let good = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    (!section.is_empty() && !option.is_empty() && section.chars().all(good)).then_some((section, option))
}
