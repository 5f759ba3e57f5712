//! `banctl filter lint`: what an attacker can use in a pattern, each with a line that proves it.
//!
//! Every finding about addresses rests on a line made here ([`forge`]) and read by the pattern itself: the true
//! address stands in it where the server writes it, and the pattern takes another one out of the client's text.
//! Client's text is whatever the pattern reads with something wide enough for an address and for words: `.*`,
//! `\S+`, `[^\]]*`, and the rest of the line behind a pattern that does not name the line's end.
//!
//! A line of one pattern that an earlier pattern of the filter reads in another way counts as well, and so does
//! one that a client makes up where the server writes no address at all.

pub(super) mod automaton;
pub mod conf;
mod forge;
pub mod pasted;

use std::fmt;

use super::compile::Tag;
use super::frame::FrameKind;
use super::peer::{self, TrustedProxies};
use super::{Filter, FilterSpec, Kind, Pattern, load};
use crate::addr::Host;
use crate::config::report::{ReportedError, SourceText};
use crate::text::escape;

use automaton::{Automaton, Shape};
use forge::{Forged, Order};

/// In the forged lines: the address that the server wrote.
pub const TRUE_ADDRESS: &str = "192.0.2.1";
/// The one that the client put into its text.
pub const FAKE_ADDRESS: &str = "198.51.100.66";
/// A trusted proxy's, where the address that counts is a forwarded one.
const PROXY: &str = "10.0.0.2";

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The pattern may begin to match anywhere, also in the middle of a client's text.
    NoAnchor,
    /// Text before the address reaches for the last one in the line, and a client can write behind the true one.
    GreedyBeforeAddress,
    /// Client's text stands before the address, and what follows the address does not reach to the line's end.
    NotTiedToEnd,
    /// The line of one pattern, or of one of its branches, is read by another one, with another address.
    TwoAddresses,
    /// The server wrote no address, and one is taken from the client's text.
    MadeUpAddress,
    /// Look-around or back-references: not linear in the line's length.
    NotLinear,
    /// A repetition of a repetition: exponential in engines that backtrack.
    NestedRepetition,
    /// `.*+`: Python refuses it up to 3.10, and from 3.11 on it gives nothing back.
    Possessive,
    /// The pattern cannot be read at all.
    Syntax,
}

impl Fault {
    /// What it is, for people.
    pub fn text(self) -> &'static str {
        match self {
            Fault::NoAnchor => "no anchor: it matches in the middle of a client's text",
            Fault::GreedyBeforeAddress => {
                "greedy text before the address: a client's text behind the address is taken for it"
            }
            Fault::NotTiedToEnd => {
                "client's text before the address, which is not tied to the line's end: the first one is taken"
            }
            Fault::TwoAddresses => "two possible addresses: another pattern or branch reads the line first",
            Fault::MadeUpAddress => "an address is taken from a line in which the server wrote none",
            Fault::NotLinear => {
                "look-around or back-references: the time it takes is not linear in the line's length"
            }
            Fault::NestedRepetition => {
                "a repetition of a repetition: engines that backtrack take exponential time"
            }
            Fault::Possessive => {
                "a possessive repetition: refused by Python up to 3.10, gives nothing back from 3.11 on; read as \
                 a plain one"
            }
            Fault::Syntax => "cannot be read",
        }
    }

    /// What helps.
    pub fn help(self) -> &'static str {
        match self {
            Fault::NoAnchor => "begin the pattern with ^ and what the server itself writes there",
            Fault::GreedyBeforeAddress => {
                "let what stands before <HOST> not pass the address: [^\\[\\] ]* instead of .*"
            }
            Fault::NotTiedToEnd => {
                "end the pattern with $, with only the server's own words between <HOST> and it"
            }
            Fault::TwoAddresses => "make the patterns exclude each other",
            Fault::MadeUpAddress => "do not make the address optional where a client's text can stand for it",
            Fault::NotLinear => "write out the cases",
            Fault::NestedRepetition => "repeat once",
            Fault::Possessive => "drop the second +",
            Fault::Syntax => "",
        }
    }
}

/// A fault of one pattern, with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub fault: Fault,
    /// `failregex`, ...
    pub key: &'static str,
    /// Where the pattern stands, `filters/x.toml:12:5`; empty for one that stands in no file.
    pub place: String,
    /// The pattern as written.
    pub pattern: String,
    /// A line that fools it: from [`TRUE_ADDRESS`], read as [`FAKE_ADDRESS`].
    pub example: Option<Vec<u8>>,
    /// What the fault's own words leave out.
    pub detail: Option<String>,
}

