//! The writing half: protocol 2, which every Python 3 and the readers of other languages take.

use crate::fail2ban::client::value::{Refusal, Value};

/// The answer to a command as fail2ban's server packs it: `(0, value)`, or `(1, exception)`. The client makes the
/// exception from its class and its text.
pub fn write(answer: &Result<Value, Refusal>) -> Vec<u8> {
    let mut out = vec![0x80, 2];
    match answer {
        Ok(value) => {
            put(&Value::Int(0), &mut out);
            put(value, &mut out);
        }
        Err(refusal) => {
            put(&Value::Int(1), &mut out);
            let (module, name) = refusal.class();
            out.push(b'c');
            out.extend_from_slice(module.as_bytes());
            out.push(b'\n');
            out.extend_from_slice(name.as_bytes());
            out.push(b'\n');
            put(&Value::text(refusal.argument()), &mut out);
            // A tuple of one, and the class called with it.
            out.extend_from_slice(&[0x85, b'R']);
        }
    }
    // A tuple of two, the end.
    out.extend_from_slice(&[0x86, b'.']);
    out
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::None => out.push(b'N'),
        Value::Bool(true) => out.push(0x88),
        Value::Bool(false) => out.push(0x89),
        Value::Int(number) => match (u8::try_from(*number), i32::try_from(*number)) {
            (Ok(small), _) => out.extend_from_slice(&[b'K', small]),
            (_, Ok(middle)) => {
                out.push(b'J');
                out.extend_from_slice(&middle.to_le_bytes());
            }
            _ => {
                out.extend_from_slice(&[0x8a, 8]);
                out.extend_from_slice(&number.to_le_bytes());
            }
        },
        Value::Float(number) => {
            out.push(b'G');
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(b'X');
            let length = u32::try_from(text.len()).expect("no answer's text has 4 GB");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Value::List(entries) => {
            out.extend_from_slice(b"](");
            entries.iter().for_each(|entry| put(entry, out));
            out.push(b'e');
        }
        Value::Tuple(entries) => {
            out.push(b'(');
            entries.iter().for_each(|entry| put(entry, out));
            out.push(b't');
        }
        Value::Dict(entries) => {
            out.extend_from_slice(b"}(");
            for (key, value) in entries {
                put(key, out);
                put(value, out);
            }
            out.push(b'u');
        }
    }
}
