//! The drift alarm: lines that look like failed logins and match no filter, grouped by shape.
//!
//! Programs change their wording and filters silently go blind. A line that speaks of a failed login and that no
//! pattern of any mode knows, not even one that says "this is nothing", is worth a person's look. Lines are
//! grouped as a pattern would: words stay, what varies becomes a wildcard.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use crate::banctl::table::{Look, Tone};
use crate::filter::{Context, Counts, Filter, FilterSet, FilterSpec, FilterState, FrameKind, load};
use crate::shipped;
use crate::text::escape;
use crate::time::Timestamp;

/// What a line on failed logins says, in any letter case.
const WORDS: [&str; 32] = [
    "authentication fail",
    "auth fail",
    "auth_fail",
    "authentication error",
    "authentication rejected",
    "failed login",
    "login fail",
    "login incorrect",
    "failed to log in",
    "failed to login",
    "invalid login",
    "bad login",
    "badlogin",
    "login attempt",
    "failed password",
    "invalid password",
    "wrong password",
    "incorrect password",
    "bad password",
    "password mismatch",
    "invalid credentials",
    "bad credentials",
    "incorrect credentials",
    "unknown user",
    "invalid user",
    "no such user",
    "user not found",
    "account not found",
    "not authenticated",
    "could not authenticate",
    "authorization failed",
    "password check failed",
];

/// Different shapes held at most; later ones are only counted.
const SHAPES_MAX: usize = 2000;
/// Shapes shown at most.
const SHOWN: usize = 30;
/// Words of a message that are looked at.
const TOKENS_MAX: usize = 60;

/// Collects and groups.
pub struct Unmatched {
    words: AhoCorasick,
    /// The filters asked for in every mode, so that what a stricter mode knows is no news.
    known: FilterSet,
    shapes: HashMap<(Vec<u8>, usize), Vec<Shape>>,
    held: usize,
    beyond: u64,
}

/// Lines of one program that differ only where there are wildcards.
struct Shape {
    program: Vec<u8>,
    tokens: Vec<Token>,
    count: u64,
    example: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(Vec<u8>),
    /// Something that varies, as pattern text.
    Varies(String),
}

impl Unmatched {
    pub fn new(filters: &[Arc<Filter>], context: Context) -> Unmatched {
        let mut all: Vec<Arc<Filter>> = filters.to_vec();
        for filter in filters {
            let Some(text) = shipped::text_of(shipped::FILTERS, &filter.name) else { continue };
            for mode in load::modes(text) {
                let mut spec = FilterSpec::normal(&filter.name);
                spec.options.push(("mode".to_owned(), mode));
                all.extend(Filter::shipped(&spec).map(Arc::new));
            }
        }
        let words = AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS);
        Unmatched {
            words: words.expect("a few short words"),
            known: FilterSet::new(all, context),
            shapes: HashMap::new(),
            held: 0,
            beyond: 0,
        }
    }

    pub fn scan(&mut self, set: &FilterSet, state: &mut FilterState, now: Timestamp, block: &[u8]) -> Counts {
        let counts = set.scan(state, now, block, &mut |_| {});
        let mut at = 0;
        while let Some(found) = self.words.find(&block[at..]) {
            let hit = at + found.start();
            let start = memchr::memrchr(b'\n', &block[..hit]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &block[hit..]).map_or(block.len(), |len| hit + len);
            self.line(&block[start..end]);
            at = end;
        }
        counts
    }

    fn line(&mut self, line: &[u8]) {
        if self.known.knows(line) {
            return;
        }
        let framed = FrameKind::Syslog.split(line).or_else(|| FrameKind::Date.split(line));
        let (program, message) = match &framed {
            Some(framed) => (framed.ident.unwrap_or_default(), framed.message),
            None => (&b""[..], line),
        };
        let tokens = tokens(message);
        let shapes = self.shapes.entry((program.to_vec(), tokens.len())).or_default();
        let near = shapes.iter_mut().filter_map(|shape| Some((similar(&shape.tokens, &tokens)?, shape)));
        if let Some((_, shape)) = near.max_by_key(|(same, _)| *same) {
            shape.count += 1;
            for (known, new) in shape.tokens.iter_mut().zip(tokens) {
                if *known != new {
                    *known = Token::Varies(r"\S+".to_owned());
                }
            }
            return;
        }
        if self.held >= SHAPES_MAX {
            self.beyond += 1;
            return;
        }
        self.held += 1;
        shapes.push(Shape { program: program.to_vec(), tokens, count: 1, example: line.to_vec() });
    }

    pub fn show(self, out: &mut impl Write, look: Look, json: bool) -> io::Result<()> {
        let mut shapes: Vec<Shape> = self.shapes.into_values().flatten().collect();
        shapes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        if json {
            for shape in shapes {
                let object = serde_json::json!({
                    "unmatched": shape.count,
                    "program": String::from_utf8_lossy(&shape.program),
                    "pattern": shape.pattern(),
                    "example": String::from_utf8_lossy(&shape.example),
                });
                writeln!(out, "{object}")?;
            }
            return Ok(());
        }
        if shapes.is_empty() {
            return writeln!(out, "every line that looks like a failed login is known to a filter");
        }
        let lines: u64 = shapes.iter().map(|shape| shape.count).sum();
        let headline = format!("{} lines look like failed logins and match no filter:", lines + self.beyond);
        writeln!(out, "{}", look.paint(Tone::Warn, &headline))?;
        for shape in shapes.iter().take(SHOWN) {
            let program = if shape.program.is_empty() {
                String::new()
            } else {
                format!("  {}", escape(&shape.program))
            };
            writeln!(
                out,
                "\n{}{}",
                look.paint(Tone::Bold, &format!("{}x", shape.count)),
                look.paint(Tone::Bold, &program)
            )?;
            writeln!(out, "  {}", escape(&shape.example))?;
            writeln!(
                out,
                "  {}",
                look.paint(Tone::Dim, &format!("'''{}'''", escape(shape.pattern().as_bytes())))
            )?;
        }
        if shapes.len() > SHOWN {
            writeln!(out, "\nand {} more shapes", shapes.len() - SHOWN)?;
        }
        writeln!(
            out,
            "\nThe patterns are a first guess: see that no client-written text can move the address."
        )
    }
}

