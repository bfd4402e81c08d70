//! How long a failing source is left alone: longer and longer, and from a number of failures in a row on only probed now and then.

use std::time::Duration;

use rand::RngExt;

/// The longest pause that we choose between two tries.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row that open the circuit: from then on one try in each longest pause, until one succeeds.
pub(crate) const BREAKER: u32 = 6;

/// The longest pause that the other side can ask for. One that asks for more is mistaken, or wants a word with somebody.
pub(crate) const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// The pause after so many `failures` in a row: 1 s doubling up to the breaker, then the longest; shortened by up to half so that failing
/// sources do not march in step. Never shorter than the other side has `asked` for.
pub(crate) fn after(failures: u32, asked: Option<Duration>) -> Duration {
    let full = if failures >= BREAKER {
        LONGEST
    } else {
        Duration::from_secs(1) * (1 << failures.saturating_sub(1))
    };
    let chosen = full.mul_f64(rand::rng().random_range(0.5..=1.0));
    chosen.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_the_other_side_is_left_alone() {
        for failures in 1..40 {
            let pause = after(failures, None);
            let full = if failures < BREAKER {
                Duration::from_secs(1 << (failures - 1))
            } else {
                LONGEST
            };
            assert!(pause >= full / 2 && pause <= full, "{failures}: {pause:?}");
        }
    }

    #[test]
    fn pauses_of_two_sources_differ() {
        let pauses: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| after(BREAKER, None)).collect();
        assert!(pauses.len() > 1, "they march in step");
    }

    #[test]
    fn the_other_side_is_not_asked_sooner_than_it_wants() {
        let hour = Duration::from_secs(3600);
        assert_eq!(after(1, Some(hour)), hour);
        assert!(after(BREAKER, Some(Duration::from_millis(1))) >= LONGEST / 2);
        assert_eq!(after(1, Some(hour * 10_000)), LONGEST_ASKED);
    }
}
