//! What Python and others write is read as they meant it; everything else is refused, whatever it is.

use std::collections::BTreeMap;

use serde_pickle::{DeOptions, HashableValue, SerOptions, Value as Theirs};

use super::*;
use crate::fail2ban::client::pickle::write;
use crate::fail2ban::client::value::Refusal;

fn words(words: &[&str]) -> Value {
    Value::texts(words.iter().copied())
}

#[test]
fn commands_are_read_in_every_protocol() {
    let want = words(&["get", "demo", "bantime"]);
    // As pickle.dumps writes them, protocol 0 to 5.
    for bytes in [
        &b"(lp0\nVget\np1\naVdemo\np2\naVbantime\np3\na."[..],
        b"]q\x00(X\x03\x00\x00\x00getq\x01X\x04\x00\x00\x00demoq\x02X\x07\x00\x00\x00bantimeq\x03e.",
        b"\x80\x02]q\x00(X\x03\x00\x00\x00getq\x01X\x04\x00\x00\x00demoq\x02X\x07\x00\x00\x00bantimeq\x03e.",
        b"\x80\x03]q\x00(X\x03\x00\x00\x00getq\x01X\x04\x00\x00\x00demoq\x02X\x07\x00\x00\x00bantimeq\x03e.",
        b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03get\x94\x8c\x04demo\x94\x8c\x07bantime\x94e.",
        b"\x80\x05\x95\x1c\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03get\x94\x8c\x04demo\x94\x8c\x07bantime\x94e.",
        // As Go's og-rek does, for the Prometheus exporter.
        b"\x80\x02(U\x03getU\x04demoU\x07bantimel.",
        // As Python 2 does.
        b"(lp0\nS'get'\np1\naS\"demo\"\np2\naS'ban\\x74ime'\np3\na.",
    ] {
        assert_eq!(read(bytes), Ok(want.clone()), "{}", bytes.escape_ascii());
    }
}

#[test]
fn every_plain_value_is_read() {
    let bytes = b"\x80\x05\x95^\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x06reload\x94\x8c\x05--all\x94]\x94\x8c\x07--unban\
        \x94a]\x94]\x94(\x8c\x03set\x94\x8c\x01x\x94\x8c\x07bantime\x94MX\x02\x88NJ\x90\xee\xfe\xffG?\xf8\x00\x00\x00\
        \x00\x00\x00}\x94\x8c\x01a\x94K\x01K\x02\x86\x94seae.";
    let inner = Value::List(vec![
        Value::text("set"),
        Value::text("x"),
        Value::text("bantime"),
        Value::Int(600),
        Value::Bool(true),
        Value::None,
        Value::Int(-70_000),
        Value::Float(1.5),
        Value::Dict(vec![(Value::text("a"), Value::Tuple(vec![Value::Int(1), Value::Int(2)]))]),
    ]);
    let want = Value::List(vec![
        Value::text("reload"),
        Value::text("--all"),
        words(&["--unban"]),
        Value::List(vec![inner]),
    ]);
    assert_eq!(read(bytes), Ok(want));
    for (bytes, want) in [
        (&b"I01\n."[..], Value::Bool(true)),
        (b"I-5\n.", Value::Int(-5)),
        (b"L600L\n.", Value::Int(600)),
        (b"\x8a\x00.", Value::Int(0)),
        (b"\x8a\x02\x00\xff.", Value::Int(-256)),
        (b"F1e3\n.", Value::Float(1000.0)),
        (b"V\\u00fcb\\x\xfc\n.", Value::text("\u{fc}b\\x\u{fc}")),
        // The same text once more, by its number.
        (b"\x80\x02]q\x00(X\x01\x00\x00\x00aq\x01h\x01e.", words(&["a", "a"])),
        (b"\x85.", Value::None),
    ] {
        if bytes == b"\x85." {
            assert_eq!(read(bytes), Err(Unreadable::Order(0x85)), "nothing there to wrap");
        } else {
            assert_eq!(read(bytes), Ok(want), "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn what_names_or_calls_something_is_refused() {
    for (bytes, instruction) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], b'c'),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", 0x93),
        (b"(S'true'\nios\nsystem\n.", b'i'),
        (b"(S'x'\no.", b'o'),
        (b"]S'x'\nb.", b'b'),
        (b"Pid\n.", b'P'),
        (b"\x80\x02]q\x00\x82\x01.", 0x82),
        (b"\x80\x02)\x81.", 0x81),
        (b"\x80\x04\x8f.", 0x8f),
        (b"\x80\x05\x97.", 0x97),
        // A list by its number: it could hold itself.
        (b"\x80\x02]q\x00h\x00a.", b'h'),
    ] {
        assert_eq!(read(bytes), Err(Unreadable::Instruction(instruction)), "{}", bytes.escape_ascii());
    }
}

