//! `bantime.formula`: arithmetic over the bantime and the number of earlier bans, in the words in which fail2ban's
//! configurations write it. Read into a tree and computed; nothing else can be said with it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A longer text is no formula. Bytes.
const TEXT_BYTES_MAX: usize = 1000;

/// Brackets within brackets.
const DEPTH_MAX: usize = 32;

/// A formula and its text.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Formula {
    text: String,
    root: Term,
}

/// What a formula knows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Known {
    /// `ban.Time`: the plain bantime, seconds.
    pub time: f64,
    /// `ban.Count`: earlier bans.
    pub count: f64,
    /// `banFactor`.
    pub factor: f64,
}

#[derive(Clone, PartialEq, Debug)]
enum Term {
    Number(f64),
    Time,
    Count,
    Factor,
    Negative(Box<Term>),
    Both(Operator, Box<Term>, Box<Term>),
    Call(Function, Vec<Term>),
    /// `a if b else c`: the condition, then, else.
    If(Box<Term>, Box<Term>, Box<Term>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Floor,
    Rest,
    Power,
    Left,
    Right,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    Unequal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Exp,
    Log,
    Sqrt,
    Power,
    Floor,
    Ceil,
    Truncate,
    Same,
    Absolute,
    Round,
    Least,
    Greatest,
}

/// By name: the function, and how many arguments it takes at least and at most.
const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("math.exp", Function::Exp, 1, 1),
    ("math.log", Function::Log, 1, 2),
    ("math.sqrt", Function::Sqrt, 1, 1),
    ("math.pow", Function::Power, 2, 2),
    ("pow", Function::Power, 2, 2),
    ("math.floor", Function::Floor, 1, 1),
    ("math.ceil", Function::Ceil, 1, 1),
    ("int", Function::Truncate, 1, 1),
    ("float", Function::Same, 1, 1),
    ("abs", Function::Absolute, 1, 1),
    ("round", Function::Round, 1, 1),
    ("min", Function::Least, 2, 16),
    ("max", Function::Greatest, 2, 16),
];

/// Operators by how weakly they bind, the weakest first; those of more characters before those that begin like them.
const BINDING: &[&[(&str, Operator)]] = &[
    &[
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("==", Operator::Equal),
        ("!=", Operator::Unequal),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("<<", Operator::Left), (">>", Operator::Right)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("//", Operator::Floor), ("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Rest)],
];

/// A text that is no formula: why, and from which character on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoFormula(String);

impl FromStr for Formula {
    type Err = NoFormula;

    fn from_str(text: &str) -> Result<Formula, NoFormula> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NoFormula(format!("longer than {TEXT_BYTES_MAX} bytes")));
        }
        let mut reader = Reader { rest: text.trim(), depth: 0 };
        let root = reader.term()?;
        if !reader.rest.is_empty() {
            return Err(reader.wrong("an operator"));
        }
        Ok(Formula { text: text.to_owned(), root })
    }
}

impl TryFrom<String> for Formula {
    type Error = NoFormula;

    fn try_from(text: String) -> Result<Formula, NoFormula> {
        text.parse()
    }
}

