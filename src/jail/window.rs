//! [`Window`]: the failures of one key that may still lead to a ban.
//!
//! The window is strict: `maxretry` failures ban if the last and the first of them are at most `findtime`
//! apart. Failures may come out of order, as when two logs are read one after the other; they count by their
//! own time all the same.
//!
//! Size is what matters here, since an attacker decides how many there are: 24 bytes hold up to four failures,
//! one boxed array up to nine (`maxretry` 10), a vector the rest.

use std::time::Duration;

use crate::time::Timestamp;

/// Written in front of a stored window.
const VERSION: u8 = 1;

/// Failures of one key, ascending, never empty. Times are kept to the millisecond, rounded up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// The first failure, milliseconds since the epoch.
    first: i64,
    rest: Rest,
}

/// Failures enough for a ban.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ripe {
    /// The last of them: the ban counts from here.
    pub last: Timestamp,
    /// How many there are within findtime before it; at least maxretry.
    pub failures: u32,
}

/// The failures after the first, milliseconds after it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rest {
    Few(u8, [u32; 3]),
    Some(u8, Box<[u32; 8]>),
    /// Also where two failures are more than 49 days apart.
    #[expect(clippy::box_collection, reason = "a vector's three words would make every window larger")]
    Many(Box<Vec<i64>>),
}

/// The room of a window that is gone, for one that grows: asking the system for it would make a ban wait.
pub(super) type Spare = Option<Box<[u32; 8]>>;

impl Window {
    pub fn new(at: Timestamp) -> Window {
        Window { first: millis(at), rest: Rest::Few(0, [0; 3]) }
    }

    pub fn len(&self) -> usize {
        1 + match &self.rest {
            Rest::Few(len, _) | Rest::Some(len, _) => usize::from(*len),
            Rest::Many(rest) => rest.len(),
        }
    }

    pub fn first(&self) -> Timestamp {
        timestamp(self.first)
    }

    pub fn last(&self) -> Timestamp {
        timestamp(match &self.rest {
            Rest::Few(0, _) | Rest::Some(0, _) => self.first,
            Rest::Few(len, rest) => self.first + i64::from(rest[usize::from(*len) - 1]),
            Rest::Some(len, rest) => self.first + i64::from(rest[usize::from(*len) - 1]),
            Rest::Many(rest) => self.first + rest.last().copied().unwrap_or(0),
        })
    }

    /// Adds `times` failures at `at`. Ripe: `maxretry` of them, among them a new one, lie within `findtime`.
    ///
    /// Keeps no more than can still matter: what is more than `findtime` older than the newest goes once
    /// something newer comes, and never more than twice `maxretry` stay.
    pub fn push(
        &mut self,
        at: Timestamp,
        times: u32,
        (maxretry, findtime): (u32, Duration),
        spare: &mut Spare,
    ) -> Option<Ripe> {
        let at = millis(at);
        let maxretry = (maxretry.max(1)) as usize;
        let findtime = i64::try_from(findtime.as_millis()).unwrap_or(i64::MAX);
        let mut stamps = self.stamps();
        let newest = stamps.last().is_none_or(|last| at >= *last);
        let place = stamps.partition_point(|stamp| *stamp <= at);
        // More than maxretry at once say no more than maxretry.
        let times = (times.max(1) as usize).min(maxretry);
        stamps.insert_many(place, std::iter::repeat_n(at, times));
        let ripe = stamps
            .windows(maxretry)
            .rfind(|run| run[0] <= at && at <= run[maxretry - 1] && run[maxretry - 1] - run[0] <= findtime);
        let ripe = ripe.map(|run| {
            let last = run[maxretry - 1];
            let within = |stamp: &&i64| **stamp <= last && last - **stamp <= findtime;
            Ripe { last: timestamp(last), failures: stamps.iter().filter(within).count() as u32 }
        });
        if newest {
            let stale = stamps.partition_point(|stamp| at.saturating_sub(*stamp) > findtime);
            stamps.drain(..stale);
        }
        let surplus = stamps.len().saturating_sub(2 * maxretry);
        stamps.drain(..surplus);
        self.set(&stamps, spare);
        ripe
    }