impl Finding {
    /// One line: what is wrong, without place and pattern.
    pub fn message(&self) -> String {
        let mut text = format!("{}: {}", self.key, self.fault.text());
        if let Some(detail) = &self.detail {
            text.push_str(": ");
            text.push_str(detail);
        }
        if let Some(example) = &self.example {
            text.push_str(&format!(
                "; of this line, from {TRUE_ADDRESS}, it takes {FAKE_ADDRESS}: {}",
                escape(example)
            ));
        }
        if !self.fault.help().is_empty() {
            text.push_str("; ");
            text.push_str(self.fault.help());
        }
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message())
    }
}

/// Looks into a filter in all of its modes. Findings that several modes share are given once.
///
/// # Errors
/// The filter does not load.
pub fn sources(name: &str, sources: &[SourceText]) -> Result<Vec<Finding>, ReportedError> {
    let mut found: Vec<Finding> = Vec::new();
    let mut modes = load::modes_of(sources);
    modes.sort();
    for mode in modes {
        let mut spec = FilterSpec::normal(name);
        spec.options.push(("mode".to_owned(), mode));
        for finding in filter(&Filter::load(&spec, sources)?) {
            if !found.iter().any(|known| known.place == finding.place && known.fault == finding.fault) {
                found.push(finding);
            }
        }
    }
    Ok(found)
}

/// Looks into a filter in its mode.
pub fn filter(filter: &Filter) -> Vec<Finding> {
    let mut found = Vec::new();
    for target in [Tag::Host, Tag::Forwarded] {
        let reads = |pattern: &&Pattern| !matches!(pattern.kind, Kind::Forget | Kind::Ignore);
        let readings: Vec<Option<Automaton>> = filter
            .patterns
            .iter()
            .map(|pattern| automaton_of(pattern, &target, FAKE_ADDRESS).filter(|_| pattern.has(&target)))
            .collect();
        if readings.iter().all(Option::is_none) {
            continue;
        }
        for (number, pattern) in filter.patterns.iter().enumerate().filter(|(_, pattern)| reads(pattern)) {
            found.extend(fooled(filter, number, pattern, &target, &readings));
        }
    }
    found.dedup_by(|a, b| a.place == b.place && a.fault == b.fault);
    found
}

/// A line of pattern `number` of which it, or one that is tried before it, takes the wrong address.
fn fooled(
    filter: &Filter,
    number: usize,
    pattern: &Pattern,
    target: &Tag,
    readings: &[Option<Automaton>],
) -> Option<Finding> {
    let truth = automaton_of(pattern, target, TRUE_ADDRESS)?;
    let written = pattern.has(target);
    for (other_number, other) in filter.patterns[..=number].iter().enumerate().rev() {
        let Some(reading) = &readings[other_number] else { continue };
        if matches!(other.kind, Kind::Forget | Kind::Ignore) {
            continue;
        }
        let mut kinds = filter.frames.iter();
        let frame = kinds.next().copied().unwrap_or(FrameKind::Line);
        let fools = &mut |forged: &Forged| {
            // Where the pattern always has an address, the server wrote it.
            taken(filter, &framed(filter, frame, &forged.line)) == FAKE_ADDRESS.parse().ok()
        };
        if let Some(forged) = forge::search(&truth, reading, fools) {
            let fault = match forged.order {
                _ if other_number != number && written => Fault::TwoAddresses,
                None => Fault::MadeUpAddress,
                Some(Order::TrueFirst) => Fault::GreedyBeforeAddress,
                Some(Order::FakeFirst) => Fault::NotTiedToEnd,
            };
            let detail = (other_number != number).then(|| format!("{} reads it", other.place));
            return Some(Finding {
                fault,
                key: pattern.kind.key(),
                place: pattern.place.clone(),
                pattern: pattern.text.clone(),
                example: Some(framed(filter, frame, &forged.line)),
                detail,
            });
        }
    }
    None
}

