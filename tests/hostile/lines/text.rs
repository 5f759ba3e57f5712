//! The client's places in a template, what a service does to the text that comes there, and hostile text.

use super::Dice;
use super::templates::{TEMPLATES, Template};

/// Makes the text of a client's place.
pub type Client<'c> = dyn FnMut(Field, &mut dyn Dice) -> Vec<u8> + 'c;

/// A place that a client controls: what its service does to the text. `{name}` in a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Taken as it comes; a line break cannot come, or the syslog daemon escapes it (`#012`).
    Any,
    /// Taken as it comes, line breaks too.
    Split,
    /// Postfix, printable(): what is not printable ASCII becomes `?`; cut at 100 characters.
    Postfix,
    /// The same, uncut.
    Printable,
    /// A word of a protocol, as Postfix prints it: no blank in it.
    Word,
    /// A reverse DNS name: resolvers let letters, digits, `.`, `-` and `_` pass, also an address' own digits.
    Rdns,
    /// Cyrus: lower case.
    Cyrus,
    /// Cyrus from 3.13 (lib/logfmt.c): quoted and escaped where needed.
    Logfmt,
    /// Dovecot, str_sanitize(): control characters become `?`; mostly lower case.
    Dovecot,
    /// Exim, string_printing(): control characters become escapes.
    Exim,
    /// Exim's HELO: a name or an address literal.
    Helo,
    /// Courier: control characters become `.`.
    Courier,
    /// Sendmail: control characters as escapes, cut at 64 bytes.
    Sendmail,
    /// An envelope address without its `<>`, as a server that parses it lets it through: dot-atoms, or a quoted
    /// local part.
    Address,
    /// The same in sendmail, which cuts out the middle of a long one.
    Rcpt,
    /// sshd, strnvis(): control and 8-bit characters and `\` as escapes; cut at 100 bytes.
    Ssh,
    /// HTTP basic authentication: no colon, which ends the name.
    Colonless,
    /// Apache, ap_escape_errorlog_item(): control and 8-bit characters, quotes and `\` as escapes.
    Apache,
    /// Both.
    ApacheColonless,
    /// Zimbra's context and audit fields: `;` doubled, line breaks become blanks.
    Zimbra,
    /// A request's URL: no blanks, no control characters.
    Url,
    /// A JSON string.
    Json,
    /// A word of letters and digits.
    Base64,
}

const FIELDS: [(&str, Field); 23] = [
    ("any", Field::Any),
    ("split", Field::Split),
    ("postfix", Field::Postfix),
    ("printable", Field::Printable),
    ("word", Field::Word),
    ("rdns", Field::Rdns),
    ("cyrus", Field::Cyrus),
    ("logfmt", Field::Logfmt),
    ("dovecot", Field::Dovecot),
    ("exim", Field::Exim),
    ("helo", Field::Helo),
    ("courier", Field::Courier),
    ("sendmail", Field::Sendmail),
    ("address", Field::Address),
    ("rcpt", Field::Rcpt),
    ("ssh", Field::Ssh),
    ("colonless", Field::Colonless),
    ("apache", Field::Apache),
    ("apachename", Field::ApacheColonless),
    ("zimbra", Field::Zimbra),
    ("url", Field::Url),
    ("json", Field::Json),
    ("base64", Field::Base64),
];

/// What a record begins with, by the log; the rest of a template is its message.
const HEADS: [&str; 8] =
    ["syslog ", "nginx}", "apache ", "zlog}", "eximlog}", "roundcube}", "sogo}", "snappy}"];