    /// What it leaves behind for another.
    pub fn into_spare(self) -> Spare {
        match self.rest {
            Rest::Some(_, room) => Some(room),
            Rest::Few(..) | Rest::Many(_) => None,
        }
    }

    /// Failures that still count at `now`.
    pub fn open(&self, now: Timestamp, findtime: Duration) -> u32 {
        let from = millis(now.minus(findtime));
        self.stamps().iter().filter(|stamp| **stamp >= from).count() as u32
    }

    fn stamps(&self) -> smallvec::SmallVec<[i64; 16]> {
        let mut stamps = smallvec::SmallVec::new();
        stamps.push(self.first);
        match &self.rest {
            Rest::Few(len, rest) => {
                stamps.extend(rest[..usize::from(*len)].iter().map(|d| self.first + i64::from(*d)))
            }
            Rest::Some(len, rest) => {
                stamps.extend(rest[..usize::from(*len)].iter().map(|d| self.first + i64::from(*d)))
            }
            Rest::Many(rest) => stamps.extend(rest.iter().map(|d| self.first + d)),
        }
        stamps
    }

    /// `stamps`: ascending, not empty.
    fn set(&mut self, stamps: &[i64], spare: &mut Spare) {
        let first = stamps[0];
        let rest = &stamps[1..];
        let narrow = rest.last().is_none_or(|last| last - first <= i64::from(u32::MAX));
        self.first = first;
        if narrow && rest.len() <= 3 {
            let mut few = [0; 3];
            fill(&mut few, first, rest);
            self.rest = Rest::Few(rest.len() as u8, few);
        } else if narrow && rest.len() <= 8 {
            let mut some = [0; 8];
            fill(&mut some, first, rest);
            match &mut self.rest {
                Rest::Some(len, old) => {
                    *len = rest.len() as u8;
                    **old = some;
                }
                _ => {
                    let mut room = spare.take().unwrap_or_default();
                    *room = some;
                    self.rest = Rest::Some(rest.len() as u8, room);
                }
            }
        } else {
            self.rest = Rest::Many(Box::new(rest.iter().map(|stamp| stamp - first).collect()));
        }
    }

    /// For the store: version, first stamp, then the others as distances. Little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stamps = self.stamps();
        let mut bytes = Vec::with_capacity(1 + 8 + 4 * (stamps.len() - 1));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        for pair in stamps.windows(2) {
            // Seven bits at a time, least first; most distances fit into two or three bytes.
            let mut step = (pair[1] - pair[0]) as u64;
            while step >= 0x80 {
                bytes.push(step as u8 | 0x80);
                step >>= 7;
            }
            bytes.push(step as u8);
        }
        bytes
    }

    /// `None`: not written by [`Window::to_bytes`], or by a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Window> {
        /// A window never holds more: see `push` and the cap on maxretry in the configuration.
        const STAMPS_MAX: usize = 1 << 16;
        let (&version, bytes) = bytes.split_first()?;
        let (first, mut bytes) = bytes.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        let mut stamps = vec![i64::from_le_bytes(*first)];
        while !bytes.is_empty() {
            let (mut step, mut shift) = (0u64, 0u32);
            loop {
                let (&byte, rest) = bytes.split_first()?;
                bytes = rest;
                step |= u64::from(byte & 0x7f).checked_shl(shift)?;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            let last = *stamps.last()?;
            stamps.push(last.checked_add(i64::try_from(step).ok()?)?);
            if stamps.len() > STAMPS_MAX {
                return None;
            }
        }
        // Beyond a few thousand years nothing is a time, and distances could overflow.
        let sane = -(1i64 << 50)..(1i64 << 50);
        if !sane.contains(&stamps[0]) || !sane.contains(stamps.last()?) {
            return None;
        }
        let mut window = Window { first: stamps[0], rest: Rest::Few(0, [0; 3]) };
        window.set(&stamps, &mut None);
        Some(window)
    }
}

