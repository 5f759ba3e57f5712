//! Filter files: TOML in, [`Filter`] out, every fault with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_spanned::Spanned;

use super::compile::{self, Tag};
use super::frame::{FrameKind, IdentGlob};
use super::pattern::{Kind, Pattern};
use super::session::filter_key;
use super::{Filter, FilterSpec};
use crate::config::report::{ReportedError, SourceText};
use crate::text::suggest;

type Texts = Vec<Spanned<String>>;

/// The file as typed. Every key may be absent, so that an overlay names only what it changes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Of another language; see `fail2ban::dialect`.
    dialect: Option<Spanned<String>>,
    description: Option<String>,
    frame: Option<Texts>,
    ident: Option<Texts>,
    trusted_only: Option<bool>,
    allow_unsafe: Option<bool>,
    #[serde(default)]
    define: BTreeMap<String, Spanned<String>>,
    prefix: Option<Spanned<String>>,
    failregex: Option<Texts>,
    successregex: Option<Texts>,
    noteregex: Option<Texts>,
    forgetregex: Option<Texts>,
    ignoreregex: Option<Texts>,
    #[serde(default)]
    mode: BTreeMap<String, RawMode>,
}

/// `[mode.NAME]`: added to the keys above.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMode {
    failregex: Option<Texts>,
    successregex: Option<Texts>,
    noteregex: Option<Texts>,
    forgetregex: Option<Texts>,
    ignoreregex: Option<Texts>,
}

/// A value and the file it came from.
struct From<T> {
    source: usize,
    value: T,
}

/// The mode that every filter has: the keys at the top of the file.
pub const NORMAL: &str = "normal";

/// Reads a filter from its file and the overlays on it, later ones replacing keys of earlier ones.
///
/// # Errors
/// The first fault: TOML, an unknown key, frame or mode, a pattern that does not compile.
pub fn load(spec: &FilterSpec, sources: &[SourceText]) -> Result<Filter, ReportedError> {
    let mut raws = Vec::new();
    for source in sources {
        let raw: Raw = toml::from_str(source.text()).map_err(|error| {
            let message = error.message().trim_end_matches(['\n', '.']).replace('\n', ", ");
            match error.span() {
                Some(span) => source.error(span, message),
                None => source.error_in_whole(message),
            }
        })?;
        if let Some(dialect) = &raw.dialect {
            let message = format!(
                "this filter is written in the dialect {:?}; portero, banctl scan and banctl filter test run it, this \
                 command reads native filters only",
                dialect.get_ref()
            );
            return Err(source.error(dialect.span(), message));
        }
        raws.push(raw);
    }
    Loader { spec, sources }.filter(raws)
}

/// The modes of a filter file besides `normal`; empty where the file cannot be read.
pub fn modes(text: &str) -> Vec<String> {
    toml::from_str::<Raw>(text).map(|raw| raw.mode.into_keys().collect()).unwrap_or_default()
}

/// The modes of all files of a filter, `normal` first.
pub fn modes_of(sources: &[SourceText]) -> Vec<String> {
    let mut modes: Vec<String> = sources.iter().flat_map(|source| modes(source.text())).collect();
    modes.sort();
    modes.dedup();
    modes.retain(|mode| mode != NORMAL);
    modes.insert(0, NORMAL.to_owned());
    modes
}

struct Loader<'a> {
    spec: &'a FilterSpec,
    sources: &'a [SourceText],
}

/// Takes the last file that has the key.
macro_rules! last {
    ($raws:expr, $key:ident) => {
        $raws
            .iter()
            .enumerate()
            .rev()
            .find_map(|(source, raw)| raw.$key.as_ref().map(|value| From { source, value }))
    };
}

