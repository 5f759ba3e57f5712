//! The reading half: protocols 0 to 5, plain values only, in one pass.

use std::collections::HashMap;

use super::{DEPTH_MAX, TEXT_BYTES_MAX, VALUES_MAX};
use crate::fail2ban::client::value::Value;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the message ends in the middle")]
    Short,
    #[error("there is more after the message's end")]
    Long,
    /// An instruction that builds no plain value: it would name or call something.
    #[error("instruction 0x{0:02x} is not taken; commands are lists of texts and numbers")]
    Instruction(u8),
    #[error("instruction 0x{0:02x} does not fit what came before")]
    Order(u8),
    #[error("a text or number of instruction 0x{0:02x} is none")]
    Literal(u8),
    #[error("the message is nested deeper than {DEPTH_MAX} levels")]
    Deep,
    #[error("the message holds too much")]
    Big,
}

/// What lies on the stack.
enum Item {
    Mark,
    /// With its depth: 0 for what holds nothing.
    Value(Value, usize),
}

/// What can be put in again by its number. Containers cannot: they may still be filled, or hold themselves.
enum Memo {
    Plain(Value),
    Container,
}

struct Reader<'a> {
    rest: &'a [u8],
    stack: Vec<Item>,
    memo: HashMap<u32, Memo>,
    values: usize,
    text_bytes: usize,
}

