//! One date template: a regex that finds a stamp in a line, and how to read what it found.

use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use regex_syntax::hir::Look;

use super::super::engine::{Engine, PatternError, Spans};
use super::super::literal;
use super::super::python::{self, Lines, Target};
use super::outline::Outline;
use super::reach::Reach;
use super::strptime::{self, Surroundings};
use crate::time::Timestamp;

/// The prefix that binds a pattern to the begin of the line.
pub const LINE_BEGIN: &str = "{^LN-BEG}";
/// The prefix that takes the word bounds away.
const UNBOUND: &str = "{UNB}";

/// Why a `datepattern` is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    #[error("datepattern {pattern:?}: %{name} is no directive (a literal percent sign is written %%)")]
    Directive { pattern: String, name: String },
    #[error("datepattern {pattern:?} {error}")]
    Pattern { pattern: String, error: PatternError },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Free,
    Word,
    Line,
}

#[derive(Debug)]
enum Reading {
    /// Named groups are strptime fields. A field that stands twice has its second group under `x__2`.
    Fields,
    /// Seconds since the epoch in this group; `long`: also milliseconds and microseconds.
    Epoch { group: usize, long: bool },
    /// Hexadecimal TAI64N.
    Tai,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    /// Tells templates apart: the pattern, with [`LINE_BEGIN`] in front if it is bound so.
    pub name: String,
    made_of: (String, u8),
    /// How much a hit counts when templates are ordered.
    pub weight: f64,
    /// Bound to the begin of the line.
    pub line_begin: bool,
    /// Bound to the begin or the end of the line.
    pub anchored: bool,
    /// What is cut out is the whole match, but for up to two signs at the line's begin if `may_skip`.
    whole: bool,
    may_skip: bool,
    reading: Reading,
    /// The regex as its engine reads it.
    text: String,
    target: Target,
    /// Most templates of a list are never needed, and a regex takes long to compile: each waits for its first use.
    compiled: OnceLock<Compiled>,
    outline: OnceLock<Outline>,
    reach: OnceLock<Option<Reach>>,
    /// Of a regex that looks around or refers back, the reach of a wider one.
    wider: OnceLock<Option<Reach>>,
    /// What was found last, and before that: a date that was passed over is read when the next one comes.
    known: Mutex<[Option<Known>; 2]>,
}

/// What was found last.
#[derive(Debug)]
struct Known {
    /// The begin of the line that decides about it.
    head: Vec<u8>,
    found: DateMatch,
    /// What it meant, and in which surroundings.
    moment: Option<(Surroundings, Option<Timestamp>)>,
}

#[derive(Debug)]
struct Compiled {
    engine: Engine,
    /// The strptime directive of each named group, and the group's number.
    fields: Vec<(String, usize)>,
}

/// Where in the line a template matched.
#[derive(Debug, Clone)]
pub struct DateMatch {
    /// The template's number in its [`Dates`](super::Dates).
    pub template: usize,
    pub start: usize,
    pub end: usize,
    /// The part that is cut out of the line.
    pub stamp: (usize, usize),
    /// What was searched.
    within: (usize, usize),
    /// Equal numbers, other than 0: found in the same text at the same place.
    pub(in crate::fail2ban::matcher) same: u64,
    /// `None`: not asked for yet.
    spans: Option<Spans>,
}

impl DateMatch {
    pub(super) fn of_template(self, template: usize) -> DateMatch {
        DateMatch { template, ..self }
    }

    /// The same in another line that begins alike, its groups left to be looked up.
    pub(super) fn again_in(&self, line: &str) -> DateMatch {
        DateMatch { spans: None, within: (0, line.len()), ..*self }
    }
}

fn helper(pattern: &str) -> fancy_regex::Regex {
    fancy_regex::Regex::new(pattern).expect("a fixed pattern")
}

/// Python's `search(…) is not None` for a helper.
fn found(regex: &fancy_regex::Regex, text: &str) -> bool {
    regex.is_match(text).unwrap_or(false)
}