/// The pattern with `address` in the place of the target.
fn automaton_of(pattern: &Pattern, target: &Tag, address: &str) -> Option<Automaton> {
    let hir = pattern.hir()?;
    let prefix = match target {
        Tag::Host => "HOST",
        _ => "F_FORWARDED",
    };
    let address = match target {
        Tag::Host => address.to_owned(),
        _ => forwarded_text(&hir, address),
    };
    let shape = Shape {
        target: &|name| name.starts_with(prefix),
        address: address.as_bytes(),
        fixed: &|name| (*target != Tag::Host && name == "HOST").then(|| PROXY.into()),
        floating: false,
    };
    Automaton::new(&hir, &shape)
}

/// A forwarded list that ends in `address` and that the pattern's group takes.
fn forwarded_text(hir: &regex_syntax::hir::Hir, address: &str) -> String {
    use regex_syntax::hir::HirKind;
    let mut todo = vec![hir];
    while let Some(hir) = todo.pop() {
        match hir.kind() {
            HirKind::Capture(capture) => {
                if capture.name.as_deref().is_some_and(|name| name.starts_with("F_FORWARDED")) {
                    let group = regex_automata::meta::Builder::new().build_from_hir(&capture.sub);
                    let lists =
                        [address.to_owned(), format!("10.0.0.9, {address}"), format!("10.0.0.9,{address}")];
                    let fits = |list: &String| {
                        group.as_ref().is_ok_and(|group| {
                            group.find_iter(list.as_str()).any(|found| found.len() == list.len())
                        })
                    };
                    return lists.into_iter().find(fits).unwrap_or_else(|| address.to_owned());
                }
                todo.push(&capture.sub);
            }
            HirKind::Repetition(repetition) => todo.push(&repetition.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => todo.extend(parts),
            _ => {}
        }
    }
    address.to_owned()
}

/// A whole line with this message, as the filter's log has them.
fn framed(filter: &Filter, frame: FrameKind, message: &[u8]) -> Vec<u8> {
    let mut line = match frame {
        FrameKind::Syslog => {
            let ident = match filter.ident.first().map(|glob| glob.as_str()) {
                None => "server".to_owned(),
                Some(glob) => match glob.strip_prefix('*') {
                    Some(rest) => format!("postfix{}", rest.replace('*', "")),
                    None => glob.replace('*', ""),
                },
            };
            format!("Jun  1 06:27:45 mail {ident}[77]: ").into_bytes()
        }
        FrameKind::Date => b"2026-06-01 06:27:45 ".to_vec(),
        FrameKind::Line => Vec::new(),
    };
    line.extend_from_slice(message);
    line
}

/// The address that the filter takes out of a line.
fn taken(filter: &Filter, line: &[u8]) -> Option<Host> {
    let matches = filter.all_matches(line);
    let (first, groups) = matches.first()?;
    let kind = |number: usize| filter.patterns[number].kind;
    if kind(*first) == Kind::Ignore || matches.iter().any(|(number, _)| kind(*number) == Kind::Ignore) {
        return None;
    }
    let group = |tag: Tag| groups.iter().find(|(known, _)| *known == tag).map(|(_, text)| text.as_slice());
    let peer = group(Tag::Host).and_then(peer::host);
    peer::offender(peer, group(Tag::Forwarded), &TrustedProxies::private())
}

/// What a filter of the admin's own must pass to be loaded: nothing in it lets a client choose the address,
/// unless `allow_unsafe = true` stands in it.
///
/// # Errors
/// The first finding, at its place.
pub fn admit(filter: &Filter, sources: &[SourceText]) -> Result<(), ReportedError> {
    let refuse = !filter.allow_unsafe;
    let found = if refuse { self::filter(filter) } else { Vec::new() };
    match found.first() {
        None => Ok(()),
        Some(finding) => {
            let message = format!(
                "{}; who wants it all the same writes allow_unsafe = true into the filter",
                finding.message()
            );
            Err(at_place(sources, &finding.place, message))
        }
    }
}

/// An error at a `label:line:column`.
fn at_place(sources: &[SourceText], place: &str, message: String) -> ReportedError {
    for source in sources {
        let numbers = place.strip_prefix(source.label()).and_then(|rest| rest.strip_prefix(':'));
        let Some((line, column)) = numbers.and_then(|numbers| numbers.split_once(':')) else { continue };
        let (Ok(line), Ok(column)) = (line.parse::<usize>(), column.parse::<usize>()) else { continue };
        let start: usize =
            source.text().split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let end = source.text()[start..].find('\n').map_or(source.text().len(), |len| start + len);
        let start = source.text()[start..end]
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(start, |(skip, _)| start + skip);
        return source.error(start..end, message);
    }
    ReportedError::of_file(place, message)
}
