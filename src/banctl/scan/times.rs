//! [`Times`]: the first and the last of some times.

use crate::time::Timestamp;

/// See the module. Small, and without a case for none: there is one for each address and account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    first: Timestamp,
    /// Before `first` while there is none.
    last: Timestamp,
}

impl Default for Times {
    fn default() -> Times {
        Times { first: Timestamp::from_micros(i64::MAX), last: Timestamp::from_micros(i64::MIN) }
    }
}

impl Times {
    pub fn add(&mut self, time: Timestamp) {
        self.join(Times { first: time, last: time });
    }

    pub fn join(&mut self, other: Times) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// `None`: there was no time.
    pub fn ends(self) -> Option<(Timestamp, Timestamp)> {
        (self.first <= self.last).then_some((self.first, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_the_earliest_and_the_latest() {
        let mut times = Times::default();
        times.join(Times::default());
        assert_eq!(times.ends(), None);
        let at = Timestamp::from_secs;
        [5, 3, 4].map(at).into_iter().for_each(|time| times.add(time));
        assert_eq!(times.ends(), Some((at(3), at(5))));
        times.join(Times { first: at(4), last: at(9) });
        assert_eq!(times.ends(), Some((at(3), at(9))));
    }
}
