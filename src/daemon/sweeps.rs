//! When the engine looks at what no event tells: often while something goes on, seldom on a quiet host.

use std::time::Duration;

/// How often paths, globs and network file systems are looked at, and ended bans are noticed.
pub const SWEEP: Duration = Duration::from_secs(2);

/// The same once there was nothing but sweeps for [`CALM_SWEEPS`], and the kernel tells all that can happen to a log.
const CALM_SWEEP: Duration = Duration::from_secs(8);
const CALM_SWEEPS: u32 = 5;

/// How the sweeps go.
pub struct Sweeps {
    /// When the last was, by the monotonic clock.
    last: Duration,
    /// How many there were; a long pause counts as several.
    passed: u32,
    /// How many there were since something happened.
    calm: u32,
    /// The next one is further away than [`SWEEP`].
    resting: bool,
}

impl Sweeps {
    pub fn new(now: Duration) -> Sweeps {
        Sweeps { last: now, passed: 0, calm: 0, resting: false }
    }

    /// Begins one at `now`, of the monotonic clock. Answers whether something is due in it that is to be done every so
    /// many sweeps.
    pub fn begin(&mut self, now: Duration) -> impl Fn(u32) -> bool + use<> {
        let pause = now.saturating_sub(self.last) + SWEEP / 2;
        let passed = u32::try_from(pause.as_millis() / SWEEP.as_millis()).unwrap_or(u32::MAX).max(1);
        let before = self.passed;
        let after = before.wrapping_add(passed);
        (self.last, self.passed, self.calm) = (now, after, self.calm.saturating_add(1));
        move |every| before / every != after / every
    }

    /// How long to wait for the next one. `quiet`: nothing is known that needs looking at. `end`: what is left until a
    /// ban, a grace or an allow entry ends, which is noticed as late as ever.
    pub fn pause(&mut self, quiet: bool, end: Option<Duration>) -> Duration {
        self.resting = quiet && self.calm > CALM_SWEEPS;
        match self.resting {
            true => end.unwrap_or(CALM_SWEEP).clamp(SWEEP, CALM_SWEEP),
            false => SWEEP,
        }
    }

    /// Something happened. True: the next sweep is far away, and should be after [`SWEEP`] from now.
    pub fn stir(&mut self) -> bool {
        self.calm = 0;
        std::mem::take(&mut self.resting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_every_so_many_sweeps_is_done_as_often_when_they_are_further_apart() {
        let mut sweeps = Sweeps::new(Duration::ZERO);
        for (pause, times) in [(2000, 240), (8000, 60), (2600, 100), (7400, 40)] {
            let before = sweeps.passed;
            let mut done = 0;
            for _ in 0..times {
                let due = sweeps.begin(sweeps.last + Duration::from_millis(pause));
                done += u32::from(due(8));
            }
            assert_eq!(done, sweeps.passed / 8 - before / 8, "{pause} ms");
        }
        // A host that slept for a week.
        let due = sweeps.begin(sweeps.last + Duration::from_secs(7 * 86_400));
        assert!(due(8) && due(16));
    }

    #[test]
    fn sweeps_are_far_apart_only_on_a_quiet_host_and_near_again_once_something_happens() {
        let mut sweeps = Sweeps::new(Duration::ZERO);
        let pauses = |sweeps: &mut Sweeps, quiet, end| {
            sweeps.begin(sweeps.last + SWEEP)(1);
            sweeps.pause(quiet, end)
        };
        for _ in 0..CALM_SWEEPS {
            assert_eq!(pauses(&mut sweeps, true, None), SWEEP);
        }
        assert!(!sweeps.stir());
        for _ in 0..CALM_SWEEPS {
            assert_eq!(pauses(&mut sweeps, true, None), SWEEP);
        }
        assert_eq!(pauses(&mut sweeps, true, None), CALM_SWEEP);
        assert_eq!(pauses(&mut sweeps, true, Some(Duration::from_secs(5))), Duration::from_secs(5));
        assert_eq!(pauses(&mut sweeps, true, Some(Duration::ZERO)), SWEEP);
        assert_eq!(pauses(&mut sweeps, false, None), SWEEP);
        assert_eq!(pauses(&mut sweeps, true, None), CALM_SWEEP);
        assert!(sweeps.stir() && !sweeps.stir());
        assert_eq!(pauses(&mut sweeps, true, None), SWEEP);
    }
}
