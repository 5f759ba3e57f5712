//! The words of failed logins.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Words of failed logins, in any letter case. Each by itself is enough.
const PHRASES: &[&str] = &[
    "authentication fail",
    "authentication error",
    "authentication unsuccessful",
    "authentication denied",
    "authentication rejected",
    "authentication incorrect",
    "authentication attempt fail",
    "authentication mechanism fail",
    "auth fail",
    "auth_fail",
    "auth error",
    "authfail",
    "not authenticated",
    "authenticate fail",
    "authenticator fail",
    "could not authenticate",
    "unable to authenticate",
    "failed to authenticate",
    "failed authentication",
    "failed auth",
    "login fail",
    "login_fail",
    "loginfail",
    "login denied",
    "login incorrect",
    "login error",
    "login attempt fail",
    "login unsuccessful",
    "login rejected",
    "logon fail",
    "failed login",
    "failed logon",
    "bad login",
    "badlogin",
    "invalid login",
    "incorrect login",
    "failed password",
    "bad password",
    "incorrect password",
    "invalid password",
    "wrong password",
    "password incorrect",
    "password mismatch",
    "password fail",
    "password verification fail",
    "password is incorrect",
    "password is wrong",
    "password does not match",
    "passwords do not match",
    "password rejected",
    "mismatched password",
    "invalid user",
    "unknown user",
    "illegal user",
    "no such user",
    "user not found",
    "user unknown",
    "unknown account",
    "invalid account",
    "invalid credential",
    "bad credential",
    "wrong credential",
    "incorrect credential",
    "invalid username",
    "bad username",
    "incorrect username",
    "access denied",
    "permission denied",
    "not allowed",
    "not permitted",
    "unauthorized",
    "authorization fail",
    "credentials rejected",
    "535 5.7",
    "535-5.7",
    " 535 ",
    "535 authentication",
    "535 incorrect",
    "brute force",
    "too many authentication",
    "maximum authentication",
];
/// Words that tell only together: one of these, and one of [`FAILED`] in the same line.
const WEAK: &[&str] = &["sasl", "login", "authenticat", "passwd", "credential"];
const FAILED: &[&str] = &["fail", "denied", "incorrect", "mismatch", "rejected"];
/// What PAM and the SASL library write beside the line in which the service itself tells of the failure. Where a
/// filter reads that service, such a line is nothing new.
const COMPANIONS: &[&[u8]] = &[
    b"pam_",
    b"PAM ",
    b"error: PAM: ",
    b"DEBUG: auth_pam: ",
    b"DEBUG: auth_",
    b"SASL ",
    b"warning: SASL authentication failure: ",
    b"warning: SASL authentication problem: ",
];
/// Programs that no filter reads, as they only check passwords for services that are read.
const CHECKERS: &[&[u8]] = &[b"authdaemond", b"auth", b"auth-worker", b"dovecot-auth"];

/// Whether a message begins as those do that accompany the one by which a service tells of a failure.
pub(super) fn accompanies(message: &[u8]) -> bool {
    COMPANIONS.iter().any(|start| message.starts_with(start))
}

/// Whether a program only checks passwords for others.
pub(super) fn only_checks(ident: &[u8]) -> bool {
    CHECKERS.contains(&ident)
}

/// Looks for them.
pub(super) struct Words {
    /// Phrases first, then weak words.
    all: AhoCorasick,
    failed: AhoCorasick,
}

impl Words {
    pub fn new() -> Words {
        let automaton = |words: Vec<&str>| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostFirst)
                .kind(Some(AhoCorasickKind::DFA))
                .build(words)
                .expect("a few words")
        };
        Words {
            all: automaton(PHRASES.iter().chain(WEAK).copied().collect()),
            failed: automaton(FAILED.to_vec()),
        }
    }

    /// Where the first of them begins in `text`, weak ones too.
    pub fn first(&self, text: &[u8]) -> Option<usize> {
        self.all.find(text).map(|found| found.start())
    }

    /// Whether a line looks like a failed login.
    pub fn suspicious(&self, line: &[u8]) -> bool {
        let mut weak = false;
        for found in self.all.find_iter(line) {
            if found.pattern().as_usize() < PHRASES.len() {
                return true;
            }
            weak = true;
        }
        weak && self.failed.is_match(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_logins_are_told_from_other_lines_by_their_words() {
        let words = Words::new();
        for line in [
            "LOGIN FAILED, user=bob",
            "Authentication Failure for bob",
            "530 5.7.0 SASL mechanism X has failed",
            "badlogin: mx [203.0.113.7] plain",
            "relay=x said: 535 5.7.8",
            "access denied",
        ] {
            assert!(words.suspicious(line.as_bytes()), "{line}");
        }
        for line in [
            "connect from unknown[203.0.113.7]",
            "login: bob plain",
            "queue 4XyZ535ab active",
            "it failed",
            "",
        ] {
            assert!(!words.suspicious(line.as_bytes()), "{line}");
        }
    }

    // Leftmost-first: a weak word that begins where a phrase does must not hide it, nor one inside.
    #[test]
    fn a_weak_word_hides_no_phrase() {
        let words = Words::new();
        for phrase in PHRASES {
            assert!(words.suspicious(format!("x {phrase} y").as_bytes()), "{phrase}");
        }
        assert!(words.suspicious(b"sasl login incorrect"));
    }
}