static GROUPED: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"(?<!\(\?)(?<!\\)\((?!\?)"));
static WRAP: LazyLock<fancy_regex::Regex> =
    LazyLock::new(|| helper(r"^((?:\(\?\w+\))?\^?(?:\(\?\w+\))?)(.*?)(\$?)$"));
static FLAGS: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"\(\?[a-z]+\)"));
static BOUND_BEGIN: LazyLock<fancy_regex::Regex> =
    LazyLock::new(|| helper(r"^\(*(?:\(\?\w+\))?(?:\^|\(*\*\*|\((?:\?:)?\^)"));
static BOUND_END: LazyLock<fancy_regex::Regex> =
    LazyLock::new(|| helper(r"(?<!\\)(?:\$\)?|\\b|\\s|\*\*\)*)$"));
static AT_LINE_BEGIN: LazyLock<fancy_regex::Regex> =
    LazyLock::new(|| helper(r"^(?:\(\?\w+\))?(?:\^|\((?:\?:)?\^(?!\|))"));
static AT_LINE_END: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"(?<![\\|])(?:\$\)?)$"));
static STARS_BEGIN: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"^(\(*(?:\(\?\w+\))?\(*)\*\*"));
static STARS_END: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"(?<!\\)\*\*(\)*)$"));
static EPOCH_TAG: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"(?i)(?<!\\)\{L?EPOCH\}"));
static UNBIND_BEGIN: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"^\((?:\?:)?\^\|\\b\|\\W\)"));
static UNBIND_END: LazyLock<fancy_regex::Regex> = LazyLock::new(|| helper(r"\(\?=\\b\|\\W\|\$\)$"));

impl Template {
    /// Reads one line of `datepattern`, the special words included. `decade_max`: see [`strptime::directive`].
    pub fn new(pattern: &str, decade_max: u8) -> Result<Template, DateError> {
        let read = Template::read(pattern, decade_max)?;
        Ok(Template { made_of: (pattern.to_owned(), decade_max), ..read })
    }

    /// Whether it was made of just that.
    pub fn is_of(&self, pattern: &str, decade_max: u8) -> bool {
        self.made_of.0 == pattern && self.made_of.1 == decade_max
    }

    fn read(pattern: &str, decade_max: u8) -> Result<Template, DateError> {
        let key = if pattern.contains('%') { pattern.to_owned() } else { pattern.to_uppercase() };
        let bare = key.strip_prefix(LINE_BEGIN).or(key.strip_prefix('^'));
        let begin = if bare.is_some() { Begin::Line } else { Begin::Free };
        let fail = |error| DateError::Pattern { pattern: pattern.to_owned(), error };
        if found(&EPOCH_TAG, pattern) {
            let long = key.contains("LEPOCH");
            let inner = EPOCH_TAG.replace_all(pattern, fancy_regex::NoExpand(&format!("({})", epoch(long))));
            let reading = Reading::Epoch { group: 2, long };
            return Template::build(pattern, &format!("({inner})"), Begin::Word, true, reading).map_err(fail);
        }
        match bare.unwrap_or(&key) {
            word @ ("EPOCH" | "LEPOCH") => {
                let long = word == "LEPOCH";
                let stamp = format!("({})", epoch(long));
                // Free, it may stand at the line's begin, after a bracket there, or in an audit record.
                let regex = if begin == Begin::Line { stamp } else { format!(r"(?:^|^\[|\baudit\(){stamp}") };
                Template::build(&name_of(word, begin), &regex, begin, true, Reading::Epoch { group: 1, long })
            }
            "TAI64N" => {
                Template::build(&name_of("TAI64N", begin), "@[0-9a-f]{24}", begin, true, Reading::Tai)
            }
            _ => return Template::strptime(pattern, decade_max),
        }
        .map_err(fail)
    }

