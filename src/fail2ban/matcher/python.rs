//! Python's regex syntax, rewritten for `regex` or, where that cannot, for `fancy-regex`.
//!
//! Differences that change what matches, all found by comparing with Python:
//! a conditional `(?(name)…)` is read by fancy-regex as text to match unless written `(?(<name>)…)`, and
//! `(?(name)(?:a|b))` as having two branches;
//! `$` matches before a last newline; `\<` and `\>` are plain characters; `[`, `&&`, `--` and `~~` inside a
//! class are plain; a brace that is no counter is plain; `{,n}` and `{,}` count from zero; `\Z` is the very end; `\s` and
//! `\w` are other sets of characters.
//!
//! Source of the syntax: the manual of Python's `re`.

use std::iter::Peekable;
use std::str::Chars;

/// What `$` means for one pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The text is one line with its newline: before that newline, or at the end.
    One,
    /// `re.MULTILINE`: `^` and `$` hold at every line.
    Each,
    /// Several lines, `^` and `$` hold for the whole text only.
    Whole,
}

/// The engine the text is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `regex`: no look-around, no back-references.
    Linear,
    /// `fancy-regex`.
    Backtracking,
}

/// Why a pattern was not translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Needs [`Target::Backtracking`].
    #[error("look-around, back-references and conditionals need the backtracking engine")]
    NeedsBacktracking,
    #[error("{what} at byte {at}")]
    Bad { what: &'static str, at: usize },
}

/// A pattern in its target's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    pub text: String,
    /// What was read otherwise than Python reads it, in words for the import report.
    pub notes: Vec<&'static str>,
}

/// Said of `.*+` and its kin, which Python up to 3.10 refuses and later versions can never match.
pub const POSSESSIVE: &str = "a possessive counter such as .*+ was read as the counter alone";
/// Said of `(?i)` in the middle of a pattern.
pub const LATE_FLAGS: &str = "flags in the middle of the pattern were applied to all of it";
/// Said of `(?a)` and `(?L)`.
pub const CHARSET_FLAGS: &str = "flag a or L was left out: \\w, \\d and \\s stay Unicode";

/// Rewrites `pattern` for `target`.
pub fn translate(pattern: &str, lines: Lines, target: Target) -> Result<Translated, SyntaxError> {
    let mut out = Writer {
        rest: pattern.chars().peekable(),
        length: pattern.len(),
        out: String::with_capacity(pattern.len() + 16),
        flags: String::new(),
        notes: Vec::new(),
        verbose: false,
        depth: 0,
        conditionals: Vec::new(),
        lines,
        target,
    };
    out.pattern()?;
    let mut text = out.out;
    if !out.flags.is_empty() {
        text = format!("(?{}){text}", out.flags);
    }
    out.notes.dedup();
    Ok(Translated { text, notes: out.notes })
}

struct Writer<'p> {
    rest: Peekable<Chars<'p>>,
    length: usize,
    out: String,
    /// Flags of the whole pattern: of i, m, s.
    flags: String,
    notes: Vec<&'static str>,
    verbose: bool,
    /// Groups that are open.
    depth: usize,
    /// Of the open conditionals that have one branch so far, how many groups are open in it, itself included.
    conditionals: Vec<usize>,
    lines: Lines,
    target: Target,
}

