//! Whose connections are to be closed once the firewall shuts them out, and when.
//!
//! The kernel lists sockets by walking all its tables, which takes milliseconds on a large host however few sockets there
//! are. A ban that comes alone is followed at once; in a storm they are taken together.

use std::collections::HashSet;
use std::time::Duration;

use crate::addr::Net;
use crate::jail::JailName;

/// After looking through the sockets nobody looks again for so many times as long as that took.
const REST: u32 = 10;

/// Banned peers whose connections are still to be looked for.
#[derive(Debug, Default)]
pub struct Cuts {
    waiting: HashSet<(JailName, Net)>,
    /// When to look at the earliest, by the monotonic clock.
    next: Duration,
}

impl Cuts {
    pub fn add(&mut self, jail: JailName, target: Net) {
        self.waiting.insert((jail, target));
    }

    /// No longer banned: its connections are its own again.
    pub fn spare(&mut self, jail: &JailName, target: Net) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&(jail.clone(), target));
        }
    }

    /// When [`Cuts::take`] will have something; `None`: nobody waits.
    pub fn due(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Everybody who waits, if it is time to look.
    pub fn take(&mut self, now: Duration) -> Vec<(JailName, Net)> {
        if now < self.next {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting).into_iter().collect()
    }

    /// Looking took from `begun` to `ended`.
    pub fn looked(&mut self, begun: Duration, ended: Duration) {
        self.next = ended + ended.saturating_sub(begun) * REST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_cut_at_once_and_those_of_a_storm_together() {
        let jail = JailName::new("postfix-sasl").unwrap();
        let net = |text: &str| text.parse::<Net>().unwrap();
        let ms = Duration::from_millis;
        let mut cuts = Cuts::default();
        assert_eq!(cuts.due(), None);
        cuts.add(jail.clone(), net("203.0.113.7"));
        assert_eq!(cuts.take(ms(1000)), [(jail.clone(), net("203.0.113.7"))]);
        cuts.looked(ms(1000), ms(1003));
        for target in ["203.0.113.8", "203.0.113.9", "203.0.113.10"] {
            cuts.add(jail.clone(), net(target));
            assert_eq!(cuts.take(ms(1032)), []);
        }
        cuts.spare(&jail, net("203.0.113.9"));
        assert_eq!(cuts.due(), Some(ms(1033)));
        let mut taken = cuts.take(ms(1033));
        taken.sort();
        assert_eq!(taken, [(jail.clone(), net("203.0.113.8")), (jail, net("203.0.113.10"))]);
        assert_eq!(cuts.due(), None);
    }
}