impl Field {
    fn named(name: &str) -> Option<Field> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    /// Harmless text.
    pub fn plain(self) -> &'static [u8] {
        match self {
            Field::Address | Field::Rcpt => b"rosa@example.net",
            Field::Rdns => b"host-9.example.net",
            Field::Helo => b"desk-7",
            Field::Base64 => b"aHVnbw",
            _ => b"rosa",
        }
    }

    /// Hostile text, as the service lets it through. `of`: the template it is for.
    pub fn hostile(self, of: &Template, dice: &mut dyn Dice) -> Vec<u8> {
        let mut text = hostile(of, self == Field::Split, dice);
        match self {
            Field::Any => {
                let escapes = dice.below(2) == 0;
                text = text.into_iter().flat_map(|b| rsyslog(b, escapes)).collect();
            }
            Field::Split => {}
            Field::Postfix => {
                text = printable(text);
                text.truncate(100);
            }
            Field::Printable => text = printable(text),
            Field::Word => {
                text = printable(text);
                text.retain(|b| *b != b' ');
                text.truncate(100);
            }
            Field::Rdns => {
                text = match dice.below(4) {
                    0 => b"198.18.0.66".to_vec(),
                    1 => b"198.18.0.66.rdns.example".to_vec(),
                    _ => text,
                };
                text.retain(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
                text.truncate(63);
                if text.is_empty() {
                    text.push(b'x');
                }
            }
            Field::Cyrus => {
                text = text.into_iter().flat_map(|b| rsyslog(b, true)).collect();
                text.make_ascii_lowercase();
            }
            Field::Logfmt => text = logfmt(&text),
            Field::Dovecot => {
                text.iter_mut().filter(|b| b.is_ascii_control()).for_each(|b| *b = b'?');
                if dice.below(3) > 0 {
                    text.make_ascii_lowercase();
                }
            }
            Field::Exim => {
                let quoted = |b: u8| match b {
                    b'\n' => b"\\n".to_vec(),
                    b'\r' => b"\\r".to_vec(),
                    b'\t' => vec![b],
                    _ if b.is_ascii_control() => format!("\\{b:03o}").into_bytes(),
                    _ => vec![b],
                };
                text = text.into_iter().flat_map(quoted).collect();
            }
            Field::Helo => {
                text = match dice.below(3) {
                    0 => format!("[{}]", fake(dice)).into_bytes(),
                    _ => text,
                };
                let literal = text.starts_with(b"[") && text.ends_with(b"]");
                text.retain(|b| {
                    b.is_ascii_alphanumeric() || b"._:-".contains(b) || literal && b"[]".contains(b)
                });
                text.truncate(120);
            }
            Field::Courier => {
                text.iter_mut().filter(|b| b.is_ascii_control()).for_each(|b| *b = b'.');
            }
            Field::Sendmail => {
                text = text.into_iter().flat_map(octal).collect();
                text.truncate(64);
            }
            Field::Address => text = address(text, dice),
            Field::Rcpt => text = shortened(address(text, dice)),
            Field::Ssh => {
                let quoted = |b: u8| match b {
                    b'\\' => b"\\\\".to_vec(),
                    _ if b.is_ascii_control() || !b.is_ascii() => format!("\\{b:03o}").into_bytes(),
                    _ => vec![b],
                };
                text = text.into_iter().flat_map(quoted).collect();
                text.truncate(100);
            }
            Field::Colonless => text.retain(|b| !b":\n\0".contains(b)),
            Field::Apache => text = apache(&text),
            Field::ApacheColonless => {
                text.retain(|b| *b != b':');
                text = apache(&text);
            }
            Field::Zimbra => {
                let quoted = |b: u8| match b {
                    b';' => b";;".to_vec(),
                    b'\n' | b'\r' => b" ".to_vec(),
                    _ => vec![b],
                };
                text = text.into_iter().flat_map(quoted).collect();
            }
            Field::Url => text.retain(u8::is_ascii_graphic),
            Field::Json => {
                let text_of = String::from_utf8_lossy(&text).into_owned();
                let quoted = serde_json::Value::from(text_of).to_string();
                text = quoted.as_bytes()[1..quoted.len() - 1].to_vec();
            }
            Field::Base64 => {
                text.retain(u8::is_ascii_alphanumeric);
                text.truncate(20);
            }
        }
        text
    }
}

fn rsyslog(b: u8, escapes: bool) -> Vec<u8> {
    match b {
        b'\n' | 0 => format!("#{b:03o}").into_bytes(),
        _ if b.is_ascii_control() && escapes => format!("#{b:03o}").into_bytes(),
        _ => vec![b],
    }
}

