//! How long a ban lasts: `bantime`, and how it grows with earlier bans.

use std::time::Duration;

use super::formula::Known;
use super::random::Random;
use super::settings::{BANTIME_MAX, Increment};
use crate::time::{Span, Timestamp};

/// As fail2ban's formula: more earlier bans than these make no longer ban.
const GROWTH_STEPS_MAX: u32 = 20;

/// The length of a ban of a target that has `earlier` bans behind it.
///
/// A first ban lasts `bantime`, and so does every ban where increments are off. Then it is `bantime × scale ×
/// factor^earlier`, or what `formula` says, or `bantime × scale × multipliers[earlier]` (the last one repeats); at most `maxtime`, but
/// never less than `bantime`; at last a random part of `rndtime` is added. A `bantime` without end stays so.
pub(super) fn length(bantime: Span, increment: &Increment, earlier: u32, random: &mut Random) -> Span {
    let Span::For(base) = bantime else { return Span::Forever };
    if !increment.enabled || earlier == 0 {
        return bantime;
    }
    let time = base.as_secs_f64();
    let grown = match (increment.multipliers.as_slice(), &increment.formula) {
        ([], Some(formula)) => {
            formula.value(Known { time, count: f64::from(earlier), factor: increment.scale })
        }
        ([], None) => {
            let steps = earlier.min(GROWTH_STEPS_MAX) as i32;
            time * increment.scale * increment.factor.max(1.0).powi(steps)
        }
        (multipliers, _) => {
            time * increment.scale * multipliers[(earlier as usize).min(multipliers.len() - 1)]
        }
    };
    let cap = increment.maxtime.unwrap_or(BANTIME_MAX).min(BANTIME_MAX);
    // Nonsense (a negative multiplier, an overflow) ends at one of the two borders.
    let grown =
        if grown.is_nan() { base } else { Duration::from_secs_f64(grown.clamp(0.0, cap.as_secs_f64())) };
    let rndtime = u64::try_from(increment.rndtime.as_micros()).unwrap_or(u64::MAX);
    let extra = if rndtime == 0 { 0 } else { random.below(rndtime) };
    Span::For(grown.max(base) + Duration::from_micros(extra))
}

/// How often a failure counts of a target that has `earlier` bans behind it.
pub(super) fn weight(increment: &Increment, earlier: u32) -> u32 {
    match increment.enabled && increment.known_bad && earlier > 0 {
        true => (1 << earlier.min(GROWTH_STEPS_MAX)) / 2 + 1,
        false => 1,
    }
}

