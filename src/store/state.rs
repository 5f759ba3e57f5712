//! Changes as keys and values: the form in which the state lies in the database.
//!
//! The first byte of a key is its kind; networks come before jail names, so that the bans of one target, and
//! of the targets around it, lie together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::DeserializeOwned;

use super::codec::{open_value, seal_value};
use super::record::{Change, Subject};
use crate::addr::{Host, Net};
use crate::jail::{Ban, JailName, Origin};
use crate::time::Timestamp;

/// The database's own record: how far it has come.
pub(super) const META_KEY: &[u8] = &[0];
const BAN: u8 = 1;
const WINDOW: u8 = 2;
const HISTORY: u8 = 3;
const COUNTERS: u8 = 4;
const POSITION: u8 = 5;
const GRACE: u8 = 6;
const ALLOW: u8 = 7;
const TAKEN: u8 = 8;

/// What a ban's key does not say.
type BanValue = (Timestamp, Option<Timestamp>, u32, u32, Origin, Option<String>, bool);

fn push_net(key: &mut Vec<u8>, net: Net) {
    match net.base().ip() {
        IpAddr::V4(ip) => {
            key.push(4);
            key.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            key.push(6);
            key.extend_from_slice(&ip.octets());
        }
    }
    key.push(net.prefix());
}

fn take_net(key: &[u8]) -> Option<(Net, &[u8])> {
    let (&family, rest) = key.split_first()?;
    let (ip, rest): (IpAddr, &[u8]) = match family {
        4 => (<[u8; 4]>::try_from(rest.get(..4)?).ok()?.into(), &rest[4..]),
        6 => (<[u8; 16]>::try_from(rest.get(..16)?).ok()?.into(), &rest[16..]),
        _ => return None,
    };
    let (&prefix, rest) = rest.split_first()?;
    let base = Host::new(ip);
    // ::ffff:0:0/96 would come back as IPv4; such a network is never banned, and is kept from confusing.
    (base.is_ipv4() == (family == 4)).then(|| (Net::of(base, prefix), rest))
}

fn push_subject(key: &mut Vec<u8>, subject: &Subject) {
    match subject {
        Subject::Net(net) => push_net(key, *net),
        Subject::Account(name) => {
            key.push(b'@');
            key.extend_from_slice(&(name.len() as u32).to_be_bytes());
            key.extend_from_slice(name.as_bytes());
        }
    }
}

fn take_subject(key: &[u8]) -> Option<(Subject, &[u8])> {
    if key.first() != Some(&b'@') {
        return take_net(key).map(|(net, rest)| (Subject::Net(net), rest));
    }
    let length = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?) as usize;
    let name = String::from_utf8(key.get(5..5 + length)?.to_vec()).ok()?;
    Some((Subject::Account(name), &key[5 + length..]))
}

pub(super) fn ban_key(jail: &JailName, target: Net) -> Vec<u8> {
    let mut key = vec![BAN];
    push_net(&mut key, target);
    key.extend_from_slice(jail.as_str().as_bytes());
    key
}

pub(super) fn is_ban_key(key: &[u8]) -> bool {
    key.first() == Some(&BAN)
}

/// The key that `change` sets or removes; `None`: it is evidence and leaves no state.
pub(super) fn key_of(change: &Change) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(32);
    match change {
        Change::Ban(ban) => return Some(ban_key(&ban.jail, ban.target)),
        Change::Unban(unban) => return Some(ban_key(&unban.jail, unban.target)),
        Change::Window { jail, key: subject, .. } => {
            key.push(WINDOW);
            push_subject(&mut key, subject);
            key.extend_from_slice(jail.as_str().as_bytes());
        }
        Change::History { jail, target, .. } => {
            key.push(HISTORY);
            push_net(&mut key, *target);
            key.extend_from_slice(jail.as_ref().map_or("", |jail| jail.as_str()).as_bytes());
        }
        Change::Counters { jail, .. } => {
            key.push(COUNTERS);
            key.extend_from_slice(jail.as_str().as_bytes());
        }
        Change::Position { path, .. } => {
            key.push(POSITION);
            key.extend_from_slice(path.as_os_str().as_bytes());
        }
        Change::Grace { subject, .. } => {
            key.push(GRACE);
            push_subject(&mut key, subject);
        }
        Change::Allow { entry, .. } => {
            key.push(ALLOW);
            key.extend_from_slice(entry.as_bytes());
        }
        Change::Taken { jail, target, .. } => {
            key.push(TAKEN);
            push_net(&mut key, *target);
            key.extend_from_slice(jail.as_str().as_bytes());
        }
        Change::Attempt(_) | Change::Audit(_) => return None,
    }
    Some(key)
}

/// The value that `change` sets under `key`; `None`: it removes it.
pub(super) fn value_of(key: &[u8], change: &Change) -> Option<Vec<u8>> {
    match change {
        Change::Ban(ban) => {
            let value: (_, _, _, _, _, &Option<String>, _) =
                (ban.since, ban.until, ban.failures, ban.count, ban.origin, &ban.reason, ban.effective);
            Some(seal_value(key, &value))
        }
        // As a plain Vec would be: the bytes are short, and their length comes first.
        Change::Window { window, .. } => window.as_ref().map(|window| seal_value(key, window)),
        Change::History { history, .. } => history.as_ref().map(|value| seal_value(key, value)),
        Change::Counters { counters, .. } => counters.as_ref().map(|value| seal_value(key, value)),
        Change::Position { record, .. } => record.as_ref().map(|value| seal_value(key, value)),
        Change::Grace { grace, .. } => grace.as_ref().map(|value| seal_value(key, value)),
        Change::Allow { allow, .. } => allow.as_ref().map(|value| seal_value(key, value)),
        Change::Taken { taken, .. } => taken.as_ref().map(|value| seal_value(key, value)),
        Change::Unban(_) | Change::Attempt(_) | Change::Audit(_) => None,
    }
}

