//! Tables, times and colours for people.

use std::io::IsTerminal;

use chrono::{Datelike, Local, TimeZone, Utc};
use chrono_tz::Tz;

use crate::text::escape;
use crate::time::{Timestamp, show_duration};

/// How text is shown: colours or none, and what "now" is.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: bool,
    pub now: Timestamp,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Bold,
    /// All is well.
    Good,
    /// Somebody should look.
    Warn,
    /// Shut out, or broken.
    Bad,
    /// Beside the point.
    Dim,
}

impl Look {
    /// Colours on a terminal only, and not if `NO_COLOR` is set (<https://no-color.org>).
    pub fn of_stdout(now: Timestamp) -> Look {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Look { colour: wanted && std::io::stdout().is_terminal(), now }
    }

    /// `text` in a tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Bold => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The local clock: `10:03`, `21 Nov 10:03`, `2025-11-21 10:03`, as far as it takes to be clear.
    pub fn clock(self, time: Timestamp) -> String {
        let local = |time: Timestamp| Local.timestamp_opt(time.secs(), 0).earliest();
        let (Some(then), Some(now)) = (local(time), local(self.now)) else {
            return time.secs().to_string();
        };
        let format = if then.date_naive() == now.date_naive() {
            "%H:%M"
        } else if then.year() == now.year() {
            "%-d %b %H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        then.format(format).to_string()
    }

    /// An end: `11:03 (in 43m)`, `for ever`, `over`.
    pub fn until(self, until: Option<Timestamp>) -> String {
        match until {
            None => "for ever".to_owned(),
            Some(until) if until <= self.now => format!("{} (over)", self.clock(until)),
            Some(until) => format!("{} (in {})", self.clock(until), show_duration(until.since(self.now))),
        }
    }

    /// A beginning: `10:03 (17m ago)`.
    pub fn since(self, since: Timestamp) -> String {
        if since > self.now {
            return self.clock(since);
        }
        format!("{} ({} ago)", self.clock(since), show_duration(self.now.since(since)))
    }
}

/// One cell: text and tone.
pub struct Cell(String, Tone);

/// A cell in a tone; what it holds is escaped.
pub fn cell(text: impl AsRef<str>, tone: Tone) -> Cell {
    Cell(escape(text.as_ref().as_bytes()), tone)
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Cell {
        cell(text.to_string(), Tone::Plain)
    }
}

/// Aligned columns under a heading; numbers to the right.
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(heading: &[&'static str]) -> Table {
        Table { heading: heading.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.heading.len());
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, each line indented by `indent`; columns that are empty throughout are left out.
    pub fn show(&self, look: Look, indent: &str) -> String {
        let width = |text: &str| text.chars().count();
        let columns: Vec<usize> = (0..self.heading.len())
            .filter(|column| self.rows.is_empty() || self.rows.iter().any(|row| !row[*column].0.is_empty()))
            .collect();
        let numeric = |column: usize| {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            self.rows.iter().all(|row| digits(&row[column].0))
        };
        let widths: Vec<(usize, usize, bool)> = columns
            .into_iter()
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column].0));
                (column, cells.max().unwrap_or(0).max(width(self.heading[column])), numeric(column))
            })
            .collect();
        let mut out = String::new();
        let mut line = |texts: &dyn Fn(usize) -> (String, Tone)| {
            let mut shown = indent.to_owned();
            for (index, (column, wide, right)) in widths.iter().enumerate() {
                let (text, tone) = texts(*column);
                let blanks = " ".repeat(wide - width(&text));
                let last = index + 1 == widths.len();
                let painted = look.paint(tone, &text);
                shown.push_str(&match (right, last) {
                    (true, _) => format!("{blanks}{painted}"),
                    (false, true) => painted,
                    (false, false) => format!("{painted}{blanks}"),
                });
                if !last {
                    shown.push_str("  ");
                }
            }
            out.push_str(shown.trim_end());
            out.push('\n');
        };
        line(&|column| (self.heading[column].to_owned(), Tone::Dim));
        for row in &self.rows {
            line(&|column| (row[column].0.clone(), row[column].1));
        }
        out
    }
}

/// A log's own time, as its zone has it: `2026-06-01 06:48:30`.
pub fn clock(zone: Tz, time: Timestamp) -> String {
    match Utc.timestamp_opt(time.secs(), 0).single() {
        Some(utc) => utc.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string(),
        None => time.secs().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { colour: false, now: Timestamp::from_secs(1_795_300_000) };

    #[test]
    fn columns_align_and_empty_ones_go() {
        let mut table = Table::new(&["JAIL", "BANNED", "NOTE", "TARGET"]);
        table.row(vec!["postfix-sasl".into(), 2.into(), "".into(), "203.0.113.7".into()]);
        table.row(vec!["sshd".into(), 117.into(), "".into(), "2001:db8::/64".into()]);
        assert_eq!(
            table.show(LOOK, "  "),
            "  JAIL          BANNED  TARGET\n  postfix-sasl       2  203.0.113.7\n  sshd             117  2001:db8::/64\n"
        );
    }

    #[test]
    fn cells_are_escaped_and_colours_do_not_count_as_width() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![cell("x\x1b[2J", Tone::Bad), "b".into()]);
        let shown = table.show(Look { colour: true, ..LOOK }, "");
        assert!(shown.contains("\x1b[31mx\\x1b[2J\x1b[0m  b"), "{shown:?}");
    }

    #[test]
    fn ends_are_told_as_clock_and_as_time_left() {
        let until = LOOK.now.plus(std::time::Duration::from_secs(2580));
        assert!(LOOK.until(Some(until)).ends_with(" (in 43m)"));
        assert_eq!(LOOK.until(None), "for ever");
        assert!(LOOK.until(Some(LOOK.now)).ends_with("(over)"));
        assert!(LOOK.since(LOOK.now.minus(std::time::Duration::from_secs(60))).ends_with("(1m ago)"));
    }
}