impl Writer<'_> {
    fn bad<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        let left: usize = self.rest.clone().map(char::len_utf8).sum();
        Err(SyntaxError::Bad { what, at: self.length - left })
    }

    fn backtracking(&self) -> Result<(), SyntaxError> {
        match self.target {
            Target::Linear => Err(SyntaxError::NeedsBacktracking),
            Target::Backtracking => Ok(()),
        }
    }

    fn starts_with(&self, text: &str) -> bool {
        let mut rest = self.rest.clone();
        text.chars().all(|c| rest.next() == Some(c))
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.rest.next();
        }
    }

    fn literal(&mut self, c: char) {
        if r".\+*?()|[]{}^$".contains(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn pattern(&mut self) -> Result<(), SyntaxError> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.after_counter();
                }
                '{' => self.brace(),
                '$' => self.dollar()?,
                '#' if self.verbose => while self.rest.next_if(|&c| c != '\n').is_some() {},
                c if self.verbose && c.is_whitespace() => {}
                '|' => {
                    self.conditionals.pop_if(|depth| *depth == self.depth);
                    self.out.push('|');
                }
                ')' => self.close(),
                '^' | '.' => self.out.push(c),
                c => self.literal(c),
            }
        }
        Ok(())
    }

    /// Begins a group.
    fn open(&mut self, text: &str) {
        self.depth += 1;
        self.out.push_str(text);
    }

    /// Ends one. A conditional always gets its second branch: fancy-regex would look for it in the alternation that the
    /// first may be.
    fn close(&mut self) {
        if self.conditionals.pop_if(|depth| *depth == self.depth).is_some() {
            self.out.push('|');
        }
        self.depth = self.depth.saturating_sub(1);
        self.out.push(')');
    }

    fn dollar(&mut self) -> Result<(), SyntaxError> {
        let each = self.lines == Lines::Each || self.flags.contains('m');
        match self.lines {
            _ if each => self.out.push('$'),
            Lines::One | Lines::Each => self.out.push_str("(?m:$)"),
            Lines::Whole => {
                self.backtracking()?;
                self.out.push_str(r"(?=\n?\z)");
            }
        }
        Ok(())
    }

    fn after_counter(&mut self) {
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        } else if self.rest.next_if_eq(&'+').is_some() {
            self.notes.push(POSSESSIVE);
        }
    }

    /// `{2,5}` counts; any other brace is a character.
    fn brace(&mut self) {
        let mut ahead = self.rest.clone();
        let inside: String = ahead.by_ref().take_while(|&c| c != '}').take(16).collect();
        let (low, high) = inside.split_once(',').unwrap_or((&inside, &inside));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let comma = inside.contains(',');
        let counts = digits(low) && digits(high) && !inside.is_empty();
        if !counts || self.out.is_empty() || !self.starts_with(&format!("{inside}}}")) {
            return self.literal('{');
        }
        let low = if low.is_empty() { "0" } else { low };
        match comma {
            true => self.out.push_str(&format!("{{{low},{high}}}")),
            false => self.out.push_str(&format!("{{{low}}}")),
        }
        self.skip(inside.chars().count() + 1);
        self.after_counter();
    }

    fn escape(&mut self, in_class: bool) -> Result<(), SyntaxError> {
        let Some(c) = self.rest.next() else { return self.bad("a pattern ends in a backslash") };
        match c {
            'b' if in_class => self.out.push_str(r"\x08"),
            'A' | 'b' | 'B' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'd' | 'D' => {
                self.out.push('\\');
                self.out.push(c);
            }
            's' | 'S' | 'w' | 'W' => self.python_class(c, in_class),
            'Z' if !in_class => self.out.push_str(r"\z"),
            'n' | 'r' | 't' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'a' => self.out.push_str(r"\x07"),
            'f' => self.out.push_str(r"\x0C"),
            'v' => self.out.push_str(r"\x0B"),
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            '0'..='7' if in_class || c == '0' || self.two_octal_digits_follow() => self.octal(c)?,
            '1'..='9' if !in_class => {
                self.backtracking()?;
                let mut number = String::from(c);
                if let Some(second) = self.rest.next_if(char::is_ascii_digit) {
                    number.push(second);
                }
                self.out.push_str(&format!("(?:\\{number})"));
            }
            c if c.is_ascii_alphanumeric() => return self.bad("an escape that Python does not know"),
            c if in_class => self.class_literal(c),
            c => self.literal(c),
        }
        Ok(())
    }

    /// Python's blanks are also the four information separators; its word characters are letters, numbers and `_`, and
    /// not the marks and joiners that the engines add.
    fn python_class(&mut self, c: char, in_class: bool) {
        let set = if c.eq_ignore_ascii_case(&'s') { r"\s\x1C-\x1F" } else { r"\p{L}\p{N}_" };
        match (c.is_ascii_uppercase(), in_class) {
            (false, true) => self.out.push_str(set),
            (false, false) => self.out.push_str(&format!("[{set}]")),
            (true, _) => self.out.push_str(&format!("[^{set}]")),
        }
    }

    /// `\101` is a character where `\10` would be the tenth group.
    fn two_octal_digits_follow(&self) -> bool {
        let mut rest = self.rest.clone();
        (0..2).all(|_| rest.next().is_some_and(|c| c.is_digit(8)))
    }

    /// The character of up to three octal digits, the first of them read already.
    fn octal(&mut self, first: char) -> Result<(), SyntaxError> {
        let mut value = first.to_digit(8).expect("the caller saw an octal digit");
        for _ in 0..2 {
            let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(8)) else { break };
            self.rest.next();
            value = value * 8 + digit;
        }
        if value > 0o377 {
            return self.bad("an octal escape above 377");
        }
        self.out.push_str(&format!("\\x{{{value:X}}}"));
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<(), SyntaxError> {
        let hex: String = self.rest.clone().take(digits).collect();
        let value =
            u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32);
        let Some(value) = value else { return self.bad("an incomplete escape") };
        self.skip(digits);
        self.out.push_str(&format!("\\x{{{:X}}}", u32::from(value)));
        Ok(())
    }

    fn class_literal(&mut self, c: char) {
        if matches!(c, '[' | ']' | '\\' | '^' | '-' | '&' | '~') {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn class(&mut self) -> Result<(), SyntaxError> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.next() else { return self.bad("a character class without its end") };
            if c == ']' && !first {
                break;
            }
            first = false;
            // A range, unless what stands before the dash is a class like \w or the dash is the last.
            let is_set = c == '\\' && self.rest.peek().is_some_and(|next| "dDsSwW".contains(*next));
            match c {
                '\\' => self.escape(true)?,
                c => self.class_literal(c),
            }
            if !is_set && self.rest.peek() == Some(&'-') && !self.starts_with("-]") {
                self.rest.next();
                self.out.push('-');
                match self.rest.next() {
                    Some('\\') => self.escape(true)?,
                    Some(c) => self.class_literal(c),
                    None => return self.bad("a character class without its end"),
                }
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn name(&mut self, end: char) -> Result<String, SyntaxError> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some(c) if c == end => break,
                Some(c) if c == '_' || c.is_alphanumeric() => name.push(c),
                _ => return self.bad("a group name that Python does not take"),
            }
        }
        if name.is_empty() { self.bad("an empty group name") } else { Ok(name) }
    }

    fn group(&mut self) -> Result<(), SyntaxError> {
        if self.rest.next_if_eq(&'?').is_none() {
            self.open("(");
            return Ok(());
        }
        if self.starts_with("P<") {
            self.skip(2);
            let name = self.name('>')?;
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return self.bad("a group name that begins with a digit");
            }
            self.open(&format!("(?P<{name}>"));
        } else if self.starts_with("P=") {
            self.backtracking()?;
            self.skip(2);
            let name = self.name(')')?;
            self.out.push_str(&format!(r"(?:\k<{name}>)"));
        } else if self.starts_with("(") {
            self.backtracking()?;
            self.skip(1);
            let name = self.name(')')?;
            match name.bytes().all(|b| b.is_ascii_digit()) {
                true => self.open(&format!("(?({name})")),
                false => self.open(&format!("(?(<{name}>)")),
            }
            self.conditionals.push(self.depth);
        } else if self.starts_with("#") {
            while self.rest.next_if(|&c| c != ')').is_some() {}
            self.rest.next();
        } else if self.starts_with(":") {
            self.skip(1);
            self.open("(?:");
        } else if let Some(look) = ["=", "!", "<=", "<!", ">"].iter().find(|look| self.starts_with(look)) {
            self.backtracking()?;
            self.skip(look.len());
            self.open("(?");
            self.out.push_str(look);
        } else {
            self.inline_flags()?;
        }
        Ok(())
    }

    fn inline_flags(&mut self) -> Result<(), SyntaxError> {
        let begins = self.out.is_empty();
        let mut kept = String::new();
        loop {
            match self.rest.next() {
                Some(c @ ('i' | 'm' | 's' | '-')) => kept.push(c),
                Some('x') => self.verbose = true,
                Some('u') => {}
                Some('a' | 'L') => self.notes.push(CHARSET_FLAGS),
                Some(':') => {
                    let kept = kept.trim_end_matches('-');
                    self.open(&if kept.is_empty() { "(?:".to_owned() } else { format!("(?{kept}:") });
                    return Ok(());
                }
                Some(')') => {
                    if !begins {
                        self.notes.push(LATE_FLAGS);
                    }
                    // The engines refuse a flag that is said twice.
                    for flag in kept.chars().filter(|&flag| flag != '-') {
                        if !self.flags.contains(flag) {
                            self.flags.push(flag);
                        }
                    }
                    return Ok(());
                }
                _ => return self.bad("an unknown group after (?"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(pattern: &str) -> String {
        translate(pattern, Lines::One, Target::Linear).expect("translates").text
    }

    fn matches(pattern: &str, text: &str) -> bool {
        let text_out = translate(pattern, Lines::One, Target::Backtracking).expect("translates").text;
        fancy_regex::Regex::new(&text_out).expect("compiles").is_match(text).expect("no overrun")
    }

    #[test]
    fn a_conditional_asks_for_its_group_and_not_for_a_text() {
        assert!(matches(r"^(?P<q>')?x(?(q)'|!)$", "'x'\n"));
        assert!(matches(r"^(?P<q>')?x(?(q)'|!)$", "x!\n"));
        assert!(!matches(r"^(?P<q>')?x(?(q)'|!)$", "x'\n"));
        assert!(!matches(r"^(?P<q>')?x(?(q)'|!)$", "qx'\n"));
        for (text, expected) in
            [("'xa", true), ("'xb", true), ("xa", false), ("xb", false), ("x", true), ("'x", false)]
        {
            assert_eq!(matches(r"^(?P<q>')?x(?(q)(?:a|b))$", text), expected, "{text}");
            assert_eq!(matches(r"^(?P<q>')?x(?(q)(?:a|(?i:B)(?(q)(?:|c))))$", text), expected, "{text}");
        }
        assert!(matches(r"^(?P<q>')?x(?(q)(?:a|b)|(?:c|d))$", "xd"));
    }

    #[test]
    fn characters_that_only_rust_gives_a_meaning_stay_plain() {
        assert!(matches(r"^\<a\>$", "<a>\n"));
        assert!(matches(r"^[[&&~~]+--[+--]+\-$", "[&~--+,--\n"));
        assert!(matches(r"^{a} {,2}x{2}$", "{a}  xx\n"));
        assert!(matches(r"^xb{,}y{}$", "xy{}\n"));
        assert!(matches(r"^xb{,}y{}$", "xbbby{}\n"));
        assert_eq!(linear(r"a{b}"), r"a\{b\}");
        assert!(matches(r"^[]x]+$", "]x\n"));
    }

    #[test]
    fn the_end_of_a_line_is_before_its_newline_or_at_its_end() {
        assert!(matches("a$", "a\n"));
        assert!(matches("a$", "a"));
        assert!(!matches(r"a\Z", "a\n"));
        let whole = translate("a$", Lines::Whole, Target::Backtracking).expect("translates").text;
        let whole = fancy_regex::Regex::new(&whole).expect("compiles");
        assert!(!whole.is_match("a\nb\n").expect("no overrun"));
        assert!(whole.is_match("b\na\n").expect("no overrun"));
    }

    #[test]
    fn a_possessive_counter_is_read_as_it_was_meant_and_reported() {
        let read = translate("^.*+ from$", Lines::One, Target::Linear).expect("translates");
        assert_eq!((read.text.as_str(), read.notes.as_slice()), ("^.* from(?m:$)", [POSSESSIVE].as_slice()));
    }

    #[test]
    fn look_around_and_back_references_ask_for_the_other_engine() {
        for pattern in ["(?=a)", "(?<!a)b", r"(a)\1", "(?P<x>a)(?P=x)", "(?P<x>a)?(?(x)b)"] {
            assert_eq!(translate(pattern, Lines::One, Target::Linear), Err(SyntaxError::NeedsBacktracking));
        }
        assert!(matches(r"^(?P<q>['|])x(?P=q)$", "|x|\n"));
    }

    #[test]
    fn comments_and_verbose_text_are_left_out() {
        assert_eq!(linear("a(?#no matter)b"), "ab");
        assert_eq!(linear("(?x) a  b # said\n c"), "abc");
        assert_eq!(linear("(?iu)a"), "(?i)a");
        assert_eq!(linear("(?i)a(?im)b"), "(?im)ab");
    }

    #[test]
    fn blanks_and_word_characters_are_those_of_python() {
        for (pattern, yes, no) in [
            (r"^a\sb$", "a\u{1c}b\n", "a\u{1b}b\n"),
            (r"^a[\s]b$", "a\u{1f}b\n", "a_b\n"),
            (r"^a\Sb$", "a\u{1b}b\n", "a\u{1d}b\n"),
            (r"^[x\S]$", "a\n", "\u{1e}\n"),
            (r"^[^\s]$", "a\n", "\u{1e}\n"),
            (r"^\w\w\w\w$", "é²_字\n", "aaa\u{301}\n"),
            (r"^[\w-]\W$", "-\u{200d}\n", "a½\n"),
            (r"^[^\W]$", "½\n", "\u{301}\n"),
        ] {
            assert!(matches(pattern, yes) && !matches(pattern, no), "{pattern}");
        }
    }

    #[test]
    fn three_octal_digits_are_a_character_and_fewer_a_group() {
        assert_eq!(linear(r"\101[\1-\7\12]\0"), r"\x{41}[\x{1}-\x{7}\x{A}]\x{0}");
        assert_eq!(translate(r"\60", Lines::One, Target::Linear), Err(SyntaxError::NeedsBacktracking));
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for pattern in [r"\y", r"\777", r"[\8]", "[a", "(?P<a-b>x)", "a\\"] {
            assert!(matches!(translate(pattern, Lines::One, Target::Linear), Err(SyntaxError::Bad { .. })));
        }
    }
}