    fn strptime(pattern: &str, decade_max: u8) -> Result<Template, DateError> {
        let (mut begin, mut end, mut text) = (Begin::Word, true, pattern);
        if let Some(rest) = text.strip_prefix(UNBOUND) {
            (begin, end, text) = (Begin::Free, false, rest);
        }
        if begin == Begin::Word
            && let Some(rest) = text.strip_prefix(LINE_BEGIN)
        {
            (begin, text) = (Begin::Line, rest);
        }
        let mut regex = expand(text, decade_max)
            .map_err(|name| DateError::Directive { pattern: pattern.to_owned(), name })?;
        if has_names(text) {
            regex.insert_str(0, "(?iu)");
        }
        let name = name_of(text, begin);
        Template::build(&name, &regex, begin, end, Reading::Fields)
            .map_err(|error| DateError::Pattern { pattern: pattern.to_owned(), error })
    }

    /// Compiles its regex.
    ///
    /// # Errors
    /// What makes the pattern no regex.
    pub fn check(&self) -> Result<(), DateError> {
        if self.compiled.get().is_none() {
            let made =
                self.compile().map_err(|error| DateError::Pattern { pattern: self.name.clone(), error })?;
            let _ = self.compiled.set(made);
        }
        Ok(())
    }

    fn compile(&self) -> Result<Compiled, PatternError> {
        let engine = match self.target {
            Target::Linear => Engine::linear(&self.text)?,
            Target::Backtracking => Engine::backtracking(&self.text)?,
        };
        let field = |name: &str| name.split_once("__").map_or(name, |(base, _)| base).to_owned();
        let fields = engine.names().into_iter().map(|(name, number)| (field(&name), number)).collect();
        Ok(Compiled { engine, fields })
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| self.compile().expect("only the usual patterns are left unchecked"))
    }

    /// Whether it cannot match in `line`, as far as that is seen without a search.
    pub fn is_ruled_out(&self, line: &str) -> bool {
        self.outline().is_missing(line.as_bytes())
    }

    fn outline(&self) -> &Outline {
        self.outline.get_or_init(|| match self.target {
            Target::Linear => Outline::new(&self.text),
            Target::Backtracking => Outline::default(),
        })
    }

    /// How many bytes of `line` decide what a search of the whole line finds: any line that begins with them gives the
    /// same. `None`: not known, or the whole line does.
    pub fn reach(&self, line: &str) -> Option<usize> {
        let reach = self.reach.get_or_init(|| {
            (self.target == Target::Linear && self.outline().is_bound()).then(|| Reach::new(&self.text))?
        });
        reach.as_ref()?.examined(line.as_bytes())
    }

    /// What a search of the whole `line` finds, and how many of its bytes decide about that, if it is known from a line
    /// that begins alike: the calendars of a log mostly share their templates.
    pub fn known(&self, line: &str) -> Option<(DateMatch, usize)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { head, found, .. } = known[0].as_ref()?;
        line.as_bytes().starts_with(head).then(|| (found.again_in(line), head.len()))
    }

    /// Notes that `found` is what is found in each line that begins with `head`.
    pub fn note(&self, head: &[u8], found: &DateMatch) {
        let found = DateMatch { same: 0, spans: None, ..*found };
        let last = Known { head: head.to_vec(), found, moment: None };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let [newest, before] = &mut *known;
        *before = newest.replace(last);
    }

    /// How many bytes of `line`, in which this finds nothing, are enough to find nothing. `None`: not known.
    pub fn rules_out(&self, line: &str) -> Option<usize> {
        match self.target {
            // Another one is not always searched for from the line's begin to its end.
            _ if !self.anchored => None,
            Target::Linear => self.reach(line),
            Target::Backtracking => {
                let wider = self.wider.get_or_init(|| {
                    let hir = literal::widened(&fancy_regex::Expr::parse_tree(&self.text).ok()?.expr)?;
                    hir.properties().look_set_prefix().contains(Look::Start).then(|| Reach::of(&hir))?
                });
                wider.as_ref()?.examined_in_vain(line.as_bytes())
            }
        }
    }

    /// Adds bounds and the group that is cut out, as fail2ban does: unless the pattern brings its own.
    fn build(
        name: &str,
        regex: &str,
        begin: Begin,
        word_end: bool,
        reading: Reading,
    ) -> Result<Template, PatternError> {
        let mut regex = regex.trim().to_owned();
        let mut flags = String::new();
        if let Ok(Some(at)) = FLAGS.find(&regex) {
            let span = at.start()..at.end();
            flags = regex[span.clone()].to_owned();
            regex.replace_range(span, "");
        }
        let bound_begin = begin != Begin::Free && !found(&BOUND_BEGIN, &regex);
        let bound_end = word_end && !found(&BOUND_END, &regex);
        let whole = !found(&GROUPED, &regex);
        if whole {
            regex = WRAP.replace(&regex, "${1}(${2})${3}").into_owned();
        }
        let line_begin = bound_begin && begin == Begin::Line || !bound_begin && found(&AT_LINE_BEGIN, &regex);
        let line_end = !bound_end && found(&AT_LINE_END, &regex);
        regex = STARS_BEGIN.replace(&regex, "${1}").into_owned();
        regex = STARS_END.replace(&regex, "${1}").into_owned();
        let regex = format!("{flags}{regex}");

        // Between two word characters there is no bound; anywhere else there is.
        let bounds = |target: Target| {
            let word = match target {
                Target::Linear => r"(?:\b{start-half}|\b{end-half})",
                Target::Backtracking => r"(?:(?<!\w)|(?!\w))",
            };
            let before = match (bound_begin, begin) {
                (true, Begin::Line) => r"^(?:\W{0,2})?",
                (true, _) => word,
                (false, _) => "",
            };
            (before, if bound_end { word } else { "" })
        };
        let (read, target) = match python::translate(&regex, Lines::One, Target::Linear) {
            Err(python::SyntaxError::NeedsBacktracking) => {
                (python::translate(&regex, Lines::One, Target::Backtracking), Target::Backtracking)
            }
            read => (read, Target::Linear),
        };
        let (before, after) = bounds(target);
        let text = format!("{before}{}{after}", read.map_err(PatternError::Syntax)?.text);
        Ok(Template {
            name: name.to_owned(),
            made_of: Default::default(),
            weight: 1.0,
            line_begin,
            anchored: line_begin || line_end,
            whole,
            may_skip: bound_begin && begin == Begin::Line,
            reading,
            text,
            target,
            compiled: OnceLock::new(),
            outline: OnceLock::new(),
            reach: OnceLock::new(),
            wider: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    /// The leftmost stamp of `line` that begins at byte `start` or later and ends before byte `end`.
    pub fn find(&self, line: &str, start: usize, end: usize) -> Option<DateMatch> {
        let within = (start, end);
        let engine = &self.compiled().engine;
        // Most templates do not fit: that takes no memory.
        if let Engine::Linear(linear) = engine
            && linear.regex().is_some_and(|regex| !regex.is_match_at(&line[..end], start))
        {
            return None;
        }
        let spans = engine.spans(&line[..end], start).ok().flatten()?;
        let (start, end) = spans[0].expect("group 0 is the match");
        let stamp = spans.get(1).copied().flatten().unwrap_or((start, start));
        // What a free EPOCH stands after is no part of it.
        let start = if matches!(self.reading, Reading::Epoch { group: 1, .. }) && !self.line_begin {
            stamp.0
        } else {
            start
        };
        Some(DateMatch { template: 0, start, end, stamp, within, same: 0, spans: Some(spans) })
    }

    /// As [`Template::find`], but the groups are left for [`Template::moment`] to look up: most lines are only dated
    /// and never asked. `None`: this template or line needs the groups to say what the stamp is.
    pub fn find_bounds(&self, line: &str, start: usize, end: usize) -> Option<Option<DateMatch>> {
        let Engine::Linear(linear) = &self.compiled().engine else { return None };
        if !self.whole || matches!(self.reading, Reading::Epoch { .. }) {
            return None;
        }
        let Some(found) = linear.regex()?.find_at(&line[..end], start) else { return Some(None) };
        let stamp = (found.start(), found.end());
        let word = |c: char| c == '_' || c.is_alphanumeric();
        if self.may_skip && !line[stamp.0..].starts_with(word) {
            return None;
        }
        let (within, spans) = ((start, end), None);
        Some(Some(DateMatch { template: 0, start: stamp.0, end: stamp.1, stamp, within, same: 0, spans }))
    }

    /// The moment that a match means; `None` if it means none, such as the 30th of February.
    pub fn moment(&self, line: &str, at: &DateMatch, around: &Surroundings) -> Option<Timestamp> {
        // The groups hang on the head alone, too.
        let same = |known: &&mut Known| {
            let whole = at.within == (0, line.len());
            whole && at.stamp == known.found.stamp && line.as_bytes().starts_with(&known.head)
        };
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Known { moment: Some((then, moment)), .. }) = lock().iter_mut().flatten().find(same)
            && then == around
        {
            return *moment;
        }
        let moment = self.read_moment(line, at, around);
        if let Some(known) = lock().iter_mut().flatten().find(same) {
            known.moment = Some((*around, moment));
        }
        moment
    }

    fn read_moment(&self, line: &str, at: &DateMatch, around: &Surroundings) -> Option<Timestamp> {
        let again;
        let spans = match &at.spans {
            Some(spans) => spans,
            None => {
                again = self.find(line, at.within.0, at.within.1)?.spans?;
                &again
            }
        };
        let text = |group: usize| spans.get(group).copied().flatten().map(|(start, end)| &line[start..end]);
        match &self.reading {
            Reading::Fields => {
                let fields = &self.compiled().fields;
                let field = |wanted: &str| {
                    fields.iter().filter(|(name, _)| name == wanted).find_map(|(_, group)| text(*group))
                };
                strptime::moment(field, around)
            }
            Reading::Epoch { group, long } => {
                let digits = text(*group)?;
                let seconds: f64 = digits.parse().ok()?;
                let scale = match digits.len() {
                    16.. if *long && !digits.contains('.') => 1e6,
                    13.. if *long => 1e3,
                    _ => 1.0,
                };
                Some(Timestamp::from_secs_f64(seconds / scale))
            }
            Reading::Tai => {
                let (start, end) = at.stamp;
                let seconds = i64::from_str_radix(line[start..end].get(2..17)?, 16).ok()?;
                Some(Timestamp::from_secs(seconds))
            }
        }
    }
}

/// A pattern without what binds it, to stand inside another one.
pub fn unbound(pattern: &str) -> String {
    let pattern = pattern.strip_prefix(UNBOUND).unwrap_or(pattern);
    let pattern = pattern.strip_prefix(LINE_BEGIN).unwrap_or(pattern);
    let pattern = UNBIND_BEGIN.replace(pattern, "");
    UNBIND_END.replace(&pattern, "").into_owned()
}

fn name_of(text: &str, begin: Begin) -> String {
    if begin == Begin::Line { format!("{LINE_BEGIN}{text}") } else { text.to_owned() }
}

fn epoch(long: bool) -> &'static str {
    match long {
        true => r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?",
        false => r"\d{10,11}\b(?:\.\d{3,6})?",
    }
}

