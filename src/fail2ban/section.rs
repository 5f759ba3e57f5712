//! What the files of one configuration came to.

use std::collections::BTreeMap;

use super::ini::{Options, Value};

/// Sections with their options, values still raw.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `[DEFAULT]`.
    pub defaults: Options,
    pub sections: BTreeMap<String, Options>,
    /// What a later file overrode: `%(known/option)s`.
    pub known: BTreeMap<String, Options>,
    /// Names of `sections` in the order in which they first appeared.
    pub order: Vec<String>,
}

impl Config {
    /// The value as written, of the section or else of `[DEFAULT]`; the place of an error, too.
    pub fn raw(&self, section: &str, option: &str) -> Option<&Value> {
        self.sections
            .get(section)
            .and_then(|options| options.get(option))
            .or_else(|| self.defaults.get(option))
    }

    pub fn has_own(&self, section: &str, option: &str) -> bool {
        self.sections.get(section).is_some_and(|options| options.contains_key(option))
    }
}
