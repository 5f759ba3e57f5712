//! A filter of fail2ban as a file of portero: `filters/NAME.toml` with `dialect = "fail2ban"`. Written by
//! `banctl import`, read by the loader of native filters, and run by the [matcher](super::matcher).

use std::fmt::Write;

use serde::Deserialize;
use serde_spanned::Spanned;

use super::jail::Jail;
use super::matcher::{MatcherError, Part, Program, Rules};
use crate::config::report::{ReportedError, SourceText};
use crate::filter::FilterSpec;
use crate::time::Timestamp;

/// The value of `dialect`.
pub const NAME: &str = "fail2ban";

/// The file as typed; an overlay may name any of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    dialect: Option<Spanned<String>>,
    #[serde(rename = "description")]
    _description: Option<String>,
    prefregex: Option<Spanned<String>>,
    failregex: Option<Vec<Spanned<String>>>,
    ignoreregex: Option<Vec<Spanned<String>>>,
    maxlines: Option<Spanned<usize>>,
    /// One pattern a line, as in fail2ban.
    datepattern: Option<Spanned<String>>,
    usedns: Option<Spanned<String>>,
    logtimezone: Option<Spanned<String>>,
    logencoding: Option<Spanned<String>>,
}

/// Whether `source` is written in fail2ban's dialect.
pub fn is_meant(source: &SourceText) -> bool {
    source
        .text()
        .lines()
        .map(str::trim)
        .any(|line| line.split_once('=').is_some_and(|(key, _)| key.trim() == "dialect"))
}

/// A value and the file it stands in, so that an error can point at it.
struct Placed<'a, T> {
    source: &'a SourceText,
    value: &'a Spanned<T>,
}

/// Compiles the filter in `sources`, its file and the overlays on it; a later one replaces keys of those before it.
/// `zone`: of dates that carry none. `now`: for the years that a date may have.
///
/// # Errors
/// The first fault, with its place.
pub fn load(
    spec: &FilterSpec,
    sources: &[SourceText],
    zone: chrono_tz::Tz,
    now: Timestamp,
) -> Result<Program, ReportedError> {
    let mut raws = Vec::new();
    for source in sources {
        let raw: Raw = toml::from_str(source.text()).map_err(|error| {
            let message = error.message().trim_end_matches(['\n', '.']).replace('\n', ", ");
            source.error(error.span().unwrap_or(0..0), message)
        })?;
        if let Some(dialect) = &raw.dialect
            && dialect.get_ref() != NAME
        {
            let message = format!("dialect {:?} is not known; there is {NAME:?}", dialect.get_ref());
            return Err(source.error(dialect.span(), message));
        }
        raws.push((source, raw));
    }
    if let Some((option, _)) = spec.options.first() {
        let message = format!(
            "filter {} takes no options, and {option} is given: its patterns are resolved",
            spec.name
        );
        return Err(sources[0].error_in_whole(message));
    }
    fn last<'a, T>(
        raws: &'a [(&SourceText, Raw)],
        of: impl Fn(&'a Raw) -> Option<&'a Spanned<T>>,
    ) -> Option<Placed<'a, T>> {
        raws.iter().rev().find_map(|(source, raw)| of(raw).map(|value| Placed { source, value }))
    }
    fn texts<'a>(
        raws: &'a [(&SourceText, Raw)],
        of: impl Fn(&'a Raw) -> Option<&'a Vec<Spanned<String>>>,
    ) -> Vec<Placed<'a, String>> {
        let found = raws.iter().rev().find_map(|(source, raw)| Some((source, of(raw)?)));
        found.map_or(Vec::new(), |(source, list)| list.iter().map(|value| Placed { source, value }).collect())
    }
    let prefregex = last(&raws, |raw| raw.prefregex.as_ref());
    let failregex = texts(&raws, |raw| raw.failregex.as_ref());
    let ignoreregex = texts(&raws, |raw| raw.ignoreregex.as_ref());
    let datepattern = last(&raws, |raw| raw.datepattern.as_ref());
    let logtimezone = last(&raws, |raw| raw.logtimezone.as_ref());
    let logencoding = last(&raws, |raw| raw.logencoding.as_ref());
    let text =
        |placed: &Option<Placed<'_, String>>| placed.as_ref().map(|placed| placed.value.get_ref().clone());
    let list = |placed: &[Placed<'_, String>]| placed.iter().map(|p| p.value.get_ref().clone()).collect();
    let rules = Rules {
        prefregex: text(&prefregex),
        failregex: list(&failregex),
        ignoreregex: list(&ignoreregex),
        maxlines: last(&raws, |raw| raw.maxlines.as_ref()).map_or(1, |placed| *placed.value.get_ref()),
        datepattern: text(&datepattern),
        usedns: text(&last(&raws, |raw| raw.usedns.as_ref())),
        logtimezone: text(&logtimezone),
        logencoding: text(&logencoding),
    };
    if rules.failregex.is_empty() {
        return Err(sources[0].error_in_whole("the filter has no failregex"));
    }
    Program::new(&rules, zone, now).map_err(|error| {
        let place = match &error {
            MatcherError::Regex { part: Part::Prefregex, .. } => prefregex.as_ref(),
            MatcherError::Regex { part: Part::Failregex(number), .. } => failregex.get(*number),
            MatcherError::Regex { part: Part::Ignoreregex(number), .. } => ignoreregex.get(*number),
            MatcherError::Date(_) => datepattern.as_ref(),
            MatcherError::Zone(_) => logtimezone.as_ref(),
            MatcherError::Encoding(_) => logencoding.as_ref(),
        };
        match place {
            Some(Placed { source, value }) => source.error(value.span(), error.to_string()),
            None => sources[0].error_in_whole(error.to_string()),
        }
    })
}