impl Loader<'_> {
    fn filter(&self, raws: Vec<Raw>) -> Result<Filter, ReportedError> {
        let mut defines = BTreeMap::new();
        let mut known_modes: Vec<&str> = vec![NORMAL];
        for (source, raw) in raws.iter().enumerate() {
            for (name, text) in &raw.define {
                self.check_define(source, name, text)?;
                defines.insert(name.clone(), text.get_ref().clone());
            }
            known_modes.extend(raw.mode.keys().map(String::as_str));
        }
        let frames = match last!(raws, frame) {
            Some(found) => self.frames(found.source, found.value)?,
            None => vec![FrameKind::Syslog],
        };
        let ident = last!(raws, ident).map_or(Vec::new(), |found| {
            found.value.iter().map(|glob| IdentGlob::new(glob.get_ref())).collect()
        });
        if !ident.is_empty() && !frames.contains(&FrameKind::Syslog) {
            let found = last!(raws, ident).expect("not empty");
            let span = found.value[0].span();
            let message = "ident is the program name of a syslog line, and frame has no \"syslog\"";
            return Err(self.sources[found.source].error(span, message));
        }
        let mode = self.spec.mode();
        if !known_modes.contains(&mode) {
            let mut message = format!("filter {} has no mode {mode:?}", self.spec.name);
            match suggest(mode, known_modes.iter().copied()) {
                Some(near) => message.push_str(&format!("; did you mean {near:?}?")),
                None => message.push_str(&format!("; it has {}", known_modes.join(", "))),
            }
            return Err(self.sources[0].error_in_whole(message));
        }
        let prefix = last!(raws, prefix);
        let mut patterns = Vec::new();
        for kind in Kind::ALL {
            let top = match kind {
                Kind::Fail => last!(raws, failregex),
                Kind::Success => last!(raws, successregex),
                Kind::Note => last!(raws, noteregex),
                Kind::Forget => last!(raws, forgetregex),
                Kind::Ignore => last!(raws, ignoreregex),
            };
            let added = raws.iter().enumerate().rev().find_map(|(source, raw)| {
                let mode = raw.mode.get(mode)?;
                let value = match kind {
                    Kind::Fail => &mode.failregex,
                    Kind::Success => &mode.successregex,
                    Kind::Note => &mode.noteregex,
                    Kind::Forget => &mode.forgetregex,
                    Kind::Ignore => &mode.ignoreregex,
                };
                value.as_ref().map(|value| From { source, value })
            });
            for list in [top, added].into_iter().flatten() {
                for text in list.value {
                    let prefix = prefix.as_ref().map_or("", |found| found.value.get_ref());
                    patterns.push(self.pattern(kind, prefix, &defines, list.source, text)?);
                }
            }
        }
        if !patterns.iter().any(|pattern| matches!(pattern.kind, Kind::Fail | Kind::Success)) {
            return Err(self.sources[0].error_in_whole("the filter has neither failregex nor successregex"));
        }
        let joins = patterns.iter().any(|pattern| pattern.has(&Tag::Companion) || pattern.has(&Tag::Same));
        Ok(Filter {
            joins,
            name: self.spec.name.clone(),
            mode: mode.to_owned(),
            key: filter_key(&self.spec.name),
            description: last!(raws, description).map_or(String::new(), |found| found.value.clone()),
            frames,
            ident,
            trusted_only: last!(raws, trusted_only).is_some_and(|found| *found.value),
            allow_unsafe: last!(raws, allow_unsafe).is_some_and(|found| *found.value),
            patterns,
        })
    }

    fn frames(&self, source: usize, names: &Texts) -> Result<Vec<FrameKind>, ReportedError> {
        let source = &self.sources[source];
        if names.is_empty() {
            return Err(source.error_in_whole("frame is empty; write \"syslog\", \"date\" or \"line\""));
        }
        let frame = |name: &Spanned<String>| {
            FrameKind::from_name(name.get_ref()).ok_or_else(|| {
                let message =
                    format!("no frame {:?}; there are \"syslog\", \"date\", \"line\"", name.get_ref());
                source.error(name.span(), message)
            })
        };
        names.iter().map(frame).collect()
    }

    fn check_define(&self, source: usize, name: &str, text: &Spanned<String>) -> Result<(), ReportedError> {
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if valid {
            return Ok(());
        }
        let message =
            format!("{name:?} cannot be used as <{name}>: names are small letters, digits, - and _");
        Err(self.sources[source].error(text.span(), message))
    }

    fn pattern(
        &self,
        kind: Kind,
        prefix: &str,
        defines: &BTreeMap<String, String>,
        source: usize,
        text: &Spanned<String>,
    ) -> Result<Pattern, ReportedError> {
        let source = &self.sources[source];
        let expanded = compile::expand(prefix, text.get_ref(), defines).map_err(|error| {
            let mut message = format!("{}: {}", kind.key(), error.message);
            if let Some(help) = error.help {
                message = format!("{message}; {help}");
            }
            let span = error.at.and_then(|at| inside(source.text(), text, at)).unwrap_or(text.span());
            source.error(span, message)
        })?;
        let place = source.error(text.span(), "").place;
        let place = place.map_or(String::new(), |place| format!("{}:{}", place.line, place.column));
        Ok(Pattern::new(kind, text.get_ref().clone(), format!("{}:{place}", source.label()), &expanded))
    }
}

/// Where bytes `at` of a string's value stand in the file; `None` where escapes make that unclear.
fn inside(file: &str, text: &Spanned<String>, at: Range<usize>) -> Option<Range<usize>> {
    let written = file.get(text.span())?;
    let open = ["'''\r\n", "'''\n", "'''", "\"\"\"\n", "\"\"\"", "'", "\""]
        .into_iter()
        .find(|open| written.starts_with(open))?
        .len();
    let plain = written[open..].starts_with(text.get_ref().as_str());
    plain.then(|| text.span().start + open + at.start..text.span().start + open + at.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(spec: &str, text: &str) -> String {
        let spec: FilterSpec = spec.parse().unwrap();
        load(&spec, &[SourceText::new("filters/x.toml", text)]).unwrap_err().to_string()
    }

    #[test]
    fn faults_name_line_and_column() {
        let text = "description = \"x\"\nfailregex = [\n  '''ok <HOST>$''',\n  '''a[b''',\n]\n";
        let shown = fault("x", text);
        assert!(shown.starts_with("filters/x.toml:4:7: failregex: unclosed character class"), "{shown}");
        assert!(shown.ends_with("4 |   '''a[b''',\n  |       ^"), "{shown}");
        assert!(fault("x", "failregexp = []").starts_with("filters/x.toml:1:1: unknown field"));
        assert!(fault("x", "frame = [\"sylog\"]").starts_with("filters/x.toml:1:10: no frame \"sylog\""));
        assert!(fault("x", "description = \"x\"").contains("neither failregex"));
        let modes = "failregex = ['x']\n[mode.aggressive]\nfailregex = ['y']";
        assert!(fault("x[mode=agressive]", modes).contains("did you mean \"aggressive\"?"));
    }

    #[test]
    fn modes_add_and_overlays_replace() {
        let base = "failregex = ['a']\nsuccessregex = ['s']\n[mode.more]\nfailregex = ['b']";
        let overlay = "failregex = ['c']\n[mode.more]\nsuccessregex = ['t']";
        let sources = [SourceText::new("a", base), SourceText::new("b", overlay)];
        let filter = load(&"x[mode=more]".parse().unwrap(), &sources).unwrap();
        let texts: Vec<&str> = filter.patterns.iter().map(|pattern| pattern.text.as_str()).collect();
        assert_eq!(texts, ["c", "b", "s", "t"]);
        assert_eq!(modes(base), ["more"]);
    }
}