#[test]
fn size_and_depth_have_bounds() {
    let nested = |levels: usize| [vec![b']'; levels], vec![b'a'; levels - 1], vec![b'.']].concat();
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(Unreadable::Deep));
    assert_eq!(read(&nested(150_000)), Err(Unreadable::Deep));
    let wrapped = [vec![b'N'], vec![0x85; 100_000], vec![b'.']].concat();
    assert_eq!(read(&wrapped), Err(Unreadable::Deep));
    assert_eq!(read(&vec![b'N'; VALUES_MAX + 1]), Err(Unreadable::Big));
    assert_eq!(read(&vec![b'('; VALUES_MAX + 1]), Err(Unreadable::Big));
    // Lengths that nothing stands behind.
    for bytes in [
        &b"X\xff\xff\xff\xffab"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
    ] {
        assert_eq!(read(bytes), Err(Unreadable::Short));
    }
    // One long text, put in again and again.
    let text = vec![b'a'; 1 << 20];
    let mut bytes = [&b"](X\x00\x00\x10\x00"[..], &text, b"q\x00"].concat();
    bytes.extend(b"h\x00".repeat(100_000));
    bytes.extend(b"e.");
    assert_eq!(read(&bytes), Err(Unreadable::Big));
}

/// A small generator; the seed is its state.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn value(&mut self, depth: u64) -> Value {
        let some =
            |dice: &mut Dice| -> Vec<Value> { (0..dice.below(5)).map(|_| dice.value(depth + 1)).collect() };
        match self.below(if depth > 4 { 5 } else { 8 }) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 1),
            2 => Value::Int(self.0 as i64 >> self.below(64)),
            3 => Value::Float(self.below(1000) as f64 / 8.0),
            4 => {
                let text: String =
                    (0..self.below(12)).filter_map(|_| char::from_u32(self.below(0x500) as u32)).collect();
                Value::Text(text)
            }
            5 => Value::List(some(self)),
            6 => Value::Tuple(some(self)),
            _ => {
                let keys = some(self).into_iter().enumerate();
                Value::Dict(keys.map(|(index, value)| (Value::text(format!("{index}")), value)).collect())
            }
        }
    }
}

fn theirs(value: &Value) -> Theirs {
    match value {
        Value::None => Theirs::None,
        Value::Bool(on) => Theirs::Bool(*on),
        Value::Int(number) => Theirs::I64(*number),
        Value::Float(number) => Theirs::F64(*number),
        Value::Text(text) => Theirs::String(text.clone()),
        Value::List(entries) => Theirs::List(entries.iter().map(theirs).collect()),
        Value::Tuple(entries) => Theirs::Tuple(entries.iter().map(theirs).collect()),
        Value::Dict(entries) => {
            let key = |key: &Value| HashableValue::String(key.to_string());
            Theirs::Dict(entries.iter().map(|(k, v)| (key(k), theirs(v))).collect::<BTreeMap<_, _>>())
        }
    }
}

#[test]
fn the_crate_reads_what_we_write_and_we_read_what_it_writes() {
    for seed in 1..2000u64 {
        let value = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).value(0);
        let ours = write(&Ok(value.clone()));
        let read_back = serde_pickle::value_from_slice(&ours, DeOptions::new()).expect("a pickle");
        assert_eq!(read_back, Theirs::Tuple(vec![Theirs::I64(0), theirs(&value)]), "seed {seed}");
        assert_eq!(read(&ours), Ok(Value::Tuple(vec![Value::Int(0), value.clone()])), "seed {seed}");
        let options = if seed % 2 == 0 { SerOptions::new() } else { SerOptions::new().proto_v2() };
        let their_bytes = serde_pickle::value_to_vec(&theirs(&value), options).expect("plain");
        assert_eq!(read(&their_bytes).as_ref().map(theirs), Ok(theirs(&value)), "seed {seed}");
    }
}

#[test]
fn damaged_messages_are_read_or_refused_and_nothing_else() {
    for seed in 1..20_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let value = dice.value(0);
        let mut bytes = write(&Ok(value));
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = dice.below(256) as u8,
                2 => bytes.insert(at, dice.below(256) as u8),
                _ => bytes.extend_from_within(at..),
            }
        }
        // Whatever comes is bounded; a plain value comes back as one.
        if let Ok(value) = read(&bytes) {
            assert_eq!(read(&write(&Ok(value.clone()))), Ok(Value::Tuple(vec![Value::Int(0), value])));
        }
    }
}

#[test]
fn an_exception_is_its_class_called_with_its_text() {
    let bytes = write(&Err(Refusal::UnknownJail("nosuch".into())));
    assert_eq!(
        bytes,
        b"\x80\x02K\x01cfail2ban.exceptions\nUnknownJailException\nX\x06\x00\x00\x00nosuch\x85R\x86."
    );
    assert_eq!(read(&bytes), Err(Unreadable::Instruction(b'c')), "no answer is taken for a command");
}