fn octal(b: u8) -> Vec<u8> {
    if b.is_ascii_control() { format!("\\{b:03o}").into_bytes() } else { vec![b] }
}

fn printable(mut text: Vec<u8>) -> Vec<u8> {
    text.iter_mut().filter(|b| !(b.is_ascii_graphic() || **b == b' ')).for_each(|b| *b = b'?');
    text
}

fn apache(text: &[u8]) -> Vec<u8> {
    let quoted = |b: &u8| match *b {
        b'"' | b'\\' => vec![b'\\', *b],
        b'\n' => b"\\n".to_vec(),
        b if b.is_ascii_control() || !b.is_ascii() => format!("\\x{b:02x}").into_bytes(),
        b => vec![b],
    };
    text.iter().flat_map(quoted).collect()
}

fn logfmt(text: &[u8]) -> Vec<u8> {
    if text.iter().all(|b| b.is_ascii_graphic() && !b"=\"\\".contains(b)) && !text.is_empty() {
        return text.to_vec();
    }
    let quoted = |b: &u8| match *b {
        b'"' | b'\\' => vec![b'\\', *b],
        b if b.is_ascii_control() || !b.is_ascii() => format!("\\x{{{b:02x}}}").into_bytes(),
        b => vec![b],
    };
    let inside: Vec<u8> = text.iter().flat_map(quoted).collect();
    [b"\"", inside.as_slice(), b"\""].concat()
}

/// No unbalanced quote or bracket passes.
fn address(mut text: Vec<u8>, dice: &mut dyn Dice) -> Vec<u8> {
    text = text.into_iter().flat_map(octal).collect();
    if dice.below(2) == 0 {
        text.retain(|b| b.is_ascii_graphic() && !b"<>\"\\()".contains(b));
        text
    } else {
        text.retain(|b| !b"\"\\".contains(b));
        [b"\"", text.as_slice(), b"\"@example.net"].concat()
    }
}

/// Sendmail's shortenstring(): keeps both ends of what is over 203 bytes, with the `<>`.
fn shortened(mut address: Vec<u8>) -> Vec<u8> {
    if address.len() > 201 {
        let tail = address.split_off(address.len() - 99);
        address.truncate(99);
        address.extend_from_slice(b"...");
        address.extend_from_slice(&tail);
    }
    address
}

