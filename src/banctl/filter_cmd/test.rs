//! `banctl filter test`: line by line, what a filter makes of a log.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use super::{TestArgs, config, fail2ban, files, spec, without_end};
use crate::banctl::failure::{Failure, lost};
use crate::banctl::table::{Look, Tone};
use crate::config::FilterLibrary;
use crate::exit;
use crate::fail2ban::dialect;
use crate::fail2ban::matcher::test::rules;
use crate::filter::compile::Tag;
use crate::filter::explain::{self, Matched, WhyNot};
use crate::filter::peer::TrustedProxies;
use crate::filter::{Context, Counts, Filter, FilterSet, FilterState, Kind, Outcome};
use crate::limits::Limits;
use crate::source::offline::OfflineLog;
use crate::text::escape;
use crate::time::{Clock, SystemClock, Timestamp, system_zone};

/// Patterns shown for a line that none fits.
const MISSES_SHOWN: usize = 3;

/// What came out of a line, in words of its own: the attempt borrows from the scan.
struct Seen {
    outcome: Outcome,
    host: Option<String>,
    user: Option<Vec<u8>>,
    time: Option<Timestamp>,
    times: u32,
    pattern: usize,
}

pub fn run(
    args: &TestArgs,
    library: &FilterLibrary,
    json: bool,
    look: Look,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let timezone = args.timezone.unwrap_or_else(system_zone);
    let now = args.now.map_or_else(|| SystemClock::new().now(), Timestamp::from_secs_f64);
    let shown = if json { None } else { Some(look) };
    if let Some(dir) = &args.fail2ban_dir {
        let rules = rules(dir, &args.filter).map_err(|why| (exit::CONFIG, Some(why.to_string())))?;
        return fail2ban::run(args, &rules, timezone, now, shown, out);
    }
    let spec = spec(&args.filter)?;
    let found = files(library, &spec.name)?;
    if dialect::is_meant(&found.base) {
        let program = dialect::load(&spec, &found.sources(), timezone, now).map_err(config)?;
        return fail2ban::run(args, program.rules(), timezone, now, shown, out);
    }
    let filter = Arc::new(Filter::load(&spec, &found.sources()).map_err(config)?);
    let limits = Limits::default();
    let context = Context {
        timezone,
        year: None,
        trusted_proxies: TrustedProxies::private(),
        sessions_max: limits.sessions_max,
    };
    let set = FilterSet::new(vec![Arc::clone(&filter)], context);
    let mut state = FilterState::default();
    let broken = |error: crate::source::SourceError| (exit::NO, Some(error.to_string()));
    let mut log = OfflineLog::open(&args.log, &limits).map_err(broken)?;
    let mut report =
        Report { filter: &filter, look, hits: vec![0; filter.patterns.len()], sum: Counts::default() };
    let mut number = 0;
    while let Some(block) = log.next_block().map_err(broken)? {
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            number += 1;
            let mut seen = None;
            let counts = set.scan(&mut state, now, line, &mut |attempt| {
                seen.get_or_insert(Seen {
                    outcome: attempt.outcome,
                    host: attempt.host.map(|host| host.to_string()),
                    user: attempt.user.map(<[u8]>::to_vec),
                    time: if args.journal { Some(now) } else { attempt.time },
                    times: attempt.times,
                    pattern: attempt.pattern,
                });
            });
            report.sum.add(counts);
            let line = without_end(line);
            let ignored = counts.ignored > 0;
            let shown = if json {
                writeln!(out, "{}", object(&filter, number, line, seen.as_ref(), ignored))
            } else {
                report.line(out, number, line, seen.as_ref(), ignored)
            };
            shown.map_err(|error| lost(&error))?;
        }
    }
    if !json {
        report.summary(out).map_err(|error| lost(&error))?;
    }
    Ok(exit::OK)
}

