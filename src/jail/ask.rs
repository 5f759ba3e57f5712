//! Jails that ask before they ban: the question goes out as [`Action::Ask`], the answer comes in here.

use super::keymap::Key;
use super::window::Ripe;
use super::{Action, JailName, Jails};
use crate::addr::Net;
use crate::time::Timestamp;

impl Jails {
    /// The answer to an [`Action::Ask`]: with `ignore` its failures are forgotten, else it is banned, unless it was
    /// banned or became one to be left alone meanwhile.
    pub fn answer(
        &mut self,
        now: Timestamp,
        jail: &JailName,
        target: Net,
        (last, failures): (Timestamp, u32),
        ignore: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(jail) = self.id(jail.as_str()) else { return };
        let key = Key { jail, net: target };
        if self.bans.get(key).is_some() {
            return;
        }
        if ignore || self.leaves_alone(last, jail, target.base(), None, 0) {
            self.forget_window(key);
            return;
        }
        self.ban_by_rule(now, key, Ripe { last, failures }, out);
    }
}
