//! Durations as fail2ban takes them: numbers with units, and arithmetic over them. Read, not evaluated.

/// Seconds of a unit: fail2ban's years have 365.25 days, its months are a twelfth of that.
fn unit(word: &str) -> Option<f64> {
    Some(match word.to_ascii_lowercase().as_str() {
        "y" | "yy" | "ye" | "yea" | "year" | "years" => 31_557_600.0,
        "mo" | "mon" | "month" | "months" => 2_629_800.0,
        "w" | "ww" | "we" | "wee" | "week" | "weeks" => 604_800.0,
        "d" | "dd" | "da" | "day" | "days" => 86_400.0,
        "h" | "hh" | "ho" | "hou" | "hour" | "hours" => 3600.0,
        "m" | "mm" | "mi" | "min" | "minute" | "minutes" => 60.0,
        "s" | "ss" | "se" | "sec" | "second" | "seconds" => 1.0,
        _ => return None,
    })
}

/// Nested brackets in one duration.
const DEPTH_MAX: usize = 16;

/// Seconds, negative ones too (`-1`: for ever). `None`: not a duration. What follows a `#` is a remark.
pub fn seconds(text: &str) -> Option<f64> {
    let text = text.split('#').next().unwrap_or_default();
    let mut reader = Reader { rest: text.trim(), depth: 0 };
    let value = reader.sum()?;
    (reader.rest.is_empty() && value.is_finite()).then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, c: char) -> bool {
        let Some(after) = self.rest.strip_prefix(c) else { return false };
        self.rest = after.trim_start();
        true
    }

    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value += self.product()?;
            } else if self.take('-') {
                value -= self.product()?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.signed()?;
        loop {
            if self.take('*') {
                value *= self.signed()?;
            } else if self.take('/') {
                let by = self.signed()?;
                if by == 0.0 {
                    return None;
                }
                value /= by;
            } else {
                return Some(value);
            }
        }
    }

    fn signed(&mut self) -> Option<f64> {
        if self.take('-') {
            return Some(-self.plain()?);
        }
        self.take('+');
        self.plain()
    }

    fn plain(&mut self) -> Option<f64> {
        if self.take('(') {
            self.depth += 1;
            let value = (self.depth <= DEPTH_MAX).then(|| self.sum())??;
            self.depth -= 1;
            return self.take(')').then_some(value);
        }
        let (mut value, united) = self.quantity()?;
        // `1d12h`, `1h 30m` and `1h30` add up.
        let mut united = united;
        while united && self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let (next, more) = self.quantity()?;
            value += next;
            united = more;
        }
        Some(value)
    }

    fn span(&mut self, good: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !good(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn quantity(&mut self) -> Option<(f64, bool)> {
        let number: f64 = self.span(|c| c.is_ascii_digit() || c == '.').parse().ok()?;
        self.rest = self.rest.trim_start();
        let word = self.span(|c| c.is_ascii_alphabetic());
        let value = if word.is_empty() { number } else { number * unit(word)? };
        self.rest = self.rest.trim_start();
        Some((value, !word.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_admins_write_them() {
        for (text, want) in [
            ("600", 600.0),
            ("-1", -1.0),
            ("1d 12h", 129_600.0),
            ("1d12h", 129_600.0),
            ("1year-6mo", 15_778_800.0),
            ("60*60*24", 86_400.0),
            ("24 * (60 * 60)", 86_400.0),
            ("1h 30m", 5400.0),
            ("10M", 600.0),
            ("1.5h", 5400.0),
            ("1d  # raise this later", 86_400.0),
            ("2w/2", 604_800.0),
        ] {
            assert_eq!(seconds(text), Some(want), "{text}");
        }
        for wrong in ["", "abc", "10q", "1 2", "1/0", "(1", "__import__('os')", "1h)"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(seconds(&"(".repeat(10_000)), None);
    }
}