/// The line's object; the contract stands at the head of the shared conformance runner.
fn object(
    filter: &Filter,
    number: usize,
    line: &[u8],
    seen: Option<&Seen>,
    ignored: bool,
) -> serde_json::Value {
    let Some(seen) = seen else {
        return serde_json::json!({ "line": number, "match": false, "ignored": ignored });
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for matched in explain::matched(filter, line).into_iter().filter(|found| found.pattern == seen.pattern) {
        for (tag, range) in matched.groups.into_iter().filter(|(tag, _)| *tag != Tag::Host) {
            fields.entry(tag.field().to_owned()).or_insert_with(|| text(&line[range]));
        }
    }
    if let Some(user) = &seen.user {
        fields.insert("user".to_owned(), text(user));
    }
    let pattern = &filter.patterns[seen.pattern];
    serde_json::json!({
        "line": number,
        "match": seen.outcome == Outcome::Failure && seen.times > 0,
        "ignored": false,
        "event": seen.outcome,
        "host": seen.host,
        "time": seen.time.map(Timestamp::to_json),
        "user": seen.user.as_deref().map(text),
        "fields": fields,
        "attempts": seen.times,
        "pattern": pattern.place,
    })
}

/// What people are shown.
struct Report<'a> {
    filter: &'a Filter,
    look: Look,
    /// Lines that each pattern fits.
    hits: Vec<u64>,
    sum: Counts,
}