/// Reads one pickle of plain values.
///
/// # Errors
/// Anything else, also what is too big or too deep; nothing is called or looked up on the way.
pub fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    let mut reader =
        Reader { rest: bytes, stack: Vec::new(), memo: HashMap::new(), values: 0, text_bytes: 0 };
    loop {
        let instruction = reader.byte()?;
        if instruction == b'.' {
            return match (reader.stack.pop(), reader.stack.is_empty(), reader.rest.is_empty()) {
                (Some(Item::Value(value, _)), true, true) => Ok(value),
                (Some(Item::Value(..)), true, false) => Err(Unreadable::Long),
                _ => Err(Unreadable::Order(instruction)),
            };
        }
        reader.step(instruction)?;
    }
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unreadable::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        Ok(self.take(N)?.try_into().expect("take gives what was asked for"))
    }

    /// A length of `N` bytes, and so many bytes.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], Unreadable> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.fixed::<N>()?);
        let count = usize::try_from(u64::from_le_bytes(wide)).map_err(|_| Unreadable::Short)?;
        self.take(count)
    }

    /// Up to the line end, which is taken too.
    fn line(&mut self) -> Result<&'a [u8], Unreadable> {
        let end = memchr::memchr(b'\n', self.rest).ok_or(Unreadable::Short)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }

    fn push(&mut self, value: Value, depth: usize) -> Result<(), Unreadable> {
        self.values += 1;
        if depth > DEPTH_MAX {
            return Err(Unreadable::Deep);
        }
        if self.values > VALUES_MAX {
            return Err(Unreadable::Big);
        }
        self.stack.push(Item::Value(value, depth));
        Ok(())
    }

    fn push_text(&mut self, text: String) -> Result<(), Unreadable> {
        self.text_bytes += text.len();
        if self.text_bytes > TEXT_BYTES_MAX {
            return Err(Unreadable::Big);
        }
        self.push(Value::Text(text), 0)
    }

    fn push_utf8(&mut self, instruction: u8, bytes: &[u8]) -> Result<(), Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Literal(instruction))?;
        self.push_text(text.to_owned())
    }

    fn step(&mut self, instruction: u8) -> Result<(), Unreadable> {
        let literal = || Unreadable::Literal(instruction);
        match instruction {
            // Of the protocol: its version, and how long a part is.
            0x80 => (self.byte()? <= 5).then_some(()).ok_or_else(literal),
            0x95 => {
                let count = u64::from_le_bytes(self.fixed()?);
                let fits = usize::try_from(count).is_ok_and(|count| count <= self.rest.len());
                fits.then_some(()).ok_or(Unreadable::Short)
            }
            b'N' => self.push(Value::None, 0),
            0x88 => self.push(Value::Bool(true), 0),
            0x89 => self.push(Value::Bool(false), 0),
            b'J' => {
                let number = i32::from_le_bytes(self.fixed()?);
                self.push(Value::Int(number.into()), 0)
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()), 0)
            }
            b'M' => {
                let number = u16::from_le_bytes(self.fixed()?);
                self.push(Value::Int(number.into()), 0)
            }
            0x8a => {
                let bytes = self.counted::<1>()?;
                let number = long(bytes).ok_or_else(literal)?;
                self.push(Value::Int(number), 0)
            }
            b'I' | b'L' => {
                let value = whole(instruction, self.line()?).ok_or_else(literal)?;
                self.push(value, 0)
            }
            b'G' => {
                let number = f64::from_be_bytes(self.fixed()?);
                self.push(Value::Float(number), 0)
            }
            b'F' => {
                let text = std::str::from_utf8(self.line()?).map_err(|_| literal())?;
                self.push(Value::Float(text.parse().map_err(|_| literal())?), 0)
            }
            b'X' | b'T' | b'B' => {
                let bytes = self.counted::<4>()?;
                self.push_utf8(instruction, bytes)
            }
            0x8c | b'U' | b'C' => {
                let bytes = self.counted::<1>()?;
                self.push_utf8(instruction, bytes)
            }
            0x8d | 0x8e => {
                let bytes = self.counted::<8>()?;
                self.push_utf8(instruction, bytes)
            }
            b'S' => {
                let text = quoted(self.line()?).ok_or_else(literal)?;
                self.push_text(text)
            }
            b'V' => {
                let text = escaped(self.line()?, false).ok_or_else(literal)?;
                self.push_text(text)
            }
            b']' => self.push(Value::List(Vec::new()), 1),
            b')' => self.push(Value::Tuple(Vec::new()), 1),
            b'}' => self.push(Value::Dict(Vec::new()), 1),
            b'(' => {
                self.values += 1;
                if self.values > VALUES_MAX {
                    return Err(Unreadable::Big);
                }
                self.stack.push(Item::Mark);
                Ok(())
            }
            b'l' | b't' | b'd' => {
                let (values, depth) = self.since_mark(instruction)?;
                let value = match instruction {
                    b'l' => Value::List(values),
                    b't' => Value::Tuple(values),
                    _ => Value::Dict(pairs(values).ok_or(Unreadable::Order(instruction))?),
                };
                self.push(value, depth + 1)
            }
            0x85..=0x87 => {
                let (values, depth) = self.top(usize::from(instruction - 0x84), instruction)?;
                self.push(Value::Tuple(values), depth + 1)
            }
            b'a' | b'e' | b's' | b'u' => {
                let (values, depth) = match instruction {
                    b'a' => self.top(1, instruction)?,
                    b's' => self.top(2, instruction)?,
                    _ => self.since_mark(instruction)?,
                };
                self.fill(instruction, values, depth)
            }
            b'q' => {
                let number = self.byte()?;
                self.remember(instruction, number.into())
            }
            b'r' => {
                let number = u32::from_le_bytes(self.fixed()?);
                self.remember(instruction, number)
            }
            b'p' => {
                let number = index(self.line()?).ok_or_else(literal)?;
                self.remember(instruction, number)
            }
            0x94 => self.remember(instruction, self.memo.len() as u32),
            b'h' => {
                let number = self.byte()?;
                self.recall(instruction, number.into())
            }
            b'j' => {
                let number = u32::from_le_bytes(self.fixed()?);
                self.recall(instruction, number)
            }
            b'g' => {
                let number = index(self.line()?).ok_or_else(literal)?;
                self.recall(instruction, number)
            }
            other => Err(Unreadable::Instruction(other)),
        }
    }

    /// Takes the `count` uppermost values; the second answer is the depth of the deepest.
    fn top(&mut self, count: usize, instruction: u8) -> Result<(Vec<Value>, usize), Unreadable> {
        let from = self.stack.len().checked_sub(count).ok_or(Unreadable::Order(instruction))?;
        self.above(from, instruction)
    }

    /// Takes what lies above the last mark, and the mark.
    fn since_mark(&mut self, instruction: u8) -> Result<(Vec<Value>, usize), Unreadable> {
        let mark = self.stack.iter().rposition(|item| matches!(item, Item::Mark));
        let mark = mark.ok_or(Unreadable::Order(instruction))?;
        let above = self.above(mark + 1, instruction)?;
        self.stack.pop();
        Ok(above)
    }

    fn above(&mut self, from: usize, instruction: u8) -> Result<(Vec<Value>, usize), Unreadable> {
        let mut deepest = 0;
        let mut values = Vec::with_capacity(self.stack.len() - from);
        for item in self.stack.drain(from..) {
            let Item::Value(value, depth) = item else { return Err(Unreadable::Order(instruction)) };
            deepest = deepest.max(depth);
            values.push(value);
        }
        Ok((values, deepest))
    }

    /// Puts values into the container below them.
    fn fill(&mut self, instruction: u8, values: Vec<Value>, inner: usize) -> Result<(), Unreadable> {
        let order = Unreadable::Order(instruction);
        let Some(Item::Value(container, depth)) = self.stack.last_mut() else { return Err(order) };
        *depth = (*depth).max(inner + 1);
        if *depth > DEPTH_MAX {
            return Err(Unreadable::Deep);
        }
        match (container, instruction) {
            (Value::List(entries), b'a' | b'e') => entries.extend(values),
            (Value::Dict(entries), b's' | b'u') => entries.extend(pairs(values).ok_or(order)?),
            _ => return Err(order),
        }
        Ok(())
    }

    fn remember(&mut self, instruction: u8, number: u32) -> Result<(), Unreadable> {
        let Some(Item::Value(value, depth)) = self.stack.last() else {
            return Err(Unreadable::Order(instruction));
        };
        let memo = if *depth == 0 { Memo::Plain(value.clone()) } else { Memo::Container };
        if let Memo::Plain(Value::Text(text)) = &memo {
            self.text_bytes += text.len();
        }
        self.memo.insert(number, memo);
        if self.memo.len() > VALUES_MAX || self.text_bytes > TEXT_BYTES_MAX {
            return Err(Unreadable::Big);
        }
        Ok(())
    }

    fn recall(&mut self, instruction: u8, number: u32) -> Result<(), Unreadable> {
        match self.memo.get(&number) {
            Some(Memo::Plain(Value::Text(text))) => {
                let text = text.clone();
                self.push_text(text)
            }
            Some(Memo::Plain(value)) => {
                let value = value.clone();
                self.push(value, 0)
            }
            Some(Memo::Container) => Err(Unreadable::Instruction(instruction)),
            None => Err(Unreadable::Order(instruction)),
        }
    }
}