/// Whether a directive captures a name, which is then found in any letter case.
fn has_names(pattern: &str) -> bool {
    let mut before = ' ';
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '%' && before != '%' && rest.peek().is_some_and(|next| "aAbBpc".contains(*next)) {
            return true;
        }
        before = c;
    }
    false
}

/// Replaces strptime directives by named groups; the error is a directive that does not exist.
fn expand(pattern: &str, decade_max: u8) -> Result<String, String> {
    let mut out = String::new();
    let mut used: Vec<String> = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = if rest.starts_with("Ex") { 3 } else { rest.chars().next().map_or(0, char::len_utf8) };
        let name = rest.get(..length).unwrap_or_default();
        rest = rest.get(length..).unwrap_or_default();
        let composed = match name {
            "c" => Some(r"%a\s+%b\s+%d\s+%H:%M:%S\s+%Y"),
            "x" => Some("%m/%d/%y"),
            "X" => Some("%H:%M:%S"),
            _ => None,
        };
        if let Some(composed) = composed {
            out.push_str(&expand(composed, decade_max)?);
            continue;
        }
        let (group, regex) = strptime::directive(name, decade_max).ok_or_else(|| name.to_owned())?;
        if group.is_empty() {
            out.push_str(&regex);
            continue;
        }
        let count = used.iter().filter(|known| *known == group).count() + 1;
        used.push(group.to_owned());
        // In brackets, since blanks around a pattern are cut off.
        let blank = if matches!(name, "k" | "l" | "Exk" | "Exl") { "[ ]?" } else { "" };
        let number = if count == 1 { String::new() } else { format!("__{count}") };
        out.push_str(&format!("{blank}(?P<{group}{number}>{regex})"));
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp<'l>(pattern: &str, line: &'l str) -> Option<&'l str> {
        let template = Template::new(pattern, 2).expect("reads");
        template.find(line, 0, line.len()).map(|at| &line[at.stamp.0..at.stamp.1])
    }

    #[test]
    fn a_stamp_stands_between_word_bounds_unless_told_otherwise() {
        assert_eq!(stamp("%H:%M", "at 12:34 x"), Some("12:34"));
        assert_eq!(stamp("%ExH:%ExM", "at12:345"), None);
        assert_eq!(stamp("**%ExH:%ExM**", "at12:345"), Some("12:34"));
        assert_eq!(stamp("{UNB}%ExH:%ExM", "at12:345"), Some("12:34"));
        assert_eq!(stamp("%k:%M", "at  9:15 x"), Some(" 9:15"));
    }

    #[test]
    fn a_line_begin_may_have_two_signs_before_the_stamp() {
        assert_eq!(stamp("{^LN-BEG}%H:%M", "[<12:34> x"), Some("12:34"));
        assert_eq!(stamp("{^LN-BEG}%H:%M", "-[<12:34> x"), None);
        assert_eq!(stamp(r"^\[%H:%M\]", "[12:34] x"), Some("[12:34]"));
        assert_eq!(stamp(r"^\[(%H:%M)\]", "[12:34] x"), Some("12:34"));
    }

    #[test]
    fn an_epoch_is_found_at_the_begin_in_brackets_and_in_audit_records() {
        for line in ["1124013600 x", "[1124013600] x", "type=A msg=audit(1124013600.123:4): x"] {
            let template = Template::new("EPOCH", 2).expect("reads");
            let at = template.find(line, 0, line.len()).expect("found");
            let around =
                Surroundings { now: Timestamp::from_secs(0), zone: chrono_tz::Tz::UTC, offset: None };
            assert_eq!(
                template.moment(line, &at, &around).map(Timestamp::secs),
                Some(1_124_013_600),
                "{line}"
            );
        }
        assert_eq!(stamp("EPOCH", "x 1124013600 x"), None);
        assert_eq!(stamp("at {EPOCH} x", "at 1124013600 x"), Some("at 1124013600 x"));
        assert_eq!(stamp("LEPOCH", "1124013600123456 x"), Some("1124013600123456"));
        assert_eq!(stamp("TAI64N", "@4000000043001234deadbeef x"), Some("@4000000043001234deadbeef"));
    }

    #[test]
    fn a_back_reference_in_a_pattern_works() {
        assert_eq!(stamp(r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d", "2005-08-14"), Some("2005-08-14"));
        assert_eq!(stamp(r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d", "2005-08/14"), None);
    }

    #[test]
    fn a_percent_sign_that_means_nothing_is_an_error() {
        assert!(matches!(Template::new("%H:%Q", 2), Err(DateError::Directive { name, .. }) if name == "Q"));
        assert_eq!(stamp("100%% %H:%M", "100% 12:34"), Some("100% 12:34"));
    }
}