/// The file for the filter of `jail`, each value with the place it came from.
pub fn write(jail: &Jail) -> String {
    let rules = jail.rules();
    let mut out = format!(
        "# filter {} of fail2ban, by banctl import\ndialect = {NAME:?}\n",
        jail.filter_spec().replace(char::is_control, "?")
    );
    let place = |option: &str| match jail.places.get(option) {
        Some(value) => format!("  # {}:{}", value.at.file().replace(char::is_control, "?"), value.at.line()),
        None => String::new(),
    };
    let text = |text: &str| toml::Value::from(text).to_string();
    let mut line = |key: &str, value: Option<String>, option: &str| {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {value}{}", place(option));
        }
    };
    let known = |value: &Option<String>, usual: &str| value.clone().filter(|value| value != usual);
    line("maxlines", (rules.maxlines > 1).then(|| rules.maxlines.to_string()), "maxlines");
    line("usedns", known(&rules.usedns, "warn").as_deref().map(text), "usedns");
    line("logtimezone", rules.logtimezone.as_deref().map(text), "logtimezone");
    line("logencoding", known(&rules.logencoding, "auto").as_deref().map(text), "logencoding");
    line("datepattern", rules.datepattern.as_deref().map(text), "datepattern");
    line("prefregex", rules.prefregex.as_deref().map(text), "prefregex");
    for (key, list) in [("failregex", &rules.failregex), ("ignoreregex", &rules.ignoreregex)] {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{key} = [{}", place(key));
        for pattern in list {
            let _ = writeln!(out, "  {},", text(pattern));
        }
        out.push_str("]\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Program, String> {
        let label = ["filters/x.toml", "filters/x.d/y.toml"];
        let sources: Vec<SourceText> =
            texts.iter().zip(label).map(|(text, label)| SourceText::new(label, *text)).collect();
        load(&FilterSpec::normal("x"), &sources, chrono_tz::Tz::UTC, Timestamp::from_secs(1_785_000_000))
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn an_overlay_replaces_keys() {
        let base = "dialect = \"fail2ban\"\nfailregex = ['^a <HOST>$']\ndatepattern = 'EPOCH'\n";
        let program = read(&[base, "failregex = ['^b <HOST>$', '^c <HOST>$']\nmaxlines = 3"]).expect("reads");
        let rules = program.rules();
        assert_eq!(rules.failregex, ["^b <HOST>$", "^c <HOST>$"]);
        assert_eq!((rules.maxlines, rules.datepattern.as_deref()), (3, Some("EPOCH")));
    }

    #[test]
    fn faults_name_their_place() {
        let fault = |text: &str| read(&[text]).expect_err("is bad");
        assert!(fault("dialect = \"perl\"").starts_with("filters/x.toml:1:11: dialect \"perl\""));
        assert!(fault("dialect = \"fail2ban\"\nfailregexp = []").contains("unknown field"));
        assert!(fault("dialect = \"fail2ban\"\n").contains("no failregex"));
        let bad = "dialect = \"fail2ban\"\nfailregex = [\n  '^a <HOST>$',\n  '^b (<HOST>$',\n]\n";
        assert!(fault(bad).starts_with("filters/x.toml:4:3: failregex 2"), "{}", fault(bad));
        let zone = "dialect = \"fail2ban\"\nfailregex = ['^a <HOST>$']\nlogtimezone = 'Mars'\n";
        assert!(fault(zone).starts_with("filters/x.toml:3:15: logtimezone"), "{}", fault(zone));
    }
}
