//! Names in `ignoreip` (DynDNS): asked in the background, the last good answer kept.
//!
//! A lookup may take as long as the resolver likes; nothing waits for it. Names from logs are asked in `lookups`.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::time::Duration;

use crate::addr::Host;

/// How long between two rounds of questions.
const REFRESH: Duration = Duration::from_secs(300);

/// How long until a name is asked again that had no answer.
const RETRY: Duration = Duration::from_secs(30);

/// More addresses than this behind one name are not believed: the rest is left out.
const ADDRESSES_MAX: usize = 64;

/// One name's new answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub name: String,
    pub hosts: Vec<Host>,
}

/// Asks for `names` again and again and sends what changed, until `send` says that nobody hears it.
///
/// A failed lookup sends nothing: the last good answer holds.
pub async fn watch(names: Vec<String>, send: impl Fn(Answer) -> bool) {
    let mut known: BTreeMap<String, Vec<Host>> = BTreeMap::new();
    while !names.is_empty() {
        let mut failed = false;
        for name in &names {
            let question = name.clone();
            match tokio::task::spawn_blocking(move || lookup(&question)).await {
                Ok(Ok(hosts)) if known.get(name) != Some(&hosts) => {
                    known.insert(name.clone(), hosts.clone());
                    if !send(Answer { name: name.clone(), hosts }) {
                        return;
                    }
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    failed = true;
                    tracing::warn!(name, %error, "ignoreip: no address for this name; the last good answer holds");
                }
                Err(_) => return,
            }
        }
        tokio::time::sleep(if failed { RETRY } else { REFRESH }).await;
    }
}

pub(super) fn lookup(name: &str) -> std::io::Result<Vec<Host>> {
    let mut hosts: Vec<Host> =
        (name, 0u16).to_socket_addrs()?.map(|address| Host::new(address.ip())).collect();
    hosts.sort();
    hosts.dedup();
    hosts.truncate(ADDRESSES_MAX);
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_answered_and_a_missing_one_says_nothing() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let names = vec!["does-not-exist.invalid".to_owned(), "localhost".to_owned()];
        let task = tokio::spawn(watch(names, move |answer| sender.send(answer).is_ok()));
        let answer = tokio::task::spawn_blocking(move || receiver.recv().unwrap()).await.unwrap();
        assert_eq!(answer.name, "localhost");
        assert!(answer.hosts.iter().all(|host| host.ip().is_loopback()));
        task.abort();
    }
}
