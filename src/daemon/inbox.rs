//! What other threads have for the loop: requests, signals, answers they were asked for.
//!
//! The loop waits for descriptors only, so that a line of a log wakes it on the shortest way; whoever posts a letter
//! rings a bell that is one of them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::lookups;
use super::names;
use super::requests::Later;
use crate::action::Report;
use crate::control::server::Call;
use crate::store;

/// Letters taken between two blocks of a log. More wait for the next turn.
const TURN_MAX: usize = 64;

/// One thing for the loop to do.
pub enum Letter {
    /// A client's request.
    Call(Call),
    /// What waited for the store.
    Later(Later),
    /// Addresses of a name in ignoreip.
    Name(names::Answer),
    /// Addresses of a name in a log.
    Lookup(lookups::Answer),
    Store(store::Event),
    Report(Report),
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    End,
}

/// The loop's end.
pub struct Inbox {
    letters: Receiver<Letter>,
    bell: Arc<EventFd>,
}

/// Where letters are posted, from any thread. They never wait, so whoever posts has a bound of its own on what it has
/// under way.
#[derive(Clone)]
pub struct Letters {
    letters: Sender<Letter>,
    bell: Arc<EventFd>,
}

/// An empty inbox and its letter box.
///
/// # Errors
/// No descriptor is to be had.
pub fn inbox() -> std::io::Result<(Letters, Inbox)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let bell = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, letters) = mpsc::channel();
    Ok((Letters { letters: sender, bell: bell.clone() }, Inbox { letters, bell }))
}

impl Letters {
    /// False: the loop has ended, and nobody reads it.
    pub fn post(&self, letter: Letter) -> bool {
        let posted = self.letters.send(letter).is_ok();
        ring(&self.bell);
        posted
    }
}

/// Fails only where it has been rung four thousand million million times unheard, and then it still rings.
fn ring(bell: &EventFd) {
    let _ = bell.write(1);
}

impl Inbox {
    /// Readable while letters wait.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The letters that wait, so many as are taken in one turn. To be called when the bell was heard.
    pub fn letters(&self) -> impl Iterator<Item = Letter> {
        // First this: who posts from now on rings anew.
        let _ = self.bell.read();
        let mut left = TURN_MAX;
        std::iter::from_fn(move || {
            if left == 0 {
                ring(&self.bell);
                return None;
            }
            left -= 1;
            self.letters.try_recv().ok()
        })
    }
}

/// The signals that the daemon heeds.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on none of them ends the process. Within the runtime only.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn heed() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Posts the clients' requests and the signals, until the loop has ended; the clients' servers see that by `calls`.
pub async fn forward(mut calls: tokio::sync::mpsc::Receiver<Call>, signals: Signals, letters: Letters) {
    let Signals { mut terminate, mut interrupt, mut hangup } = signals;
    loop {
        let letter = tokio::select! {
            Some(call) = calls.recv() => Letter::Call(call),
            _ = terminate.recv() => Letter::End,
            _ = interrupt.recv() => Letter::End,
            _ = hangup.recv() => Letter::Reload,
        };
        if !letters.post(letter) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::waits::{Source, Waits};
    use std::time::Duration;

    #[test]
    fn letters_ring_until_all_are_taken_and_each_turn_takes_some() {
        let (letters, inbox) = inbox().expect("an inbox");
        let mut waits = Waits::new().expect("epoll");
        waits.add(inbox.bell(), Source::Letters).expect("epoll");
        let mut heard = || waits.wait(Some(Duration::ZERO)).expect("epoll").by(Source::Letters);
        assert!(!heard());
        for _ in 0..TURN_MAX + 1 {
            let letters = letters.clone();
            std::thread::spawn(move || assert!(letters.post(Letter::Reload))).join().expect("no panic");
        }
        assert!(heard());
        assert_eq!(inbox.letters().count(), TURN_MAX);
        assert!(heard());
        assert_eq!(inbox.letters().count(), 1);
        assert!(!heard());
        drop(inbox);
        assert!(!letters.post(Letter::End));
    }
}
