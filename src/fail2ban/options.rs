//! `name[option=value, other="a, b"][third='c']`, and lists of them.

/// The arguments of a filter or an action in their order; a later one of the same name wins.
pub type Arguments = Vec<(String, String)>;

/// Splits `name[option=value, ...]`. Values are bare (to the next comma or bracket) or quoted, without escapes.
///
/// # Errors
/// What fail2ban takes for a syntax error: it then drops the jail.
pub fn extract(text: &str) -> Result<(String, Arguments), String> {
    let Some((name, rest)) = text.split_once('[') else {
        return if text.is_empty() { Err("nothing there".into()) } else { Ok((text.to_owned(), Vec::new())) };
    };
    let rest = rest.trim_end();
    let inside = rest.strip_suffix(']').filter(|_| !name.is_empty());
    let Some(inside) = inside else {
        return Err("the option bracket is not closed at the end".to_owned());
    };
    Ok((name.to_owned(), arguments(inside)?))
}

fn arguments(inside: &str) -> Result<Arguments, String> {
    let mut found = Arguments::new();
    let mut rest = inside;
    loop {
        rest = rest.trim_start();
        // An empty place between two commas holds nothing only at the end.
        if rest.is_empty() || rest.strip_prefix(',').is_some_and(|after| after.trim().is_empty()) {
            return Ok(found);
        }
        let wrong =
            |at: &str| format!("expected option=value at \"{}\"", at.chars().take(30).collect::<String>());
        let (name, after) = rest.split_once('=').ok_or_else(|| wrong(rest))?;
        // name?family=inet6=value
        let (name, after) = match name.split_once('?') {
            Some((plain, condition)) if is_name(plain) && is_name(condition) => {
                let (value, after) = after.split_once('=').ok_or_else(|| wrong(rest))?;
                (format!("{plain}?{condition}={value}"), after)
            }
            _ if is_name(name) => (name.to_owned(), after),
            _ => return Err(wrong(rest)),
        };
        let quoted = after.chars().next().filter(|c| matches!(c, '"' | '\'')).and_then(|quote| {
            let end = after[1..].find(quote)?;
            Some((&after[1..=end], &after[end + 2..]))
        });
        let (value, after) =
            quoted.unwrap_or_else(|| after.split_at(after.find([',', ']']).unwrap_or(after.len())));
        let value = value.trim().to_owned();
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => found.push((name.clone(), value)),
        }
        rest = if let Some(after) = after.strip_prefix(',') {
            after
        } else if let Some(after) = after.strip_prefix(']').and_then(|a| a.trim_start().strip_prefix('[')) {
            after
        } else if after.trim_matches('\n').is_empty() {
            after
        } else {
            return Err(format!("unexpected text after option {name}"));
        };
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The entries of an `action =` list: separated by newlines or blanks outside brackets.
pub fn split(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = entry_end(rest);
        entries.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    entries
}

/// Where the entry that `text` begins with ends.
fn entry_end(text: &str) -> usize {
    let blank = text.find(char::is_whitespace).unwrap_or(text.len());
    let name = text.find('[').unwrap_or(text.len());
    if name > blank && text[blank..name].trim() != "" || name == text.len() {
        return blank;
    }
    let mut end = name;
    // One bracket group after the other; quotes hide brackets.
    loop {
        let skipped = text[end..].len() - text[end..].trim_start().len();
        if !text[end + skipped..].starts_with('[') {
            // What follows without a blank makes it no bracket: taken as far as a blank, and refused later.
            return if skipped == 0 && end < text.len() { blank.max(1) } else { end };
        }
        let Some(length) = group(&text[end + skipped..]) else {
            // Not closed: what stands up to the next blank is taken, and refused later.
            return if end == name { blank.max(1) } else { end };
        };
        end += skipped + length;
    }
}

/// The length of the bracket group that `text` begins with.
fn group(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = '[';
    for (at, c) in text.char_indices().skip(1) {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') && before == '=' => quote = Some(c),
            None if c == ']' => return Some(at + 1),
            None => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<(String, String)> {
        extract(text).unwrap().1
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn arguments_may_be_quoted_bare_and_in_groups() {
        assert_eq!(
            args("x[a=1, b=\"v,]2\", c='3'][d=4, e=]"),
            [pair("a", "1"), pair("b", "v,]2"), pair("c", "3"), pair("d", "4"), pair("e", "")]
        );
        assert_eq!(args("iptables[name=x port=80]"), [pair("name", "x port=80")]);
        assert_eq!(
            args("x[blocktype?family=inet6=\"drop\",\n   y=2]")[0],
            pair("blocktype?family=inet6", "drop")
        );
        assert_eq!(args("x[]"), []);
        assert_eq!(extract("sshd").unwrap(), ("sshd".to_owned(), Vec::new()));
    }

    #[test]
    fn wrong_syntax_is_told() {
        for wrong in ["exim[mode=aggressive", "x[mode]", "x[a=\"b\" c=d]", "[a=b]", "", "x[a=1] y"] {
            assert!(extract(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_split_at_blanks_outside_brackets() {
        assert_eq!(
            split("a[x=\"1 2\", y=3]\n\n  b c[p=1\n, q='] '] [r=2]\nsmtp.py"),
            ["a[x=\"1 2\", y=3]", "b", "c[p=1\n, q='] '] [r=2]", "smtp.py"]
        );
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split("a[x b"), ["a[x", "b"]);
        assert_eq!(split("a[x=1 2]b c[y=3]"), ["a[x=1", "2]b", "c[y=3]"]);
    }
}
