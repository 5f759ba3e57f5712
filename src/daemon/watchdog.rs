//! Signs of life for the service manager.

use std::time::Duration;

use sd_notify::NotifyState;

/// Source: WATCHDOG=1 in sd_notify(3).
pub struct Watchdog {
    every: Duration,
    /// When the next sign is due, by the monotonic clock.
    pub due: Duration,
}

impl Watchdog {
    /// `None`: nobody wants signs.
    pub fn wanted(now: Duration) -> Option<Watchdog> {
        // Half the time that it is given.
        sd_notify::watchdog_enabled().map(|most: Duration| Watchdog { every: most / 2, due: now })
    }

    /// Gives a sign if one is due. From the loop itself, so that a loop that hangs gives none.
    pub fn tend(&mut self, now: Duration) {
        if now >= self.due {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.due = now + self.every;
        }
    }
}