impl Shape {
    /// A pattern for lines of this shape. One address at most is `<HOST>`: the first.
    fn pattern(&self) -> String {
        let mut out = String::new();
        let mut host = false;
        for (at, token) in self.tokens.iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            match token {
                Token::Word(word) => out.push_str(&regex_syntax::escape(&String::from_utf8_lossy(word))),
                Token::Varies(text) if host => out.push_str(&text.replace("<HOST>", r"[0-9A-Fa-f:.]+")),
                Token::Varies(text) => {
                    host = text.contains("<HOST>");
                    out.push_str(text);
                }
            }
        }
        out.push('$');
        out
    }
}

/// How many tokens are alike, if enough are.
fn similar(a: &[Token], b: &[Token]) -> Option<usize> {
    let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
    (a.len() == b.len() && same * 10 >= a.len() * 7).then_some(same)
}

fn tokens(message: &[u8]) -> Vec<Token> {
    message.split(|b| *b == b' ').filter(|word| !word.is_empty()).take(TOKENS_MAX).map(token).collect()
}

/// A word, or what stands for it: punctuation and the key of `key=value` stay.
fn token(word: &[u8]) -> Token {
    let open = word.iter().take_while(|b| b"([{<\"'".contains(b)).count();
    let key = word[open..].iter().position(|b| *b == b'=').map_or(open, |at| open + at + 1);
    let key = key + word[key..].iter().take_while(|b| b"([{<\"'".contains(b)).count();
    let close = word[key..].iter().rev().take_while(|b| b")]}>\"',;:.".contains(b)).count();
    let (head, core, tail) = (&word[..key], &word[key..word.len() - close], &word[word.len() - close..]);
    let quoted = |text: &[u8]| regex_syntax::escape(&String::from_utf8_lossy(text));
    let around = |middle: &str| Token::Varies(format!("{}{middle}{}", quoted(head), quoted(tail)));
    let is_key = |name: &str| head.to_ascii_lowercase().starts_with(name.as_bytes());
    if core.is_empty() {
        return Token::Word(word.to_vec());
    }
    if let Some((before, after)) = address(core) {
        return Token::Varies(format!("{}{}<HOST>{}{}", quoted(head), before, after, quoted(tail)));
    }
    if is_key("user") || is_key("login") || is_key("account") || core.contains(&b'@') {
        return around(r"<F-USER>\S+?</F-USER>");
    }
    let digits = core.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = core.iter().all(u8::is_ascii_hexdigit);
    if digits == core.len() {
        around(r"\d+")
    } else if digits > 0 && (hex || digits * 2 >= core.len() || core.len() >= 12) || key > open {
        around(r"\S+?")
    } else {
        Token::Word(word.to_vec())
    }
}

/// What stands around the address in a word, as pattern text: `name[203.0.113.7]`, `203.0.113.7:443`.
fn address(core: &[u8]) -> Option<(&'static str, &'static str)> {
    let is = |text: &[u8]| crate::filter::peer::host(text).is_some();
    if is(core) {
        return Some(("", ""));
    }
    if let Some(open) = core.iter().position(|b| *b == b'[')
        && is(&core[open + 1..])
    {
        return Some((r"[^\[\] ]*\[", ""));
    }
    let colon = core.iter().rposition(|b| *b == b':')?;
    let port = &core[colon + 1..];
    (is(&core[..colon]) && port.iter().all(u8::is_ascii_digit)).then_some(("", r":\d+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::peer::TrustedProxies;

    #[test]
    fn lines_of_one_shape_are_one_and_the_pattern_fits_them() {
        let filter = Filter::from_toml("known", "failregex = ['login failed for known$']", "x").unwrap();
        let context = Context {
            timezone: chrono_tz::Tz::UTC,
            year: Some(2026),
            trusted_proxies: TrustedProxies::default(),
            sessions_max: 1,
        };
        let filters = [Arc::new(filter)];
        let set = FilterSet::new(filters.to_vec(), context.clone());
        let mut unmatched = Unmatched::new(&filters, context);
        let mut text = String::new();
        for n in 0..20 {
            text += &format!(
                "Jun  1 06:27:45 mail newd[{n}]: Login failed user=u{n} from 203.0.113.{n} port 4{n}: no\n"
            );
        }
        text += "Jun  1 06:27:45 mail newd[1]: login failed for known\nJun  1 06:27:45 mail newd[1]: all is well\n";
        unmatched.scan(&set, &mut FilterState::default(), Timestamp::default(), text.as_bytes());
        let mut out = Vec::new();
        let look = Look { colour: false, now: Timestamp::default() };
        unmatched.show(&mut out, look, true).unwrap();
        let lines: Vec<serde_json::Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["unmatched"], 20);
        let pattern = lines[0]["pattern"].as_str().unwrap();
        let toml = format!("failregex = ['''{pattern}''']");
        let filter = Filter::from_toml("x", &toml, "x").unwrap();
        for line in text.lines().take(20) {
            assert_eq!(filter.all_matches(line.as_bytes()).len(), 1, "{pattern} on {line}");
        }
    }
}
