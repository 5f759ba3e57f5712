//! A filter or an action: `[Definition]`, `[Init]` and the arguments a jail gives, down to plain texts.

use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::Vars;
use super::options::Arguments;
use super::section::Config;
use super::tags::substitute;

/// One filter or action as one jail uses it.
#[derive(Debug)]
pub struct Definition {
    pub config: Config,
    /// Arguments, then `[Init]`, then `known/...` for what `[Init]` itself says.
    init: Vars,
    /// The options of `[Definition]` that the jail does not set itself.
    options: Vars,
    /// The jail's options and the arguments: these go before the file's in `%(...)s`.
    over: Vars,
}

impl Definition {
    pub fn new(config: Config, arguments: &Arguments) -> Definition {
        let init = arguments.iter().cloned().collect();
        Definition { config, init, options: Vars::new(), over: Vars::new() }
    }

    /// Sets an argument unless it is given, here or in the file's `[Definition]`.
    pub fn set_default(&mut self, name: &str, value: &str) {
        let given = self.init.get(name).is_some_and(|value| !value.is_empty());
        if !given && !self.config.has_own("Definition", name) {
            self.init.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The names of `[Init]` and of the arguments, without `known/...`.
    pub fn init(&self, name: &str) -> Option<&str> {
        self.init.get(name).map(String::as_str)
    }

    /// `[Init]` and the arguments as they are written, for an action to replace when it is run; without those called
    /// `but`, which are taken already.
    pub fn tags(&self, but: &[&str]) -> Vars {
        let given = self.init.iter().filter(|(name, _)| !but.contains(&name.as_str()));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Takes the options called `wanted`, and with `all` every other one of `[Definition]`; those in `jail` stay
    /// the jail's.
    ///
    /// # Errors
    /// A `%(...)s` that cannot be resolved.
    pub fn resolve(&mut self, jail: &Vars, wanted: &[&str], all: bool) -> Result<(), String> {
        let mut over = jail.clone();
        over.extend(self.init.clone());
        let mut options = Vars::new();
        for name in wanted.iter().filter(|name| !over.contains_key(**name)) {
            if let Some(value) = self.config.get("Definition", name, &over)? {
                options.insert((*name).to_owned(), value);
            }
        }
        let own: Vec<String> =
            self.config.sections.get("Init").into_iter().flat_map(|o| o.keys().cloned()).collect();
        let none = Vars::new();
        for name in own {
            let value = self.config.get("Init", &name, &none)?.unwrap_or_default();
            if !name.starts_with("known/") {
                self.init.insert(format!("known/{name}"), value.clone());
            }
            if self.init.contains_key(&name) {
                continue;
            }
            // An argument without condition also goes for the variants of the file.
            let plain = name.split_once('?').and_then(|(plain, _)| over.get(plain));
            let value = plain.cloned().unwrap_or(value);
            self.init.insert(name, value);
        }
        if all && let Some(section) = self.config.sections.get("Definition") {
            for name in section.keys().chain(self.config.defaults.keys()) {
                if !options.contains_key(name)
                    && let Some(value) = self.config.get("Definition", name, &none)?
                {
                    options.insert(name.clone(), value);
                }
            }
        }
        self.options = options;
        self.over = over;
        Ok(())
    }

    /// Every option and argument with its `<tag>`s replaced, but for those in `ignore` and those that have
    /// variants by family.
    ///
    /// # Errors
    /// Tags that refer to themselves; a `%(...)s` that cannot be resolved.
    pub fn combined(&self, ignore: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let mut tags = self.options.clone();
        tags.extend(self.init.clone());
        let mut ignored: BTreeSet<String> = ignore.iter().map(|name| (*name).to_owned()).collect();
        ignored.extend(tags.keys().filter_map(|name| Some(name.split_once('?')?.0.to_owned())));
        let mut cache: BTreeMap<String, Option<String>> = BTreeMap::new();
        substitute(&mut tags, &ignored, &mut |tag| {
            if let Some(known) = cache.get(tag) {
                return Ok(known.clone());
            }
            let value = self.config.get_tag("Definition", tag, &self.over)?;
            cache.insert(tag.to_owned(), value.clone());
            Ok(value)
        })?;
        Ok(tags)
    }
}