/// Puts a template together: `{ip}` and its spellings are the peer's, `{syslog ..}` and the like the log's,
/// everything else in braces the client's.
pub fn render(template: &str, peer: &str, dice: &mut dyn Dice, client: &mut Client<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = template;
    // One program writes all lines of a record.
    let form = dice.below(9);
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        let close = open + rest[open..].find('}').expect("a template closes its braces");
        let name = &rest[open + 1..close];
        rest = &rest[close + 1..];
        let mapped = || if peer.contains('.') { format!("::ffff:{peer}") } else { peer.to_owned() };
        let long = || peer.replace("::", ":0:0:0:0:");
        match name {
            // A brace of the service's own.
            "" => out.push(b'{'),
            "ip" => out.extend_from_slice(peer.as_bytes()),
            "mapped" => out.extend_from_slice(mapped().as_bytes()),
            "java" => out.extend_from_slice(long().as_bytes()),
            "sendmailip" if peer.contains(':') => {
                out.extend_from_slice(format!("IPv6:{}", long()).as_bytes());
            }
            "sendmailip" => out.extend_from_slice(peer.as_bytes()),
            "bracketed" if peer.contains(':') => out.extend_from_slice(format!("[{peer}]").as_bytes()),
            "bracketed" => out.extend_from_slice(peer.as_bytes()),
            "nginx" => out.extend_from_slice(b"2026/06/03 10:00:00 [error] 61#61: *7 "),
            "zlog" => out.extend_from_slice(b"2026-06-03 16:00:01,101 "),
            "snappy" => out.extend_from_slice(b"[2026-06-10 09:00:00] "),
            "eximlog" => match form % 3 {
                0 => out.extend_from_slice(b"2026-06-04 12:00:00 "),
                1 => out.extend_from_slice(b"2026-06-04 12:00:00.417 +0200 [4410] "),
                _ => out.extend_from_slice(b"Jun  4 12:00:00 mx exim[4410]: 2026-06-04 12:00:00 "),
            },
            "roundcube" if form % 3 == 2 => out.extend_from_slice(b"Jun  8 06:30:00 web roundcube[70]: "),
            "roundcube" => out.extend_from_slice(b"[08-Jun-2026 06:30:00 +0000]: "),
            "sogo" => out.extend_from_slice(b"Jun 09 10:00:00 sogod [310]: "),
            _ => match name.split_once(' ') {
                Some(("syslog", ident)) => {
                    let head = match form {
                        0 => format!("Jun  3 10:00:00 mx {ident}[71]: "),
                        1 => format!("2026-06-03T10:00:00.123456+02:00 mx {ident}[71]: "),
                        2 => format!("Jun  3 10:00:00 mx mail.info {ident}[71]: "),
                        3 => format!("Wed 2026-06-03 10:00:00 CEST mx {ident}[71]: "),
                        4 => format!("Jun  3 10:00:00 mx {ident}[71]: [ID 197553 mail.info] "),
                        5 => format!("mail-1  | Jun  3 10:00:00 mx {ident}[71]: "),
                        6 => format!("2026-06-03T10:00:00Z mx {ident} 71 - - "),
                        _ => format!("<22>1 2026-06-03T10:00:00Z mx {ident} 71 - - "),
                    };
                    out.extend_from_slice(head.as_bytes());
                }
                Some(("apache", module)) => {
                    let head =
                        format!("[Wed Jun 03 15:00:01.123456 2026] [{module}:error] [pid 71:tid 140] ");
                    out.extend_from_slice(head.as_bytes());
                }
                _ => match Field::named(name) {
                    Some(field) => out.extend(client(field, dice)),
                    None => panic!("{{{name}}} is no place of a template"),
                },
            },
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

const FAKES: [&str; 9] = [
    "198.18.0.66",
    "2001:db8:fade::66",
    "::ffff:198.18.0.66",
    "[198.18.0.66]",
    "IPv6:2001:db8:fade:0:0:0:0:66",
    "198.18.0.66:25",
    "10.0.0.6",
    "127.0.0.1",
    "[2001:db8:fade::66]:25",
];

/// An address of the client's choice.
fn fake(dice: &mut dyn Dice) -> &'static str {
    FAKES[dice.below(FAKES.len())]
}

/// Phrases that stand next to addresses. `@` is an address of the client's choice.
const PHRASES: [&str; 42] = [
    " from @ port 22 ssh2",
    " from @ port 22",
    " from @",
    "[@]",
    " [@] ",
    "([@])",
    "rip=@",
    ">, method=PLAIN, rip=@, lip=192.0.2.25, session=<a>",
    ", rip=@",
    "oip=@;",
    ";oip=@;",
    ";;oip=@;",
    "] [ip=@;oip=@;",
    "ip=@ user=x host=y port=1",
    ", ip=[@], port=[1]",
    "] [remote=@;1] [mech=pam] [reason=x]",
    "] [service=smtp] [realm=] [mech=pam] [reason=x]",
    ", client: @, server: s, request: \"",
    "\": password mismatch, client: @, server: s, request: \"GET / HTTP/1.1\"",
    "[client @:1] ",
    ", relay=[@]",
    ", relay=x [@], reject=550 5.7.1 x",
    "error,relay=@,port=1,msg=\"535 Authentication failed.\",cmd: AUTH LOGIN x",
    "H=(x) [@]",
    ") [@]:25: 535 Incorrect authentication data (set_id=x)",
    "address=@ host=x result=permfail",
    " result=permfail",
    " result=ok",
    "(X-Forwarded-For: @)",
    " from @ (X-Real-IP: @,X-Forwarded-For: @). Authentication failed. in /x on line 1 (POST /)",
    " against localhost from @. Authentication failed. in /x on line 1 (POST /)",
    " in session abc (error: 0)",
    "' might not have worked - password policy: 65535  grace: -1  expire: -1  bound: 0",
    "' for user '",
    "'@'",
    " to horde (@) [pid 1 on line 1 of \"y\"]",
    " (forwarded for [@])",
    "] FAIL LOGIN: Client \"@\"",
    " (Login failed): Incorrect password",
    " IP: @. Username: x.",
    "\",\"remoteAddr\":\"@\",\"message\":\"Login failed: x (Remote IP: @)\"",
    " rhost=@  user=x",
];

/// What ends and begins fields, and what breaks readers.
const JOINTS: [&[u8]; 34] = [
    b"",
    b"x",
    b"root",
    b" ",
    b"]",
    b"[",
    b")",
    b"(",
    b">",
    b"<",
    b"\"",
    b"'",
    b";",
    b";;",
    b",",
    b", ",
    b":",
    b": ",
    b"=",
    b"@",
    b"\\",
    b"\t",
    b"\x01",
    b"\x1b[31m",
    b"%n%s",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\r",
    b"] [",
    b"#012",
    b"\\n",
    b"{",
    b"}",
    b"\0",
];

/// Text that tries to be read as an address of the client's choice.
///
/// `breaks`: line breaks come through. After one of those no record of the log's own is made, see the module.
fn hostile(of: &Template, breaks: bool, dice: &mut dyn Dice) -> Vec<u8> {
    let mut text = JOINTS[dice.below(JOINTS.len())].to_vec();
    for _ in 0..=dice.below(3) {
        match dice.below(8) {
            0..4 => text.extend(fragment(of, breaks, dice)),
            // Where a name may hold a line break, a phrase that ends the service's own line makes two true lines of
            // one: nothing tells the first of them from a real one.
            4..6 if !breaks => {
                text.extend(PHRASES[dice.below(PHRASES.len())].replace('@', fake(dice)).into_bytes())
            }
            6 => {
                let noise = (0..dice.below(12)).map(|_| dice.below(256) as u8).collect::<Vec<u8>>();
                text.extend(noise);
            }
            _ => text.extend(fake(dice).as_bytes()),
        }
        text.extend_from_slice(JOINTS[dice.below(JOINTS.len())]);
        if breaks && dice.one_in(3) {
            text.push(b'\n');
        }
    }
    if dice.one_in(200) {
        // A name as long as a line may be.
        let at = dice.below(text.len() + 1);
        let filler = vec![b'A'; [70, 210, 1_000, 5_000, 70_000][dice.below(5)]];
        text.splice(at..at, filler);
    }
    if !breaks {
        text.iter_mut()
            .filter(|b| **b == b'\n')
            .for_each(|b| *b = if dice.below(2) == 0 { b'\n' } else { b' ' });
    }
    text
}

/// A piece of some service's line, about an address of the client's choice.
fn fragment(of: &Template, breaks: bool, dice: &mut dyn Dice) -> Vec<u8> {
    // The template's own shapes are the likeliest to fool its pattern.
    let own = |template: &&Template| template.filter == of.filter;
    let near: Vec<&Template> = TEMPLATES.iter().filter(own).collect();
    let template = if dice.below(2) == 0 && !breaks {
        near[dice.below(near.len())]
    } else {
        &TEMPLATES[dice.below(TEMPLATES.len())]
    };
    if breaks && template.filter == of.filter {
        return Vec::new();
    }
    let mut shape = template.text;
    if dice.below(3) > 0 {
        shape = message(shape);
    }
    let peer = fake(dice);
    let mut text = render(shape, peer, dice, &mut |field, dice| match dice.below(4) {
        0 => b"x".to_vec(),
        1 => Vec::new(),
        2 => b"a]".to_vec(),
        _ => field.plain().to_vec(),
    });
    match dice.below(4) {
        0 => {
            let from = dice.below(text.len().max(1));
            text.drain(..from);
        }
        1 => text.truncate(dice.below(text.len() + 1)),
        _ => {}
    }
    text
}

/// A template's text without the head of the record.
fn message(template: &str) -> &str {
    let Some(inside) = template.strip_prefix('{') else { return template };
    match HEADS.iter().any(|head| inside.starts_with(head)) {
        true => inside.split_once('}').map_or(template, |(_, message)| message),
        false => template,
    }
}
