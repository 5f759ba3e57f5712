//! The values that go between fail2ban's client and server, and how Python prints them, since scripts read that.

use std::fmt::{self, Write};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    /// In the order in which the entries were put in, as Python keeps them.
    Dict(Vec<(Value, Value)>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(texts.into_iter().map(Value::text).collect())
    }

    /// A pair, as the rows of `status` are.
    pub fn pair(name: &str, value: Value) -> Value {
        Value::Tuple(vec![Value::text(name), value])
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a list or tuple.
    pub fn entries(&self) -> Option<&[Value]> {
        match self {
            Value::List(entries) | Value::Tuple(entries) => Some(entries),
            _ => None,
        }
    }

    /// Python's `repr`.
    pub fn repr(&self) -> String {
        let mut out = String::new();
        self.write_repr(&mut out);
        out
    }

    fn write_repr(&self, out: &mut String) {
        let joined = |out: &mut String, entries: &[Value]| {
            for (index, entry) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                entry.write_repr(out);
            }
        };
        match self {
            Value::None => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(number) => out.push_str(&number.to_string()),
            // Shortest digits that read back, `.0` where there is no fraction: both languages do the same.
            Value::Float(number) => out.push_str(&format!("{number:?}")),
            Value::Text(text) => repr_text(text, out),
            Value::List(entries) => {
                out.push('[');
                joined(out, entries);
                out.push(']');
            }
            Value::Tuple(entries) => {
                out.push('(');
                joined(out, entries);
                out.push_str(if entries.len() == 1 { ",)" } else { ")" });
            }
            Value::Dict(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    key.write_repr(out);
                    out.push_str(": ");
                    value.write_repr(out);
                }
                out.push('}');
            }
        }
    }
}

/// A text in quotes: single ones unless that would need escapes and double ones would not.
fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's `str`: a text as it is, anything else as `repr`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            other => f.write_str(&other.repr()),
        }
    }
}

/// Why a command has no answer, as the exception that fail2ban's server would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no jail of that name.
    UnknownJail(String),
    /// The command has too few words.
    TooFewWords,
    /// A word is not what it should be.
    Bad(String),
    /// Anything else; also what portero does not do, and why.
    Other(String),
}

impl Refusal {
    /// The module and the name of the exception's class.
    pub fn class(&self) -> (&'static str, &'static str) {
        match self {
            Refusal::UnknownJail(_) => ("fail2ban.exceptions", "UnknownJailException"),
            Refusal::TooFewWords => ("builtins", "IndexError"),
            Refusal::Bad(_) => ("builtins", "ValueError"),
            Refusal::Other(_) => ("builtins", "Exception"),
        }
    }

    /// What the exception was made from.
    pub fn argument(&self) -> &str {
        match self {
            Refusal::UnknownJail(text) | Refusal::Bad(text) | Refusal::Other(text) => text,
            Refusal::TooFewWords => "list index out of range",
        }
    }

    /// What the client prints for it.
    pub fn message(&self) -> String {
        match self {
            Refusal::UnknownJail(name) => format!("Sorry but the jail '{name}' does not exist"),
            Refusal::TooFewWords => "Sorry but the command is invalid".to_owned(),
            Refusal::Bad(text) | Refusal::Other(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_python_prints_them() {
        let banned = Value::List(vec![
            Value::Dict(vec![(Value::text("dovecot"), Value::texts(["192.0.2.7"]))]),
            Value::Dict(vec![(Value::text("empty"), Value::List(vec![]))]),
        ]);
        assert_eq!(banned.to_string(), "[{'dovecot': ['192.0.2.7']}, {'empty': []}]");
        let mixed = Value::Tuple(vec![Value::None, Value::Bool(true), Value::Int(-1), Value::Float(600.0)]);
        assert_eq!(mixed.to_string(), "(None, True, -1, 600.0)");
        assert_eq!(Value::Tuple(vec![Value::text("one")]).to_string(), "('one',)");
        let text = Value::text("it's \\ \"so\"\n\u{1b}");
        assert_eq!(text.repr(), "'it\\'s \\\\ \"so\"\\n\\x1b'");
        assert_eq!(Value::text("it's").repr(), "\"it's\"");
        assert_eq!(text.to_string(), "it's \\ \"so\"\n\u{1b}");
    }
}