/// Jail names seen while reading; a million bans share a few of them.
#[derive(Default)]
pub(super) struct Names(HashMap<Vec<u8>, JailName>);

impl Names {
    fn get(&mut self, name: &[u8]) -> Option<JailName> {
        if let Some(known) = self.0.get(name) {
            return Some(known.clone());
        }
        let jail = JailName::new(std::str::from_utf8(name).ok()?)?;
        self.0.insert(name.to_vec(), jail.clone());
        Some(jail)
    }
}

/// The change that a key and its value stand for; `None`: not what was written.
pub(super) fn read_state(key: &[u8], value: &[u8], names: &mut Names) -> Option<Change> {
    fn open<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Option<T> {
        postcard::from_bytes(open_value(key, value)?).ok()
    }
    let (&kind, rest) = key.split_first()?;
    Some(match kind {
        BAN => {
            let (target, jail) = take_net(rest)?;
            let (since, until, failures, count, origin, reason, effective): BanValue = open(key, value)?;
            let jail = names.get(jail)?;
            Change::Ban(Ban { jail, target, since, until, failures, count, origin, reason, effective })
        }
        WINDOW => {
            let (subject, jail) = take_subject(rest)?;
            Change::Window { jail: names.get(jail)?, key: subject, window: Some(open(key, value)?) }
        }
        HISTORY => {
            let (target, jail) = take_net(rest)?;
            let jail = if jail.is_empty() { None } else { Some(names.get(jail)?) };
            Change::History { jail, target, history: Some(open(key, value)?) }
        }
        COUNTERS => Change::Counters { jail: names.get(rest)?, counters: Some(open(key, value)?) },
        POSITION => {
            let path = std::ffi::OsString::from_vec(rest.to_vec()).into();
            Change::Position { path, record: Some(open(key, value)?) }
        }
        GRACE => Change::Grace { subject: take_subject(rest)?.0, grace: Some(open(key, value)?) },
        ALLOW => {
            let entry = String::from_utf8(rest.to_vec()).ok()?;
            Change::Allow { entry, allow: Some(open(key, value)?) }
        }
        TAKEN => {
            let (target, jail) = take_net(rest)?;
            Change::Taken { jail: names.get(jail)?, target, taken: Some(open(key, value)?) }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Position;
    use crate::store::record::{Allow, Counters, Grace, History, PositionRecord, Taken, Unban, UnbanCause};

    pub(crate) fn one_of_each() -> Vec<Change> {
        let jail = JailName::new("postfix-sasl").unwrap();
        let at = Timestamp::from_secs(1_795_300_000);
        let net = |text: &str| text.parse::<Net>().unwrap();
        let ban = |target| Ban {
            jail: jail.clone(),
            target: net(target),
            since: at,
            until: None,
            failures: 5,
            count: 2,
            origin: Origin::Jail,
            reason: Some("because".into()),
            effective: true,
        };
        let alice = Subject::Account("alice@example.org".into());
        vec![
            Change::Ban(ban("203.0.113.7")),
            Change::Ban(ban("2001:db8:1::/64")),
            Change::Window {
                jail: jail.clone(),
                key: net("203.0.113.8").into(),
                window: Some(vec![1, 200, 3]),
            },
            Change::Window { jail: jail.clone(), key: alice.clone(), window: Some(vec![]) },
            Change::History { jail: None, target: net("203.0.113.7"), history: Some(History::default()) },
            Change::History {
                jail: Some(jail.clone()),
                target: net("::/0"),
                history: Some(History::default()),
            },
            Change::Taken {
                jail: jail.clone(),
                target: net("203.0.113.7"),
                taken: Some(Taken { since: at, until: None }),
            },
            Change::Counters { jail, counters: Some(Counters { failures: 9, successes: 8, bans: 7 }) },
            Change::Position {
                path: std::ffi::OsString::from_vec(b"/var/log/ma\xffil.log".to_vec()).into(),
                record: Some(PositionRecord {
                    position: Position::default(),
                    filter_state: Some(vec![9; 40]),
                }),
            },
            Change::Grace { subject: alice, grace: Some(Grace { until: at, by: None, reason: None }) },
            Change::Allow {
                entry: "office.example.org".into(),
                allow: Some(Allow { since: at, until: None, by: Some("root".into()), reason: None }),
            },
        ]
    }

    #[test]
    fn every_kind_of_state_comes_back_from_its_key_and_value() {
        let mut names = Names::default();
        for change in one_of_each() {
            let key = key_of(&change).unwrap();
            let value = value_of(&key, &change).unwrap();
            assert_eq!(read_state(&key, &value, &mut names), Some(change));
        }
    }

    #[test]
    fn an_unban_removes_the_key_of_its_ban() {
        let Change::Ban(ban) = one_of_each().remove(0) else { panic!("the first is a ban") };
        let key = ban_key(&ban.jail, ban.target);
        let unban = Change::Unban(Unban {
            jail: ban.jail.clone(),
            target: ban.target,
            at: ban.since,
            cause: UnbanCause::Person,
            by: None,
            reason: None,
            ban: None,
        });
        assert_eq!(key_of(&unban), Some(key.clone()));
        assert_eq!(value_of(&key, &unban), None);
    }
}
