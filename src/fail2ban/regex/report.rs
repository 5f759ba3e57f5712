//! What is printed: single values of each failure with `-o`, else the summary and the lines.

use std::io::{self, Write};

use super::Options;
use super::tally::{Fate, Tally};
use crate::fail2ban::client::datepattern::spelt_out;
use crate::fail2ban::client::value::Value;
use crate::fail2ban::matcher::{FailureId, Groups, Hit, Value as Held};
use crate::time::{Clock, SystemClock, Timestamp, system_zone};

/// Lines of a kind that are printed without being asked for. Lines.
const LINES_SHOWN: usize = 20;

/// Lines of a kind that are kept for `--print-all-...`. Lines.
const LINES_KEPT_MAX: usize = 1_000_000;

/// What is kept of the lines for the end.
pub struct Report<'a> {
    options: &'a Options,
    clock: SystemClock,
    matched: Vec<String>,
    ignored: Vec<String>,
    missed: Vec<String>,
    /// With `-v`: address and time, by pattern.
    found: Vec<(usize, String)>,
}

impl Report<'_> {
    pub fn new(options: &Options) -> Report<'_> {
        Report {
            options,
            clock: SystemClock::new(),
            matched: Vec::new(),
            ignored: Vec::new(),
            missed: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Takes one line of the log.
    pub fn line(&mut self, tally: &mut Tally, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(text) = tally.text(line) else { return Ok(()) };
        let fate = tally.line(&text);
        if let Some(what) = &self.options.out {
            return match fate {
                Fate::Matched(Some(hit)) => print(&hit, what, out),
                _ => Ok(()),
            };
        }
        let Options { print_all_matched, print_all_ignored, print_all_missed, .. } = self.options;
        let (kept, all) = match fate {
            Fate::Matched(hit) => {
                if let Some(hit) = hit {
                    self.take(&hit);
                }
                (&mut self.matched, *print_all_matched)
            }
            Fate::Ignored => (&mut self.ignored, *print_all_ignored),
            Fate::Missed => (&mut self.missed, *print_all_missed),
        };
        if kept.len() < if all { LINES_KEPT_MAX } else { LINES_SHOWN + 1 } {
            kept.push(text);
        }
        Ok(())
    }

    /// Takes a failure: its address, and the lines that waited for this one, which are matched now.
    fn take(&mut self, hit: &Hit) {
        if self.options.verbosity() > 0 && self.found.len() < LINES_KEPT_MAX {
            self.found.push((hit.regex, format!("    {}  {}", id(&hit.id), spoken(hit.time))));
        }
        for before in hit.lines.iter().rev().skip(1) {
            if let Some(at) = self.missed.iter().rposition(|missed| missed == before.whole()) {
                let line = self.missed.remove(at);
                self.matched.push(line);
            }
        }
    }

    /// Results of the whole log.
    pub fn summary(&self, tally: &Tally, out: &mut dyn Write) -> io::Result<()> {
        let rules = tally.rules();
        let verbose = self.options.verbosity() > 0;
        writeln!(out, "\nResults\n=======")?;
        if let Some(prefix) = &rules.prefregex {
            writeln!(out, "\nPrefregex: {} total", tally.prefregex_hits)?;
            tree(out, None, std::slice::from_ref(prefix))?;
        }
        let kinds = [
            ("Failregex", &rules.failregex, &tally.failregex_hits),
            ("Ignoreregex", &rules.ignoreregex, &tally.ignoreregex_hits),
        ];
        for (title, patterns, hits) in kinds {
            writeln!(out, "\n{title}: {} total", hits.iter().sum::<u64>())?;
            let mut rows = Vec::new();
            for (index, (pattern, hits)) in patterns.iter().zip(hits).enumerate() {
                if *hits > 0 || verbose {
                    rows.push(format!("{:>2}) [{hits}] {pattern}", index + 1));
                }
                if title == "Failregex" {
                    rows.extend(
                        self.found.iter().filter(|(of, _)| *of == index).map(|(_, text)| text.clone()),
                    );
                }
            }
            tree(out, Some(" #) [# of hits] regular expression"), &rows)?;
        }
        writeln!(out, "\nDate template hits:")?;
        let dates = tally.date_hits.iter().map(|(name, hits)| format!("[{hits}] {}", spelt_out(name)));
        tree(out, Some("[# of hits] date format"), &dates.collect::<Vec<_>>())?;
        let Tally { ignored, matched, missed, .. } = tally;
        writeln!(
            out,
            "\nLines: {} lines, {ignored} ignored, {matched} matched, {missed} missed\n[processed in {:.2} sec]\n",
            tally.tested(),
            self.clock.monotonic().as_secs_f64()
        )?;
        if tally.overruns > 0 {
            let given_up = tally.overruns;
            writeln!(
                out,
                "ERROR: {given_up} searches were given up: a pattern backtracks without end on some line\n"
            )?;
        }
        let Options { print_all_matched, print_all_ignored, print_all_missed, .. } = *self.options;
        if print_all_matched {
            lines(out, "Matched", "matched", *matched, &self.matched, true)?;
        }
        if !self.options.print_no_ignored {
            lines(out, "Ignored", "ignored", *ignored, &self.ignored, print_all_ignored)?;
        }
        if !self.options.print_no_missed {
            lines(out, "Missed", "missed", *missed, &self.missed, print_all_missed)?;
        }
        Ok(())
    }
}