impl Report<'_> {
    fn line(
        &mut self,
        out: &mut dyn Write,
        number: usize,
        line: &[u8],
        seen: Option<&Seen>,
        ignored: bool,
    ) -> std::io::Result<()> {
        let look = self.look;
        let matches = explain::matched(self.filter, line);
        for found in &matches {
            self.hits[found.pattern] += 1;
        }
        let counts = |found: &&Matched| self.filter.patterns[found.pattern].kind != Kind::Ignore;
        let first = match seen {
            Some(seen) => matches.iter().find(|found| found.pattern == seen.pattern),
            None => matches.iter().find(counts),
        };
        let verdict = match (seen, first) {
            (Some(seen), _) => {
                let host = seen.host.as_deref().unwrap_or("no address");
                let user = seen.user.as_deref().map_or(String::new(), |user| format!(" {}", escape(user)));
                let (tone, word) = match seen.outcome {
                    Outcome::Success => (Tone::Good, "success"),
                    Outcome::Failure if seen.times == 0 => (Tone::Dim, "counted already"),
                    Outcome::Failure => (Tone::Bad, "failure"),
                };
                let times = if seen.times > 1 { format!(" x{}", seen.times) } else { String::new() };
                format!("{}{times} {host}{user}", look.paint(tone, word))
            }
            (None, _) if ignored => look.paint(Tone::Warn, "ignored"),
            (None, Some(found)) => match self.filter.patterns[found.pattern].kind {
                Kind::Note => look.paint(Tone::Dim, "remembered for its session"),
                Kind::Forget => look.paint(Tone::Dim, "end of a session"),
                Kind::Success | Kind::Fail | Kind::Ignore => look.paint(Tone::Dim, "nothing"),
            },
            (None, None) => look.paint(Tone::Dim, "no match"),
        };
        writeln!(out, "{number}: {verdict}")?;
        match first {
            Some(found) => {
                writeln!(out, "  {}", self.coloured(line, found))?;
                self.pattern(out, "by", found.pattern)?;
                for (tag, range) in &found.groups {
                    let text = escape(&line[range.clone()]);
                    writeln!(out, "     {} = {}", tag.field(), look.paint(tone_of(tag), &text))?;
                }
                if ignored {
                    for found in matches.iter().filter(|found| !counts(found)) {
                        self.pattern(out, "ignored by", found.pattern)?;
                    }
                }
                for found in matches.iter().filter(|other| counts(other) && other.pattern != found.pattern) {
                    self.pattern(out, "not asked:", found.pattern)?;
                }
            }
            None => {
                writeln!(out, "  {}", look.paint(Tone::Dim, &escape(line)))?;
                self.why_not(out, line)?;
            }
        }
        Ok(())
    }

    fn pattern(&self, out: &mut dyn Write, word: &str, number: usize) -> std::io::Result<()> {
        let pattern = &self.filter.patterns[number];
        let text = self.look.paint(Tone::Dim, &escape(pattern.text.as_bytes()));
        writeln!(out, "  {word} {} {}: {text}", pattern.kind.key(), pattern.place)
    }

    /// The line with what was matched set off, and what the groups took in colours.
    fn coloured(&self, line: &[u8], found: &Matched) -> String {
        let mut groups: Vec<_> = found.groups.iter().filter(|(_, range)| !range.is_empty()).collect();
        groups.sort_by_key(|(_, range)| (range.start, usize::MAX - range.end));
        let mut shown = self.look.paint(Tone::Dim, &escape(&line[..found.whole.start]));
        let mut at = found.whole.start;
        for (tag, range) in groups {
            // A group within another one has been shown with it.
            if range.start < at {
                continue;
            }
            shown.push_str(&self.look.paint(Tone::Bold, &escape(&line[at..range.start])));
            shown.push_str(&self.look.paint(tone_of(tag), &escape(&line[range.clone()])));
            at = range.end;
        }
        let end = found.whole.end.max(at);
        shown.push_str(&self.look.paint(Tone::Bold, &escape(&line[at..end])));
        shown.push_str(&self.look.paint(Tone::Dim, &escape(&line[end..])));
        shown
    }

    fn why_not(&self, out: &mut dyn Write, line: &[u8]) -> std::io::Result<()> {
        let misses = match explain::why_not(self.filter, line) {
            WhyNot::Frame => {
                let frames: Vec<&str> = self.filter.frames.iter().map(|frame| frame.name()).collect();
                return writeln!(out, "  not built like a line of frame {}", frames.join(", "));
            }
            WhyNot::Program(ident) => {
                let known: Vec<&str> = self.filter.ident.iter().map(|glob| glob.as_str()).collect();
                return writeln!(
                    out,
                    "  a line of {}; this filter reads {}",
                    escape(&ident),
                    known.join(", ")
                );
            }
            WhyNot::Patterns(misses) => misses,
        };
        for miss in misses.iter().take(MISSES_SHOWN) {
            let pattern = &self.filter.patterns[miss.pattern];
            let lacks = match miss.missing.as_slice() {
                [] => String::new(),
                [only] => format!(", which lacks {:?}", escape(only)),
                [first, rest @ ..] => format!(", which lacks {:?} or {} more", escape(first), rest.len()),
            };
            let from = floor(line, miss.reached.saturating_sub(30));
            let read = escape(&line[from..miss.reached]);
            let (cut, rest) = (if from > 0 { "..." } else { "" }, &line[miss.reached..]);
            let rest = escape(&rest[..rest.len().min(30)]);
            let stuck = match rest.is_empty() {
                true => "wants more after".to_owned(),
                false => "is stuck after".to_owned(),
            };
            writeln!(
                out,
                "  {} {} {stuck} {cut}{}{}{lacks}",
                pattern.kind.key(),
                pattern.place,
                self.look.paint(Tone::Bold, &read),
                self.look.paint(Tone::Warn, &format!("|{rest}")),
            )?;
        }
        Ok(())
    }

    fn summary(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Counts { lines, failures, successes, ignored, .. } = self.sum;
        writeln!(out, "\nlines: {lines}, failures: {failures}, successes: {successes}, ignored: {ignored}")?;
        for (pattern, hits) in self.filter.patterns.iter().zip(&self.hits) {
            let text = self.look.paint(Tone::Dim, &escape(pattern.text.as_bytes()));
            writeln!(out, "{hits:>8} {} {}: {text}", pattern.kind.key(), pattern.place)?;
        }
        Ok(())
    }
}

fn tone_of(tag: &Tag) -> Tone {
    match tag {
        Tag::Host | Tag::Forwarded => Tone::Bad,
        Tag::User => Tone::Warn,
        _ => Tone::Good,
    }
}

/// The start of a character at or before `at`.
fn floor(text: &[u8], mut at: usize) -> usize {
    while at > 0 && text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}
