//! How fail2ban names a date pattern to a person.

/// Its name for the usual patterns.
pub const DEFAULT_DETECTORS: &str = "Default Detectors";

/// The pattern and its name, as `get JAIL datepattern` has them. `{^LN-BEG}` alone and `{DATE}` stand for the usual
/// patterns in another place, and so do more than two patterns: those have no pattern to show.
pub fn described(pattern: &str) -> (Option<String>, String) {
    let lines: Vec<&str> = pattern.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let placed = |line: &&str| line.starts_with('{') && line.ends_with('}') && !line[1..].contains('{');
    let first = lines.first().copied().unwrap_or_default();
    if first.is_empty() || lines.iter().any(placed) || pattern.contains("{DATE}") || lines.len() > 2 {
        return (None, DEFAULT_DETECTORS.to_owned());
    }
    (Some(first.to_owned()), spelt_out(first))
}

/// A date pattern with its codes as words. A code without one stays.
pub fn spelt_out(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (exact, code) = match after.strip_prefix("Ex") {
            Some(code) => ("Ex", code),
            None => ("", after),
        };
        let letter = code.chars().next();
        match letter.and_then(word) {
            Some(word) => {
                out.push_str(exact);
                out.push_str(word);
                rest = &code[1..];
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn word(code: char) -> Option<&'static str> {
    Some(match code {
        'a' => "DAY",
        'A' => "DAYNAME",
        'b' => "MON",
        'B' => "MONTH",
        'd' => "Day",
        'f' => "Microseconds",
        'H' => "24hour",
        'I' => "12hour",
        'j' => "Yearday",
        'm' => "Month",
        'M' => "Minute",
        'p' => "AMPM",
        'S' => "Second",
        'U' | 'W' => "Yearweek",
        'w' => "Weekday",
        'y' => "Year2",
        'Y' => "Year",
        'z' => "Zone offset",
        'Z' => "Zone name",
        '%' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_patterns_are_spelt_out() {
        let custom = "^%Y-%m-%d %H:%M:%S";
        let spelt = "^Year-Month-Day 24hour:Minute:Second";
        assert_eq!(described(custom), (Some(custom.to_owned()), spelt.to_owned()));
        assert_eq!(spelt_out("%b %d %k:%ExM(?: %ExY)?"), "MON Day %k:ExMinute(?: ExYear)?");
        for usual in ["{^LN-BEG}", "{^LN-BEG}{DATE}", "{^LN-BEG}TAI64N\n{^LN-BEG}", "%Y\n%m\n%d", ""] {
            assert_eq!(described(usual), (None, DEFAULT_DETECTORS.to_owned()), "{usual}");
        }
    }
}