/// Rows under a heading; nothing where there are none.
fn tree(out: &mut dyn Write, head: Option<&str>, rows: &[String]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    if let Some(head) = head {
        writeln!(out, "|- {head}")?;
    }
    rows.iter().try_for_each(|row| writeln!(out, "|  {row}"))?;
    writeln!(out, "`-")
}

fn lines(
    out: &mut dyn Write,
    title: &str,
    option: &str,
    count: u64,
    kept: &[String],
    all: bool,
) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    if all || count < LINES_SHOWN as u64 {
        let rows: Vec<String> = kept.iter().map(|line| line.trim_end().to_owned()).collect();
        return tree(out, Some(&format!("{title} line(s):")), &rows);
    }
    writeln!(out, "{title} line(s): too many to print.  Use --print-all-{option} to print all {count} lines")
}

/// What would be banned, as text.
fn id(id: &FailureId) -> String {
    match id {
        FailureId::Net(net) => net.as_host().map_or_else(|| net.to_string(), |host| host.to_string()),
        FailureId::Name(text) | FailureId::Text(text) => text.clone(),
        FailureId::Tuple(parts) => {
            let part = |part: &Option<String>| part.as_ref().map_or(Value::None, Value::text);
            Value::Tuple(parts.iter().map(part).collect()).to_string()
        }
    }
}

fn spoken(time: Option<Timestamp>) -> String {
    let Some(utc) = time.and_then(|time| chrono::DateTime::from_timestamp_micros(time.micros())) else {
        return "-".to_owned();
    };
    utc.with_timezone(&system_zone()).format("%a %b %d %H:%M:%S %Y").to_string()
}

fn held(value: &Held) -> Value {
    match value {
        Held::Text(text) => Value::text(text),
        Held::Tuple(parts) => {
            Value::Tuple(parts.iter().map(|part| part.as_ref().map_or(Value::None, Value::text)).collect())
        }
    }
}

/// A field of a failure; `ip` is what would be banned where no pattern says otherwise.
fn field(hit: &Hit, name: &str) -> Option<String> {
    let groups: &Groups = &hit.groups;
    match (groups.get(name), name) {
        (Some(value), _) => Some(held(value).to_string()),
        (None, "id" | "fid" | "ip" | "host") => Some(id(&hit.id)),
        (None, "time") => hit.time.map(|time| Value::Float(time.micros() as f64 / 1e6).to_string()),
        (None, "msg" | "matches") => {
            Some(hit.lines.iter().map(|line| line.whole()).collect::<Vec<_>>().join("\n"))
        }
        (None, "family") => match &hit.id {
            FailureId::Net(net) if net.is_ipv4() => Some("inet4".to_owned()),
            FailureId::Net(_) => Some("inet6".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// One failure by `-o`.
fn print(hit: &Hit, what: &str, out: &mut dyn Write) -> io::Result<()> {
    match what {
        "id" | "fid" => writeln!(out, "{}", id(&hit.id)),
        "row" => {
            let fields = hit.groups.iter().map(|(name, value)| (Value::text(name), held(value)));
            let time = hit.time.map_or(Value::None, |time| Value::Float(time.micros() as f64 / 1e6));
            let id = Value::Text(id(&hit.id));
            writeln!(out, "[{},\t{},\t{}],", id.repr(), time.repr(), Value::Dict(fields.collect()))
        }
        what if what.contains('<') => writeln!(out, "{}", tagged(hit, what)),
        what => writeln!(out, "{}", field(hit, what).unwrap_or_else(|| "None".to_owned())),
    }
}

/// `text` with `<name>` and `<F-NAME>` replaced; a tag that stands for nothing here stays. What is put in is not
/// looked at again.
fn tagged(hit: &Hit, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let tag = rest[1..].split_once('>').map(|(name, _)| name);
        let value = tag.and_then(|name| {
            let plain = name.strip_prefix("F-").map(|name| name.to_lowercase().replace('-', "_"));
            field(hit, plain.as_deref().unwrap_or(name))
        });
        match (tag, value) {
            (Some(name), Some(value)) => {
                out.push_str(&value);
                rest = &rest[name.len() + 2..];
            }
            _ => {
                out.push('<');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
