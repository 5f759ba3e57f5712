//! Which services a ban closes and which one a line is about, in the words of the scenarios' contract.

use crate::filter::FrameKind;
use crate::firewall::Ports;

/// A set of mail services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Services(u8);

const IMAP: u8 = 1;
const POP3: u8 = 2;
const SMTP: u8 = 4;
const SIEVE: u8 = 8;
const WEB: u8 = 16;
/// Any other port.
const OTHER: u8 = 32;

/// The ports of each service, and its name.
const KNOWN: [(u8, &str, &[u16]); 5] = [
    (IMAP, "imap", &[143, 993]),
    (POP3, "pop3", &[110, 995]),
    (SMTP, "smtp", &[25, 465, 587]),
    (SIEVE, "sieve", &[4190]),
    (WEB, "web", &[80, 443]),
];

impl Services {
    /// All ports.
    pub const ALL: Services = Services(u8::MAX);

    /// What a jail's ban closes. A service counts as closed with any of its ports.
    pub fn of_ports(ports: &Ports) -> Services {
        if *ports == Ports::All {
            return Services::ALL;
        }
        let closed = KNOWN.iter().filter(|(_, _, list)| list.iter().any(|port| ports.contain(*port)));
        match closed.fold(0, |all, (service, ..)| all | service) {
            0 => Services(OTHER),
            some => Services(some),
        }
    }

    /// The service whose process wrote `line`, where its name says so. Only what the server wrote is looked at:
    /// the program's name, and for Dovecot the process in front of its message.
    pub fn of_line(line: &[u8]) -> Option<Services> {
        let framed = FrameKind::Syslog.split(line)?;
        let mut program = framed.ident?;
        if program == b"dovecot" {
            program = framed.message.split(|byte| matches!(byte, b':' | b'(')).next()?;
        }
        let has = |name: &str| memchr::memmem::find(program, name.as_bytes()).is_some();
        let words = [("imap", IMAP), ("pop3", POP3), ("sieve", SIEVE), ("smtp", SMTP), ("submission", SMTP)];
        words.into_iter().find(|(word, _)| has(word)).map(|(_, service)| Services(service))
    }

    pub fn meets(self, other: Services) -> bool {
        self.0 & other.0 != 0
    }

    /// `None`: all ports.
    pub fn names(self) -> Option<Vec<&'static str>> {
        if self == Services::ALL {
            return None;
        }
        let mut names: Vec<&str> =
            KNOWN.iter().filter(|(service, ..)| self.0 & service != 0).map(|(_, name, _)| *name).collect();
        if names.is_empty() {
            names.push("other");
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_the_names_of_services() {
        assert_eq!(Services::of_ports(&Ports::All).names(), None);
        assert_eq!(Services::of_ports(&Ports::of(&[993, 587])).names(), Some(vec!["imap", "smtp"]));
        assert_eq!(Services::of_ports(&Ports::of(&[22])).names(), Some(vec!["other"]));
    }

    #[test]
    fn the_service_of_a_line_is_read_from_what_the_server_wrote() {
        for (line, want) in [
            ("Nov 10 00:00:00 imap1 cyrus/pop3s[1]: badlogin: imap", Some(POP3)),
            ("Nov 10 00:00:00 mail postfix/submission/smtpd[1]: warning: x", Some(SMTP)),
            ("Nov 10 00:00:00 mail dovecot: imap-login: Login: user=<pop3>", Some(IMAP)),
            ("Nov 10 00:00:00 mail dovecot: managesieve-login: Login", Some(SIEVE)),
            ("Nov 10 00:00:00 mail dovecot: auth: passwd(imap,203.0.113.7)", None),
            ("2026-11-10 00:00:00,000 INFO [ImapServer-1] imap", None),
        ] {
            assert_eq!(Services::of_line(line.as_bytes()).map(|services| services.0), want, "{line}");
        }
    }
}
