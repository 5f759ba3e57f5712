//! TOML values that know where they stand: what every error message here and in the filter loader points at.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{ReportedError, SourceText};
use crate::text::suggest;
use crate::time::{Span, parse_span};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub source: SourceText,
    /// Bytes in the source's text.
    pub span: Range<usize>,
    pub kind: Kind,
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub name: String,
    pub source: SourceText,
    pub span: Range<usize>,
}

/// A table's entries, in the order of the file.
pub type Entries = Vec<(Key, Value)>;

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// A date; no key takes one.
    Date,
    List(Vec<Value>),
    Table(Entries),
}

/// Reads a TOML file.
///
/// # Errors
/// The first place where the text is no TOML.
pub fn parse(source: &SourceText) -> Result<Entries, ReportedError> {
    let table = DeTable::parse(source.text()).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        source.error(error.span().unwrap_or(0..0), message)
    })?;
    table_of(source, table.get_ref())
}

fn table_of(source: &SourceText, table: &DeTable<'_>) -> Result<Entries, ReportedError> {
    let mut entries = table
        .iter()
        .map(|(key, value)| {
            let key = Key { name: key.get_ref().to_string(), source: source.clone(), span: key.span() };
            Ok((key, value_of(source, value)?))
        })
        .collect::<Result<Entries, ReportedError>>()?;
    entries.sort_by_key(|(key, _)| key.span.start);
    Ok(entries)
}

fn value_of(source: &SourceText, value: &Spanned<DeValue<'_>>) -> Result<Value, ReportedError> {
    let too_big = |text: &str| source.error(value.span(), format!("the number {text} is too big"));
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => Kind::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| too_big(number.as_str()))?,
        ),
        DeValue::Float(number) => Kind::Float(number.as_str().parse().map_err(|_| too_big(number.as_str()))?),
        DeValue::Boolean(flag) => Kind::Flag(*flag),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(items) => {
            Kind::List(items.iter().map(|item| value_of(source, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Kind::Table(table_of(source, table)?),
    };
    Ok(Value { source: source.clone(), span: value.span(), kind })
}

impl Key {
    pub fn error(&self, message: impl Into<String>) -> ReportedError {
        self.source.error(self.span.clone(), message)
    }

    /// The error of a key that `where_` (as "a jail") does not know.
    pub fn unknown(&self, where_: &str, known: &[&str]) -> ReportedError {
        let help = match suggest(&self.name, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("keys here: {}", known.join(", ")),
        };
        self.error(format!("unknown key \"{}\" in {where_}; {help}", shown(&self.name)))
    }
}

/// Quotes from files go into messages: escaped, and not without end.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    crate::text::escape(short.as_bytes())
}

impl Value {
    pub fn error(&self, message: impl Into<String>) -> ReportedError {
        self.source.error(self.span.clone(), message)
    }

    /// The error of a value of the wrong type: `maxretry must be a whole number, not a text`.
    fn not(&self, key: &str, wanted: &str) -> ReportedError {
        let is = match &self.kind {
            Kind::Text(_) => "a text",
            Kind::Integer(_) => "a number",
            Kind::Float(_) => "a number with a fraction",
            Kind::Flag(_) => "true or false",
            Kind::Date => "a date",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        };
        self.error(format!("{key} must be {wanted}, not {is}"))
    }

    pub fn text(&self, key: &str) -> Result<&str, ReportedError> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            _ => Err(self.not(key, "a text in quotes")),
        }
    }

    pub fn flag(&self, key: &str) -> Result<bool, ReportedError> {
        match &self.kind {
            Kind::Flag(flag) => Ok(*flag),
            _ => Err(self.not(key, "true or false")),
        }
    }

    /// A whole number in `range`.
    pub fn number(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, ReportedError> {
        let (low, high) = (*range.start(), *range.end());
        match &self.kind {
            Kind::Integer(number) if range.contains(number) => Ok(*number),
            Kind::Integer(number) => {
                let bounds =
                    if high == i64::MAX { format!("{low} or more") } else { format!("from {low} to {high}") };
                Err(self.error(format!("{key} must be {bounds}, not {number}")))
            }
            _ => Err(self.not(key, "a whole number")),
        }
    }

    /// A number with or without a fraction, above zero.
    pub fn factor(&self, key: &str) -> Result<f64, ReportedError> {
        let number = match &self.kind {
            Kind::Integer(number) => *number as f64,
            Kind::Float(number) => *number,
            _ => return Err(self.not(key, "a number")),
        };
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(self.error(format!("{key} must be a number above 0, not {number}")))
        }
    }

    /// `600`, `"10m"`, `"1h 30m"`, `-1`.
    pub fn span(&self, key: &str) -> Result<Span, ReportedError> {
        let text = match &self.kind {
            Kind::Text(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Float(number) => number.to_string(),
            _ => return Err(self.not(key, "a duration; examples: 600, \"10m\", \"1h 30m\", -1 (never ends)")),
        };
        let span = parse_span(&text).map_err(|_| {
            self.error(format!(
                "{key} \"{}\" is not a duration; examples: 600, 10m, 1h 30m, -1 (never ends)",
                shown(&text)
            ))
        })?;
        match span {
            // A Timestamp holds 292,000 years; this stays far from its end.
            Span::For(length) if length > Duration::from_secs(1000 * 31_557_600) => {
                Err(self.error(format!("{key} is longer than 1000 years; -1 never ends")))
            }
            span => Ok(span),
        }
    }

    /// A duration that ends.
    pub fn duration(&self, key: &str) -> Result<Duration, ReportedError> {
        match self.span(key)? {
            Span::For(length) => Ok(length),
            Span::Forever => Err(self.error(format!("{key} must end; examples: 600, 10m, 1h 30m"))),
        }
    }

    /// A list; a single value stands for a list of one.
    pub fn list(&self) -> &[Value] {
        match &self.kind {
            Kind::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// A list of texts; a single text stands for a list of one.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, ReportedError> {
        match &self.kind {
            Kind::Text(_) | Kind::List(_) => self.list().iter().map(|item| item.text(key)).collect(),
            _ => Err(self.not(key, "a text or a list of texts")),
        }
    }

    pub fn table(&self, key: &str) -> Result<&Entries, ReportedError> {
        match &self.kind {
            Kind::Table(entries) => Ok(entries),
            _ => Err(self.not(key, "a table")),
        }
    }

    /// A text out of `words`, with a suggestion where it is none.
    pub fn word<'w>(&self, key: &str, words: &[&'w str]) -> Result<&'w str, ReportedError> {
        let text = self.text(key)?;
        words.iter().copied().find(|word| *word == text).ok_or_else(|| {
            let help = match suggest(text, words.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("one of: {}", words.join(", ")),
            };
            self.error(format!("{key} \"{}\" is not known; {help}", shown(text)))
        })
    }
}
