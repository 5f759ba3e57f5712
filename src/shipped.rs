//! The shipped filters and jails, built into the binary: `FILTERS` and `JAILS`, each a list of name (without
//! `.toml`) and text, sorted by name. `build.rs` makes the lists from the folders `filters/` and `jails/`.

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The text of `name` in `list`.
pub fn text_of(list: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    list.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| list[at].1)
}