impl From<Formula> for String {
    fn from(formula: Formula) -> String {
        formula.text
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Formula {
    /// Its value; not a number where it divides by zero or the like.
    pub fn value(&self, known: Known) -> f64 {
        self.root.value(known)
    }
}

impl Term {
    fn value(&self, known: Known) -> f64 {
        match self {
            Term::Number(number) => *number,
            Term::Time => known.time,
            Term::Count => known.count,
            Term::Factor => known.factor,
            Term::Negative(term) => -term.value(known),
            Term::Both(operator, a, b) => operator.value(a.value(known), b.value(known)),
            Term::Call(function, terms) => {
                let values: Vec<f64> = terms.iter().map(|term| term.value(known)).collect();
                function.value(&values)
            }
            Term::If(condition, yes, no) => {
                if condition.value(known) != 0.0 {
                    yes.value(known)
                } else {
                    no.value(known)
                }
            }
        }
    }
}

impl Operator {
    fn value(self, a: f64, b: f64) -> f64 {
        let truth = |truth: bool| f64::from(u8::from(truth));
        match self {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            Operator::Floor => (a / b).floor(),
            // The sign of the divisor, as in Python.
            Operator::Rest => a - b * (a / b).floor(),
            Operator::Power => a.powf(b),
            Operator::Left => a * b.exp2(),
            Operator::Right => (a / b.exp2()).floor(),
            Operator::Less => truth(a < b),
            Operator::LessEqual => truth(a <= b),
            Operator::Greater => truth(a > b),
            Operator::GreaterEqual => truth(a >= b),
            Operator::Equal => truth(a == b),
            Operator::Unequal => truth(a != b),
        }
    }
}

impl Function {
    fn value(self, values: &[f64]) -> f64 {
        let first = values.first().copied().unwrap_or(f64::NAN);
        match self {
            Function::Exp => first.exp(),
            Function::Log => values.get(1).map_or_else(|| first.ln(), |base| first.log(*base)),
            Function::Sqrt => first.sqrt(),
            Function::Power => first.powf(values.get(1).copied().unwrap_or(f64::NAN)),
            Function::Floor => first.floor(),
            Function::Ceil => first.ceil(),
            Function::Truncate => first.trunc(),
            Function::Same => first,
            Function::Absolute => first.abs(),
            Function::Round => first.round_ties_even(),
            Function::Least => values.iter().copied().fold(f64::INFINITY, f64::min),
            Function::Greatest => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, wanted: &str) -> NoFormula {
        let at: String = self.rest.chars().take(20).collect();
        let at = if at.is_empty() { "the end".to_owned() } else { format!("{at:?}") };
        NoFormula(format!("{wanted} was expected at {at}"))
    }

    fn take(&mut self, sign: &str) -> bool {
        let Some(after) = self.rest.strip_prefix(sign) else { return false };
        self.rest = after.trim_start();
        true
    }

    /// A word of letters that ends there.
    fn word(&mut self, word: &str) -> bool {
        let Some(after) = self.rest.strip_prefix(word) else { return false };
        if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        self.rest = after.trim_start();
        true
    }

    fn term(&mut self) -> Result<Term, NoFormula> {
        if self.depth >= DEPTH_MAX {
            return Err(NoFormula(format!("more than {DEPTH_MAX} brackets within brackets")));
        }
        self.depth += 1;
        let yes = self.binary(0)?;
        let term = if self.word("if") {
            let condition = self.binary(0)?;
            if !self.word("else") {
                return Err(self.wrong("\"else\""));
            }
            Term::If(Box::new(condition), Box::new(yes), Box::new(self.term()?))
        } else {
            yes
        };
        self.depth -= 1;
        Ok(term)
    }

    fn binary(&mut self, level: usize) -> Result<Term, NoFormula> {
        let Some(operators) = BINDING.get(level) else { return self.signed() };
        let mut left = self.binary(level + 1)?;
        loop {
            // "<" of "<<" and "*" of "**" are others'.
            let longer = ["<<", ">>", "**"].iter().any(|sign| self.rest.starts_with(sign));
            let found =
                operators.iter().find(|(sign, _)| self.rest.starts_with(sign) && (!longer || sign.len() > 1));
            let Some((sign, operator)) = found else { return Ok(left) };
            self.take(sign);
            left = Term::Both(*operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
    }

    fn signed(&mut self) -> Result<Term, NoFormula> {
        if self.depth >= DEPTH_MAX {
            return Err(NoFormula(format!("more than {DEPTH_MAX} signs and brackets")));
        }
        if self.take("-") {
            self.depth += 1;
            let term = self.signed()?;
            self.depth -= 1;
            return Ok(Term::Negative(Box::new(term)));
        }
        self.take("+");
        let base = self.atom()?;
        if self.take("**") {
            self.depth += 1;
            let power = self.signed()?;
            self.depth -= 1;
            return Ok(Term::Both(Operator::Power, Box::new(base), Box::new(power)));
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Term, NoFormula> {
        if self.take("(") {
            let term = self.term()?;
            return if self.take(")") { Ok(term) } else { Err(self.wrong("\")\"")) };
        }
        for (name, term) in
            [("ban.Time", Term::Time), ("ban.Count", Term::Count), ("banFactor", Term::Factor)]
        {
            if self.word(name) {
                return Ok(term);
            }
        }
        for (name, function, least, most) in FUNCTIONS {
            if self.word(name) {
                return self.call(name, *function, *least..=*most);
            }
        }
        let digits =
            self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, after) = self.rest.split_at(digits);
        match number.parse::<f64>() {
            Ok(number) if !after.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                self.rest = after.trim_start();
                Ok(Term::Number(number))
            }
            _ => Err(self.wrong("a number, ban.Time, ban.Count, banFactor or a function")),
        }
    }

    fn call(
        &mut self,
        name: &str,
        function: Function,
        count: std::ops::RangeInclusive<usize>,
    ) -> Result<Term, NoFormula> {
        if !self.take("(") {
            return Err(self.wrong("\"(\""));
        }
        let mut terms = vec![self.term()?];
        while self.take(",") {
            terms.push(self.term()?);
        }
        if !self.take(")") {
            return Err(self.wrong("\")\""));
        }
        if !count.contains(&terms.len()) {
            return Err(NoFormula(format!("{name} does not take {} values", terms.len())));
        }
        Ok(Term::Call(function, terms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, count: u32) -> f64 {
        let formula: Formula = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        formula.value(Known { time: 600.0, count: f64::from(count), factor: 2.0 })
    }

    #[test]
    fn the_formulas_of_the_field_give_what_python_gives() {
        let doubling = "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor";
        assert_eq!([1, 2, 30].map(|n| value(doubling, n)), [2400.0, 4800.0, 600.0 * 1_048_576.0 * 2.0]);
        let exponential = "ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)";
        assert!((value(exponential, 1) - 600.0 * 2f64.exp()).abs() < 1e-6);
        for (text, wanted) in [
            ("ban.Time * 2 ** ban.Count", 4800.0),
            ("-2 ** 2", -4.0),
            ("2 ** -1 ** 2", 0.5),
            ("7 // 2 + 7 % 4 - -7 % 4", 5.0),
            ("min(ban.Time*24, max(1, 2, 3) + abs(-4))", 7.0),
            ("10 if ban.Count > 5 else 20 if ban.Count >= 3 else 30", 20.0),
            ("1 + 1 << 3 >> 1", 8.0),
            ("pow(2, 3) + int(2.9) + round(2.5) + math.sqrt(16) + math.log(8, 2)", 19.0),
            ("(ban.Count == 3) + (ban.Count != 3)", 1.0),
            ("1.5*ban.Time/.5", 1800.0),
        ] {
            assert!((value(text, 3) - wanted).abs() < 1e-9, "{text} is {}", value(text, 3));
        }
    }

    #[test]
    fn anything_else_is_no_formula() {
        for text in [
            "",
            "1 +",
            "1 2",
            "(1",
            "__import__('os').system('id')",
            "ban.__class__",
            "ban.Timeout",
            "math.exp(1, 2)",
            "math.exp",
            "1 if 2",
            "1 < 2 < 3)",
            "random.random()",
            "0x10",
            "1;2",
            "lambda: 1",
        ] {
            assert!(text.parse::<Formula>().is_err(), "{text}");
        }
        assert!("(".repeat(500).parse::<Formula>().is_err());
        assert!("-".repeat(900).parse::<Formula>().is_err());
        assert!(format!("1{}", "**1".repeat(300)).parse::<Formula>().is_err());
        assert!("1".repeat(2000).parse::<Formula>().is_err());
    }
}
