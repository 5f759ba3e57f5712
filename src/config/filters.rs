//! Where a jail's filter comes from: the admin's filters/, the shipped ones, the built-in ones.

use std::collections::BTreeSet;
use std::path::Path;

use super::SHIPPED_DIR;
use super::raw::{self, Places};
use super::report::{ReportedError, SourceText};
use super::value::Value;
use crate::filter::{Filter, FilterSpec, lint, load};
use crate::shipped;
use crate::text::suggest;

/// Finds filters by name.
#[derive(Debug, Clone)]
pub struct FilterLibrary {
    pub(super) places: Places,
}

/// A filter's files.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterFiles {
    pub name: String,
    pub base: SourceText,
    /// filters/NAME.d/*.toml by name: each key replaces the base's.
    pub overlays: Vec<SourceText>,
    pub shipped: bool,
}

impl FilterFiles {
    /// The filter of this name in the binary.
    pub fn built_in(name: &str) -> Option<FilterFiles> {
        let text = shipped::text_of(shipped::FILTERS, name)?;
        let base = SourceText::new(format!("built-in:filters/{name}.toml"), text);
        Some(FilterFiles { name: name.to_owned(), base, overlays: Vec::new(), shipped: true })
    }

    /// All of them, base first.
    pub fn sources(&self) -> Vec<SourceText> {
        std::iter::once(&self.base).chain(&self.overlays).cloned().collect()
    }

    /// The modes of all of them, `normal` first.
    pub fn modes(&self) -> Vec<String> {
        load::modes_of(&self.sources())
    }

    /// Compiles the filter. One that the admin had a hand in must not let a client choose the address; a test of ours
    /// looks into the shipped ones.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn load(&self, spec: &FilterSpec) -> Result<Filter, ReportedError> {
        let sources = self.sources();
        let filter = Filter::load(spec, &sources)?;
        if !self.shipped || !self.overlays.is_empty() {
            lint::admit(&filter, &sources)?;
        }
        Ok(filter)
    }
}

impl FilterLibrary {
    /// Looks in `folder/filters`, then among the shipped ones.
    pub fn of_folder(folder: &Path) -> FilterLibrary {
        FilterLibrary { places: Places { admin: folder.to_owned(), shipped: SHIPPED_DIR.into() } }
    }

    /// The files of filter `name` (without `[mode=...]`); `None` if there is no such filter.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<FilterFiles>, ReportedError> {
        let Some((base, shipped)) = raw::base_of(&self.places, "filters", name)? else { return Ok(None) };
        let overlays = raw::overlays_of(&self.places, "filters", name)?;
        Ok(Some(FilterFiles { name: name.to_owned(), base, overlays, shipped }))
    }

    /// Every filter's name, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> =
            shipped::FILTERS.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(raw::names_in(&self.places.shipped.join("filters"), false));
        names.extend(raw::names_in(&self.places.admin.join("filters"), false));
        names.into_iter().collect()
    }

    /// Whether there is a filter for `spec`, which stands at `value`.
    pub(super) fn check(&self, spec: &str, value: &Value) -> Result<(), ReportedError> {
        let name = spec.split('[').next().unwrap_or_default();
        if self.find(name)?.is_some() {
            return Ok(());
        }
        let names = self.names();
        let help = match suggest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("there are: {}", names.join(", ")),
        };
        Err(value.error(format!("there is no filter {name:?}; {help}")))
    }
}
