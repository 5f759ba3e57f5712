//! The loop: waits, and then does in turn what there is to do, on one thread and block by block, so that a question is
//! answered between two blocks. The store's disk work, and talking to clients (`side`), have threads of their own and post
//! letters here.

use std::time::Duration;

use super::engine::Engine;
use super::inbox::{Inbox, Letter};
use super::sweeps::{SWEEP, Sweeps};
use super::waits::{Source, Waits};
use super::watchdog::Watchdog;
use crate::sys::hot::HotCode;
use crate::sys::timer::Alarm;

/// With more keys than these, forgetting old failures step by step needs the sweep.
const QUIET_TRACKED_MAX: usize = 2000;

/// After such a rest the processor's caches are taken to hold other things.
const COLD: Duration = Duration::from_millis(1);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT: bans stay.
    Signal,
    /// A client's `stop`: the same.
    Asked,
    /// `portero --flush`: bans are gone.
    Flushed,
}

impl Engine {
    /// Guards until a signal comes, or somebody asks for the end. What is posted afterwards reaches nobody, and who posts
    /// it learns that.
    ///
    /// # Errors
    /// The kernel gives no events.
    pub fn run(&mut self, inbox: Inbox) -> std::io::Result<Stop> {
        let alarm = Alarm::new()?;
        alarm.set(self.clock.now())?;
        let mut waits = Waits::new()?;
        waits.add(self.tailer.fd(), Source::Logs)?;
        waits.add(alarm.fd(), Source::Alarm)?;
        waits.add(inbox.bell(), Source::Letters)?;
        if let Some(events) = self.enforcer.firewall().event_fd() {
            waits.add(events, Source::Ruleset)?;
        }
        let mut watchdog = Watchdog::wanted(self.clock.monotonic());
        let mut sweeps = Sweeps::new(self.clock.monotonic());
        let hot = HotCode::find();
        // When a log last had something new, by the monotonic clock.
        let mut busy = Duration::ZERO;
        let mut unread = true;
        loop {
            let woken =
                waits.wait(if unread { Some(Duration::ZERO) } else { self.idle_time(watchdog.as_ref()) })?;
            // Whether it was not only we who looked.
            let mut stirred =
                [Source::Logs, Source::Ruleset, Source::Letters].into_iter().any(|it| woken.by(it));
            // Logs before all else: an attacker waits for nobody.
            if woken.by(Source::Logs) {
                let now = self.clock.monotonic();
                if now.saturating_sub(busy) > COLD {
                    hot.fetch();
                }
                busy = now;
                self.tailer.on_events(self.clock.now());
                unread = true;
            }
            if unread {
                unread = self.read();
                // What a sweep looked for and did not find is no event.
                stirred |= unread;
            }
            if woken.by(Source::Ruleset) {
                let now = self.clock.now();
                self.enforcer.on_event(&self.jails, now);
            }
            if woken.by(Source::Letters) {
                for letter in inbox.letters() {
                    if let Some(stop) = self.take(letter) {
                        return Ok(stop);
                    }
                }
                // A reload may have brought logs.
                unread = true;
            }
            if self.enforcer.cut_due().is_some_and(|due| due <= self.clock.monotonic()) {
                self.cut();
                stirred = true;
            }
            if woken.by(Source::Alarm) {
                self.sweep(sweeps.begin(self.clock.monotonic()));
                let (now, end) = (self.clock.now(), self.jails.next_deadline());
                alarm.set(now.plus(sweeps.pause(self.is_quiet(), end.map(|end| end.since(now)))))?;
                unread = true;
            }
            if let Some(watchdog) = &mut watchdog {
                watchdog.tend(self.clock.monotonic());
            }
            if stirred && sweeps.stir() {
                alarm.set(self.clock.now().plus(SWEEP))?;
            }
        }
    }

    /// How long the loop may sleep if nothing wakes it; `None`: as long as it likes.
    fn idle_time(&self, watchdog: Option<&Watchdog>) -> Option<Duration> {
        let due =
            [self.enforcer.cut_due(), watchdog.map(|watchdog| watchdog.due)].into_iter().flatten().min()?;
        Some(due.saturating_sub(self.clock.monotonic()))
    }

    /// Does what a letter says. `Some`: the daemon is to end.
    #[inline(never)]
    fn take(&mut self, letter: Letter) -> Option<Stop> {
        match letter {
            Letter::Call(call) => return self.answer(call),
            Letter::End => return Some(Stop::Signal),
            Letter::Later(later) => later(self),
            Letter::Reload => drop(self.reload()),
            Letter::Store(event) => self.on_store(event),
            Letter::Name(answer) => self.on_name(&answer),
            Letter::Report(report) => self.on_report(report),
            Letter::Lookup(answer) => self.on_lookup(answer),
        }
        None
    }

    /// Whether nothing goes on that needs to be looked at again and again.
    fn is_quiet(&self) -> bool {
        self.enforcer.problem().is_none()
            && self.jails.tracked() <= QUIET_TRACKED_MAX
            && self.tailer.is_told_all()
    }
}
