//! `<tag>`: values built from values, in filters and actions.

use std::collections::{BTreeMap, BTreeSet};

use super::TEXT_BYTES_MAX;

/// How often one tag may be replaced within one value.
const REPLACED_MAX: usize = 25;

/// Replaces every `<tag>` in the values of `tags` by the value of that name, else by what `other` knows under it,
/// until nothing is left to replace. A tag that nobody knows stays as it is, and so does one in `ignore`.
///
/// Tags may be made of tags: `<mdre-<mode>>`.
///
/// # Errors
/// A value that refers to itself, or that grows without end.
pub fn substitute(
    tags: &mut BTreeMap<String, String>,
    ignore: &BTreeSet<String>,
    other: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<(), String> {
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let names: Vec<String> = tags.keys().filter(|name| !ignore.contains(*name)).cloned().collect();
    loop {
        let mut again = false;
        for name in &names {
            let mut value = tags[name].clone();
            if !value.contains('<') {
                continue;
            }
            let counts = counts.entry(name.clone()).or_default();
            let mut changed = false;
            let mut from = 0;
            while let Some((start, end)) = next_tag(&value, from) {
                let tag = value[start + 1..end - 1].to_owned();
                if ignore.contains(&tag) {
                    from = end;
                    continue;
                }
                if tag == *name || counts.get(&tag).is_some_and(|count| *count > REPLACED_MAX) {
                    return Err(format!("{name} refers to itself through <{tag}>"));
                }
                let replacement = match tags.get(&tag) {
                    Some(text) => Some(text.clone()),
                    None => other(&tag)?,
                };
                let Some(replacement) = replacement else {
                    from = end;
                    continue;
                };
                value = value.replace(&format!("<{tag}>"), &replacement);
                if value.len() > TEXT_BYTES_MAX {
                    return Err(format!("{name} grows beyond {TEXT_BYTES_MAX} bytes through <{tag}>"));
                }
                *counts.entry(tag).or_insert(0) += 1;
                changed = true;
                from = start;
            }
            if changed {
                again |= next_tag(&value, 0).is_some();
                tags.insert(name.clone(), value);
            }
        }
        if !again {
            return Ok(());
        }
    }
}

/// The first `<tag>` of `text` at or after `from`: any characters but blanks and angle brackets.
pub fn next_tag(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut open = None;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'<' => open = Some(at),
            b' ' => open = None,
            b'>' => match open.take() {
                Some(start) if at > start + 1 => return Some((start, at + 1)),
                _ => {}
            },
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pairs: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let mut tags = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let ignore = BTreeSet::from(["matches".to_owned()]);
        substitute(&mut tags, &ignore, &mut |tag| Ok((tag == "outside").then(|| "seen".to_owned())))?;
        Ok(tags)
    }

    #[test]
    fn tags_are_made_of_tags_and_unknown_ones_stay() {
        let tags = run(&[
            ("failregex", "^<pre><mdre-<mode>> <HOST> <matches> <outside> a < b > c"),
            ("mode", "auth"),
            ("mdre-auth", "bad <pre>"),
            ("pre", "x: "),
            ("matches", "never"),
        ])
        .unwrap();
        assert_eq!(tags["failregex"], "^x: bad x:  <HOST> <matches> seen a < b > c");
    }

    #[test]
    fn a_circle_of_tags_ends_with_an_error() {
        assert!(run(&[("a", "<a>")]).is_err());
        assert!(run(&[("a", "<b>"), ("b", "<c>"), ("c", "<b>")]).is_err());
        assert!(run(&[("a", "<b><b>"), ("b", "<c><c>"), ("c", "<a>x")]).is_err());
    }
}
