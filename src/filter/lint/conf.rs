//! The patterns of a fail2ban filter file, read naively: `key = value` with continued lines, `%(key)s` and
//! `<key>` put in, `prefregex` around. Enough to look into them; what runs such a file reads it in full.

use std::collections::BTreeMap;

/// A pattern and the line of the file it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: usize,
    pub pattern: String,
}

/// How deep names may stand in one another.
const DEPTH_MAX: usize = 12;
/// A pattern's text with everything put in. Bytes.
const EXPANDED_MAX: usize = 64 * 1024;

/// The names of files that `text` includes, those before it first.
pub fn includes(text: &str) -> Vec<String> {
    let keys = keys(text);
    let names = |key: &str| keys.get(key).into_iter().flatten().map(|(_, value)| value.clone());
    names("before").chain(names("after")).filter(|name| !name.is_empty()).collect()
}

/// The failregexes of `text`; `others`: the texts of files that it includes.
pub fn patterns(text: &str, others: &[String]) -> Vec<Line> {
    let mut all: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for text in others.iter().map(String::as_str).chain([text]) {
        all.extend(keys(text));
    }
    let values: BTreeMap<String, String> = all
        .iter()
        .map(|(key, lines)| {
            let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
            (key.clone(), lines.join("\n"))
        })
        .collect();
    let before = values.get("prefregex").map(|text| put_in(text, &values, 0));
    let mut found = Vec::new();
    for (at, line) in keys(text).remove("failregex").unwrap_or_default() {
        for pattern in put_in(&line, &values, 0).split('\n').filter(|line| !line.trim().is_empty()) {
            let pattern = match before.as_deref().and_then(|before| around(before, pattern)) {
                Some(whole) => whole,
                None => pattern.to_owned(),
            };
            found.push(Line { at, pattern });
        }
    }
    found
}

/// `prefregex` with the pattern in the place of its `<F-CONTENT>`.
fn around(prefregex: &str, pattern: &str) -> Option<String> {
    let (before, rest) = prefregex.split_once("<F-CONTENT>")?;
    let (_, after) = rest.split_once("</F-CONTENT>")?;
    let open = pattern.ends_with('$') && after == "$";
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    // The content goes on behind a pattern that does not end it.
    Some(format!("{before}(?:{pattern}){}{after}", if open { "" } else { ".*" }))
}

fn put_in(text: &str, values: &BTreeMap<String, String>, depth: usize) -> String {
    if depth > DEPTH_MAX || text.len() > EXPANDED_MAX {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let name = match c {
            '%' => {
                rest[1..].strip_prefix('(').and_then(|rest| rest.split_once(")s")).map(|(name, _)| (name, 4))
            }
            '<' => rest[1..].split_once('>').map(|(name, _)| (name, 2)),
            _ => None,
        };
        let known = |name: &str| {
            let last = name.rsplit('/').next().unwrap_or(name);
            // The line's head, which fail2ban's own files put together of many parts.
            if last == "__prefix_line" {
                Some(String::new())
            } else {
                values.get(&last.to_ascii_lowercase()).cloned()
            }
        };
        match name.and_then(|(name, marks)| Some((known(name)?, name.len() + marks))) {
            Some((value, len)) => {
                out.push_str(&put_in(&value, values, depth + 1));
                rest = &rest[len..];
            }
            None => {
                let len = if rest.starts_with("%%") { 2 } else { c.len_utf8() };
                out.push(c);
                rest = &rest[len..];
            }
        }
    }
    out
}

/// Each key's lines, with their numbers from 1.
fn keys(text: &str) -> BTreeMap<String, Vec<(usize, String)>> {
    let mut found: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let mut open: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let comment = line.trim_start().starts_with(['#', ';']);
        if comment || line.trim().is_empty() {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            if let Some(key) = &open {
                found.entry(key.clone()).or_default().push((index + 1, line.trim().to_owned()));
            }
        } else if line.starts_with('[') {
            open = None;
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().to_ascii_lowercase();
            let value = value.trim().to_owned();
            let lines = if value.is_empty() { Vec::new() } else { vec![(index + 1, value)] };
            found.insert(key.clone(), lines);
            open = Some(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_and_prefregex_goes_around() {
        let text = "[INCLUDES]\nbefore = common.conf\n\n[Definition]\n_d = (?:a|b)\n# no\n\
                    prefregex = ^%(__prefix_line)s<F-CONTENT>.+</F-CONTENT>$\n\
                    failregex = ^%(_d)s <HOST>$\n            ^x <_more> <HOST>\nignoreregex =\n";
        assert_eq!(includes(text), ["common.conf"]);
        let found = patterns(text, &["_more = [y]".to_owned()]);
        let found: Vec<(usize, &str)> = found.iter().map(|line| (line.at, line.pattern.as_str())).collect();
        assert_eq!(found, [(8, "^(?:(?:a|b) <HOST>$)$"), (9, "^(?:x [y] <HOST>).*$")]);
    }
}