fn pairs(values: Vec<Value>) -> Option<Vec<(Value, Value)>> {
    let mut values = values.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let Some(key) = values.next() {
        pairs.push((key, values.next()?));
    }
    Some(pairs)
}

/// A number of up to 8 bytes, least first, in two's complement.
fn long(bytes: &[u8]) -> Option<i64> {
    let sign = bytes.last().map_or(0, |last| if *last >= 0x80 { 0xff } else { 0 });
    let mut wide = [sign; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

/// A number of protocol 0; `I01` and `I00` are switches.
fn whole(instruction: u8, line: &[u8]) -> Option<Value> {
    match (instruction, line) {
        (b'I', b"01") => return Some(Value::Bool(true)),
        (b'I', b"00") => return Some(Value::Bool(false)),
        _ => {}
    }
    let text = std::str::from_utf8(line).ok()?;
    let digits = if instruction == b'L' { text.strip_suffix('L').unwrap_or(text) } else { text };
    digits.parse().ok().map(Value::Int)
}

fn index(line: &[u8]) -> Option<u32> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// A text in quotes, of protocol 0.
fn quoted(line: &[u8]) -> Option<String> {
    let (first, last) = (line.first()?, line.last()?);
    let fits = line.len() >= 2 && first == last && matches!(first, b'\'' | b'"');
    escaped(fits.then(|| &line[1..line.len() - 1])?, true)
}

/// `\u` with four hexadecimal digits, `\U` with eight, and with `all` instead `\x` with two, `\n` and the like;
/// other bytes stand for themselves.
fn escaped(bytes: &[u8], all: bool) -> Option<String> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            // Of a unicode text the bytes above 0x7f are characters of Latin-1; of the other kind, UTF-8.
            if all || byte < 0x80 {
                out.push(byte);
            } else {
                out.extend(char::from(byte).to_string().bytes());
            }
            continue;
        }
        let (&code, after) = rest.split_first()?;
        let digits = match (code, all) {
            (b'u', false) => 4,
            (b'U', false) => 8,
            (b'x', true) => 2,
            _ => 0,
        };
        if digits > 0 {
            let (hex, after) = after.split_at_checked(digits)?;
            let number = u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
            if all {
                out.push(number as u8);
            } else {
                out.extend(char::from_u32(number)?.to_string().bytes());
            }
            rest = after;
        } else if !all {
            out.push(b'\\');
        } else {
            out.push(match code {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' | b'\'' | b'"' => code,
                _ => return None,
            });
            rest = after;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
