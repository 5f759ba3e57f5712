//! What portero's own filters know of the lines that filters of fail2ban read: which account was tried, and who logged
//! in well. fail2ban's filters name the account in some lines only and know no good logins, so that without this the
//! helpdesk's question, `banctl why alice@example.org`, would have no answer for a jail of fail2ban.
//!
//! A witness counts nothing and bans nobody: who failed, and how often, is for the jail's own filter to say.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::addr::Host;
use crate::filter::{Attempt, Context, Filter, FilterSet, FilterSpec, FilterState, Outcome};
use crate::shipped;
use crate::time::Timestamp;

/// Every shipped filter, compiled once.
fn filters() -> &'static [Arc<Filter>] {
    static FILTERS: OnceLock<Vec<Arc<Filter>>> = OnceLock::new();
    FILTERS.get_or_init(|| {
        let load = |name| Filter::shipped(&FilterSpec::normal(name)).expect("the build's tests load it");
        shipped::FILTERS.iter().map(|(name, _)| Arc::new(load(name))).collect()
    })
}

/// The shipped filters on one log beside filters of fail2ban.
pub struct Witness(FilterSet);

/// What a [`Witness`] remembers of one log: sessions that are open. It is not stored: what a restart forgets is the
/// account of a failure whose session began before it.
#[derive(Debug, Default)]
pub struct Memory {
    sessions: FilterState,
    block: Accounts,
}

/// What the failures of one block tell of their accounts, in the order of lines.
#[derive(Debug, Default)]
pub struct Accounts {
    told: Vec<Told>,
    /// Texts of all of them. Memory is reused from block to block.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Told {
    line_index: usize,
    host: Option<Host>,
    /// Ends in `text`: of the account, which begins where the entry before ends, and of the password's hash after it.
    user_end: usize,
    pwhash_end: usize,
}

impl Witness {
    /// `read`: names of native filters that jails have on the same log; these speak for themselves.
    pub fn new(context: Context, read: &[&str]) -> Witness {
        let silent = |filter: &&Arc<Filter>| !read.contains(&filter.name.as_str());
        Witness(FilterSet::new(filters().iter().filter(silent).cloned().collect(), context))
    }

    /// Reads a block ahead of fail2ban's filters. Good logins go to `sink`, what failures tell is the answer.
    pub fn scan<'m>(
        &self,
        memory: &'m mut Memory,
        now: Timestamp,
        block: &[u8],
        sink: &mut dyn FnMut(Attempt<'_>),
    ) -> &'m Accounts {
        let Memory { sessions, block: accounts } = memory;
        accounts.told.clear();
        accounts.text.clear();
        self.0.scan(sessions, now, block, &mut |attempt| match attempt.outcome {
            Outcome::Success => sink(attempt),
            Outcome::Failure => accounts.hear(&attempt),
        });
        accounts
    }
}

impl Accounts {
    fn hear(&mut self, attempt: &Attempt<'_>) {
        self.text.extend_from_slice(attempt.user.unwrap_or_default());
        let user_end = self.text.len();
        self.text.extend_from_slice(attempt.pwhash.unwrap_or_default());
        let pwhash_end = self.text.len();
        self.told.push(Told { line_index: attempt.line_index, host: attempt.host, user_end, pwhash_end });
    }

    /// Lends `attempt`, a failure, the account and the password's hash where its own filter found none. A line tells of
    /// one attempt; where several witnesses read it, one who found the same peer goes first. The peer itself is never
    /// lent: a witness trusts other proxies than the jail's own patterns do.
    pub fn lend<'a>(&'a self, mut attempt: Attempt<'a>) -> Attempt<'a> {
        let first = self.told.partition_point(|told| told.line_index < attempt.line_index);
        let of_line = |(_, told): &(usize, &Told)| told.line_index == attempt.line_index;
        let told = self.told.iter().enumerate().skip(first).take_while(of_line);
        let (agree, differ): (SmallVec<[_; 2]>, SmallVec<[_; 2]>) =
            told.partition(|(_, told)| attempt.host.is_some() && told.host == attempt.host);
        for (at, told) in agree.into_iter().chain(differ) {
            let begin = at.checked_sub(1).map_or(0, |before| self.told[before].pwhash_end);
            let user = &self.text[begin..told.user_end];
            let pwhash = &self.text[told.user_end..told.pwhash_end];
            attempt.user = attempt.user.or(Some(user).filter(|user| !user.is_empty()));
            attempt.pwhash = attempt.pwhash.or(Some(pwhash).filter(|hash| !hash.is_empty()));
        }
        attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::peer::TrustedProxies;

    const LINES: &[u8] = b"\
Nov 27 12:00:00 mail postfix/smtpd[7]: warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x, sasl_username=alice@example.org\n\
Nov 27 12:00:01 mail postfix/qmgr[8]: ABC: removed\n\
Nov 27 12:00:02 mail postfix/smtpd[7]: warning: unknown[203.0.113.8]: SASL PLAIN authentication failed: x\n\
Nov 27 12:00:03 mail postfix/smtpd[7]: 4DEF0: client=office[192.0.2.9], sasl_method=PLAIN, sasl_username=carol@example.org\n";

    fn context() -> Context {
        Context {
            timezone: chrono_tz::UTC,
            year: None,
            trusted_proxies: TrustedProxies::default(),
            sessions_max: 10,
        }
    }

    fn failure(host: &str, line_index: usize) -> Attempt<'static> {
        Attempt {
            outcome: Outcome::Failure,
            host: Some(host.parse().expect("an address")),
            user: None,
            pwhash: None,
            time: None,
            times: 1,
            line: b"",
            line_index,
            filter: 0,
            pattern: 0,
            beside: Default::default(),
        }
    }

    fn user(accounts: &Accounts, attempt: Attempt<'_>) -> Option<String> {
        accounts.lend(attempt).user.map(|user| String::from_utf8(user.to_vec()).expect("text"))
    }

    #[test]
    fn an_account_is_lent_to_a_failure_of_the_same_line_only() {
        let witness = Witness::new(context(), &[]);
        let mut memory = Memory::default();
        let accounts = witness.scan(&mut memory, Timestamp::from_secs(1_795_781_000), LINES, &mut |_| {});
        assert_eq!(user(accounts, failure("203.0.113.7", 0)).as_deref(), Some("alice@example.org"));
        assert_eq!(
            user(accounts, failure("203.0.113.9", 0)).as_deref(),
            Some("alice@example.org"),
            "behind a proxy"
        );
        assert_eq!(user(accounts, failure("203.0.113.7", 1)), None, "another line");
        assert_eq!(user(accounts, failure("203.0.113.8", 2)), None, "the line names none");
        let own = Attempt { user: Some(b"bob"), ..failure("203.0.113.7", 0) };
        assert_eq!(user(accounts, own).as_deref(), Some("bob"), "the jail's own filter goes first");
    }

    #[test]
    fn good_logins_are_told_unless_a_native_jail_tells_them() {
        let told = |read: &[&str]| {
            let mut told = Vec::new();
            let mut memory = Memory::default();
            let now = Timestamp::from_secs(1_795_781_000);
            Witness::new(context(), read).scan(&mut memory, now, LINES, &mut |attempt| {
                assert_eq!(attempt.outcome, Outcome::Success);
                told.push(attempt.user.expect("it has one").to_vec());
            });
            told
        };
        assert_eq!(told(&[]), [b"carol@example.org"]);
        let native: Vec<&str> = shipped::FILTERS.iter().map(|(name, _)| *name).collect();
        assert!(told(&native).is_empty());
    }
}