/// What is left of `count` earlier bans, the last of which ended at `last_end`: half for each full `decay`.
pub(super) fn faded(count: u32, last_end: Timestamp, now: Timestamp, decay: Option<Duration>) -> u32 {
    let Some(decay) = decay.filter(|decay| !decay.is_zero()) else { return count };
    let halvings = now.since(last_end).as_micros() / decay.as_micros();
    u32::try_from(halvings).ok().and_then(|halvings| count.checked_shr(halvings)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hours(increment: &Increment, earlier: u32) -> f64 {
        match length(Span::For(HOUR), increment, earlier, &mut Random::new(7)) {
            Span::For(span) => span.as_secs_f64() / 3600.0,
            Span::Forever => f64::INFINITY,
        }
    }

    fn on() -> Increment {
        Increment { enabled: true, ..Increment::default() }
    }

    #[test]
    fn failures_of_the_known_bad_weigh_more_with_each_earlier_ban() {
        let weights = |increment: &Increment| [0, 1, 2, 3, 4, 99].map(|earlier| weight(increment, earlier));
        let known_bad = Increment { known_bad: true, ..on() };
        assert_eq!(weights(&known_bad), [1, 2, 3, 5, 9, 524_289]);
        assert_eq!(weights(&on()), [1; 6]);
        assert_eq!(weights(&Increment { enabled: false, ..known_bad }), [1; 6]);
    }

    #[test]
    fn without_increment_every_ban_is_as_long() {
        assert_eq!(hours(&Increment::default(), 9), 1.0);
    }

    #[test]
    fn each_earlier_ban_doubles() {
        assert_eq!([0, 1, 2, 3].map(|n| hours(&on(), n)), [1.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn multipliers_replace_the_factor_and_the_last_one_repeats() {
        let increment = Increment { multipliers: vec![99.0, 5.0, 30.0], ..on() };
        assert_eq!([0, 1, 2, 3, 50].map(|n| hours(&increment, n)), [1.0, 5.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn scale_is_fail2bans_factor() {
        let increment = Increment { scale: 3.0, ..on() };
        assert_eq!([0, 1, 2].map(|n| hours(&increment, n)), [1.0, 6.0, 12.0]);
    }

    #[test]
    fn a_formula_goes_before_the_factor_and_stays_within_the_borders() {
        let of = |text: &str| Increment { formula: Some(text.parse().unwrap()), scale: 3.0, ..on() };
        let increment = of("ban.Time * (1 + ban.Count) * banFactor");
        assert_eq!([0, 1, 2].map(|n| hours(&increment, n)), [1.0, 6.0, 9.0]);
        assert_eq!(hours(&of("ban.Time / 0 - ban.Time / 0"), 3), 1.0);
        assert_eq!(hours(&of("1 << 99999"), 3), BANTIME_MAX.as_secs_f64() / 3600.0);
        assert_eq!(hours(&of("5 - ban.Time"), 3), 1.0);
    }

    #[test]
    fn maxtime_caps_and_never_shortens_below_bantime() {
        let increment = Increment { maxtime: Some(5 * HOUR), ..on() };
        assert_eq!([2, 3, 60].map(|n| hours(&increment, n)), [4.0, 5.0, 5.0]);
        let increment = Increment { maxtime: Some(HOUR / 2), ..on() };
        assert_eq!(hours(&increment, 4), 1.0);
    }

    #[test]
    fn nothing_overflows() {
        let increment = Increment { factor: 1e300, ..on() };
        assert_eq!(hours(&increment, u32::MAX), BANTIME_MAX.as_secs_f64() / 3600.0);
        for multiplier in [f64::NAN, f64::NEG_INFINITY, -4.0] {
            assert_eq!(hours(&Increment { multipliers: vec![multiplier], ..on() }, 2), 1.0);
        }
    }

    #[test]
    fn a_random_part_is_added_after_the_cap_and_only_to_grown_bans() {
        let increment = Increment { maxtime: Some(2 * HOUR), rndtime: HOUR, ..on() };
        assert_eq!(hours(&increment, 0), 1.0);
        let mut random = Random::new(1);
        let mut seen = Vec::new();
        for _ in 0..100 {
            let Span::For(span) = length(Span::For(HOUR), &increment, 5, &mut random) else { panic!() };
            assert!(span >= 2 * HOUR && span < 3 * HOUR);
            seen.push(span);
        }
        seen.dedup();
        assert!(seen.len() > 90);
    }

    #[test]
    fn a_ban_without_end_stays_one() {
        assert_eq!(length(Span::Forever, &on(), 3, &mut Random::new(1)), Span::Forever);
    }

    #[test]
    fn history_halves_with_each_decay() {
        let end = Timestamp::from_secs(1_000_000);
        let decay = Some(24 * HOUR);
        let after = |hours: u32, count| faded(count, end, end.plus(hours * HOUR), decay);
        assert_eq!(after(23, 9), 9);
        assert_eq!(after(24, 9), 4);
        assert_eq!(after(48, 9), 2);
        assert_eq!(after(24 * 4, 9), 0);
        assert_eq!(after(24 * 400, u32::MAX), 0);
        assert_eq!(faded(9, end, end.plus(9999 * HOUR), None), 9);
        // The ban still runs: its end lies ahead.
        assert_eq!(faded(9, end, end.minus(HOUR), decay), 9);
    }
}
