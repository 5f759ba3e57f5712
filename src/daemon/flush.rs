//! `portero --flush`: all bans end, and the table goes.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Failed, backend, firewall_failed, open_store, store_failed};
use crate::addr::Net;
use crate::config::Config;
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::jail::{Ban, JailName};
use crate::store::{Change, Frame, History, Store, StoreError, Unban, UnbanCause};
use crate::time::{Clock, SystemClock, Timestamp};

/// Asks a running daemon, else removes the table itself and notes that its bans have ended.
pub(super) fn flush(config: &Config) -> Result<(), Failed> {
    if let Ok(mut client) = Client::connect(&config.socket.path) {
        let done = client.call(Request::Flush).map(|_| ());
        return done.map_err(|error| Failed(error.message, error.code.exit_code()));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let now = clock.now();
    let mut store = open_store(config, now)?;
    end_all(&mut *store, now).map_err(store_failed)?;
    let mut firewall = backend(config, clock)?;
    firewall.flush().map_err(firewall_failed)
}

/// Ends every ban on record. A first ban told its history by being in force: that is written out.
fn end_all(store: &mut dyn Store, now: Timestamp) -> Result<(), StoreError> {
    let mut bans: Vec<Ban> = Vec::new();
    let mut told: HashSet<(JailName, Net)> = HashSet::new();
    store.load(&mut |change| match change {
        Change::Ban(ban) => bans.push(ban),
        Change::History { jail: Some(jail), target, .. } => {
            told.insert((jail, target));
        }
        _ => {}
    })?;
    let mut frame = Frame::new(now);
    for ban in bans {
        let tells = ban.tells_history();
        let Ban { jail, target, count, .. } = ban;
        if tells && !told.contains(&(jail.clone(), target)) {
            let history = History { count, last_until: Some(now), ..History::default() };
            let jail = Some(jail.clone());
            frame.changes.push(Change::History { jail, target, history: Some(history) });
        }
        frame.changes.push(Change::Unban(Unban {
            jail,
            target,
            at: now,
            cause: UnbanCause::Flush,
            by: Some("portero --flush".to_owned()),
            reason: None,
            ban: None,
        }));
    }
    store.commit(&mut [frame])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::store::MemoryStore;

    #[test]
    fn what_a_first_ban_told_by_being_in_force_is_kept() {
        let jail = JailName::new("postfix-sasl").unwrap();
        let (since, now) = (Timestamp::from_secs(1_795_300_000), Timestamp::from_secs(1_795_300_600));
        let ban =
            |target: &str, count| Ban { since, count, ..Ban::example(jail.clone(), target.parse().unwrap()) };
        let told = History { count: 4, last_since: since, last_until: None };
        let again = ban("203.0.113.8", 4);
        let mut frame = Frame::new(since);
        let history = Change::History { jail: Some(jail.clone()), target: again.target, history: Some(told) };
        frame.changes = vec![Change::Ban(ban("203.0.113.7", 1)), Change::Ban(again), history];
        let mut store = MemoryStore::new(&Limits::default());
        store.commit(&mut [frame]).unwrap();

        end_all(&mut store, now).unwrap();
        let mut left = Vec::new();
        store
            .load(&mut |change| match change {
                Change::History { target, history: Some(history), .. } => {
                    left.push((target.to_string(), history.count, history.last_until));
                }
                Change::Ban(ban) => panic!("{} is still banned", ban.target),
                _ => {}
            })
            .unwrap();
        left.sort();
        assert_eq!(left, [("203.0.113.7".to_owned(), 1, Some(now)), ("203.0.113.8".to_owned(), 4, None)]);
    }
}