fn fill(into: &mut [u32], first: i64, rest: &[i64]) {
    for (place, stamp) in into.iter_mut().zip(rest) {
        // The caller has seen that the last one fits.
        *place = (stamp - first) as u32;
    }
}

/// Rounded up: a ban must not date from before the failure that made it, or it would seem to have met it.
fn millis(at: Timestamp) -> i64 {
    let micros = at.micros();
    micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) > 0)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDTIME: Duration = Duration::from_secs(600);

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_secs_f64(1_790_000_000.0 + secs)
    }

    /// Pushes failures one by one; the first that is ripe, if one is.
    fn first_ripe(maxretry: u32, times: &[f64]) -> Option<usize> {
        let mut window: Option<Window> = None;
        times.iter().position(|time| match &mut window {
            Some(window) => window.push(at(*time), 1, (maxretry, FINDTIME), &mut None).is_some(),
            None => {
                window = Some(Window::new(at(*time)));
                maxretry == 1
            }
        })
    }

    #[test]
    fn a_window_is_24_bytes() {
        assert_eq!(size_of::<Window>(), 24);
    }

    #[test]
    fn fifth_failure_inside_findtime_is_ripe() {
        assert_eq!(first_ripe(5, &[0.0, 1.0, 2.0, 3.0, 4.0]), Some(4));
        assert_eq!(first_ripe(5, &[0.0, 1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn first_and_last_exactly_findtime_apart_count_and_a_millisecond_more_does_not() {
        assert_eq!(first_ripe(5, &[0.0, 1.0, 2.0, 3.0, 600.0]), Some(4));
        assert_eq!(first_ripe(5, &[0.0, 1.0, 2.0, 3.0, 600.001]), None);
        assert_eq!(first_ripe(5, &[0.0, 1.0, 2.0, 3.0, 600.5, 601.0]), Some(5));
    }

    #[test]
    fn a_slow_trickle_is_never_ripe() {
        let times: Vec<f64> = (0..500).map(|n| f64::from(n) * 150.1).collect();
        assert_eq!(first_ripe(5, &times), None);
    }

    #[test]
    fn a_ban_dates_from_no_earlier_than_its_last_failure() {
        let mut window = Window::new(at(0.0));
        let last = Timestamp::from_micros(1_790_000_001_019_999);
        let ripe = window.push(last, 1, (2, FINDTIME), &mut None).unwrap();
        assert_eq!(ripe.last, Timestamp::from_micros(1_790_000_001_020_000));
    }

    #[test]
    fn failures_at_one_instant_count_each() {
        assert_eq!(first_ripe(3, &[5.0, 5.0, 5.0]), Some(2));
    }

    #[test]
    fn order_does_not_matter_within_findtime() {
        assert_eq!(first_ripe(5, &[400.0, 100.0, 300.0, 0.0, 200.0]), Some(4));
        assert_eq!(first_ripe(3, &[0.0, 601.0, 300.0]), None);
    }

    #[test]
    fn older_failures_of_a_second_log_count_among_themselves() {
        assert_eq!(first_ripe(5, &[7200.0, 0.0, 1.0, 2.0, 3.0, 4.0]), Some(5));
        let mut both = vec![7200.0, 7201.0, 7202.0, 7203.0];
        both.extend([0.0, 1.0, 2.0, 3.0]);
        assert_eq!(first_ripe(5, &both), None);
        both.push(4.0);
        assert_eq!(first_ripe(5, &both), Some(8));
    }

    #[test]
    fn a_late_failure_makes_a_ban_as_of_the_run_it_completes() {
        let mut window = Window::new(at(0.0));
        for time in [100.0, 700.0, 750.0] {
            window.push(at(time), 1, (3, FINDTIME), &mut None);
        }
        // 100 and 700 and 750 are more than findtime apart; 150 completes 100 to 700, and 150 to 750.
        assert_eq!(
            window.push(at(160.0), 1, (3, FINDTIME), &mut None),
            Some(Ripe { last: at(750.0), failures: 3 })
        );
        let mut window = Window::new(at(0.0));
        for time in [1.0, 601.5] {
            window.push(at(time), 1, (3, FINDTIME), &mut None);
        }
        assert_eq!(window.push(at(2.0), 1, (3, Duration::from_secs(5)), &mut None), None);
    }

    #[test]
    fn repeated_n_times_counts_n() {
        let mut window = Window::new(at(0.0));
        assert_eq!(window.push(at(1.0), 3, (5, FINDTIME), &mut None), None);
        assert_eq!(
            window.push(at(2.0), 1, (5, FINDTIME), &mut None),
            Some(Ripe { last: at(2.0), failures: 5 })
        );
        let mut window = Window::new(at(0.0));
        assert!(window.push(at(1.0), u32::MAX, (5, FINDTIME), &mut None).is_some());
        assert!(window.len() <= 10);
    }

    #[test]
    fn what_is_too_old_leaves() {
        let mut window = Window::new(at(0.0));
        for n in 1..2000 {
            window.push(at(f64::from(n) * 200.0), 1, (5, FINDTIME), &mut None);
            assert!(window.len() <= 4);
        }
        assert_eq!(window.open(at(1999.0 * 200.0), FINDTIME), 4);
        assert_eq!(window.open(at(1999.0 * 200.0 + 601.0), FINDTIME), 0);
    }

    #[test]
    fn long_windows_and_long_findtimes_keep_every_failure() {
        let year = Duration::from_secs(400 * 86_400);
        let mut window = Window::new(at(0.0));
        for n in 1..99 {
            assert_eq!(window.push(at(f64::from(n) * 86_400.0 * 4.0), 1, (100, year), &mut None), None);
        }
        assert_eq!((window.len(), window.first(), window.last()), (99, at(0.0), at(98.0 * 345_600.0)));
        assert!(window.push(at(98.0 * 345_600.0), 1, (100, year), &mut None).is_some());
    }

    #[test]
    fn ripeness_agrees_with_the_definition_on_random_failures_in_order() {
        let mut random = super::super::random::Random::new(3);
        for _ in 0..300 {
            let maxretry = 1 + random.below(12) as usize;
            let mut times: Vec<f64> = (0..40).map(|_| random.below(4000) as f64 / 2.0).collect();
            times.sort_by(f64::total_cmp);
            let want = (maxretry - 1..times.len()).find(|n| times[*n] - times[n + 1 - maxretry] <= 600.0);
            assert_eq!(first_ripe(maxretry as u32, &times), want, "{maxretry} {times:?}");
        }
    }

    #[test]
    fn stored_windows_come_back_and_broken_ones_do_not() {
        let mut random = super::super::random::Random::new(4);
        for _ in 0..500 {
            let mut window = Window::new(at(random.below(10_000) as f64));
            for _ in 0..random.below(30) {
                window.push(
                    at(random.below(10_000) as f64 / 3.0),
                    1,
                    (15, Duration::from_secs(5000)),
                    &mut None,
                );
            }
            let bytes = window.to_bytes();
            assert_eq!(Window::from_bytes(&bytes), Some(window));
            let mut broken = bytes.clone();
            broken[random.below(bytes.len() as u64) as usize] ^= 1 << random.below(8);
            // Anything but a panic or a window that overflows later.
            if let Some(mut window) = Window::from_bytes(&broken) {
                window.push(at(0.0), 1, (15, FINDTIME), &mut None);
                window.last();
            }
        }
        assert_eq!(Window::from_bytes(&[]), None);
        assert_eq!(Window::from_bytes(&[2, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            Window::from_bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]).map(|window| window.len()),
            Some(3)
        );
        assert_eq!(Window::from_bytes(&[255; 100]), None);
    }
}
