//! Jails that count bans: who is banned again and again, by whatever jails, is banned for longer and on all ports.
//!
//! fail2ban does it with a filter that reads its own log; the same bans come of it. A ban of another jail is one
//! failure, by rule or by hand; one that was put back at a start, or put in the place of a ban in force, is none.
//! A network counts where the jail counts by networks as wide.

use super::keymap::Key;
use super::{Action, Ban, JailId, Jails};
use crate::time::Timestamp;

impl Jails {
    /// Shows a ban that was just made to the jails that count bans; what comes of it is pushed to `out`.
    ///
    /// Bans of such jails count in the others of them. That ends: each can ban the target once, since it is shut
    /// out there from then on.
    pub(super) fn tell_of_ban(&mut self, now: Timestamp, ban: &Ban, out: &mut Vec<Action>) {
        let counts = |id: &JailId| {
            let settings = self.settings(*id);
            settings.recidive.as_ref().is_some_and(|except| *except != ban.jail) && settings.name != ban.jail
        };
        let counting: Vec<JailId> = self.ids().filter(counts).collect();
        for jail in counting {
            self.count_ban(now, jail, ban, out);
        }
    }

    fn count_ban(&mut self, now: Timestamp, jail: JailId, ban: &Ban, out: &mut Vec<Action>) {
        let (host, at) = (ban.target.base(), ban.since);
        let net = self.settings(jail).key_of(host);
        if !net.covers(ban.target) || self.leaves_alone(at, jail, host, None, 1) {
            return;
        }
        self.count_failures(jail, 1);
        let shut_out = self.bans.covering(jail, host).and_then(|key| self.bans.get(key));
        if shut_out.is_none_or(|held| held.until <= at) {
            self.count(now, Key { jail, net }, at, 1, out);
        }
    }
}
