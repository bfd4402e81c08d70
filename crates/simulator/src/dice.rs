//! Chance that repeats itself: every draw of a municipality comes from its own seeded stream.

use chrono::{Days, NaiveDate, NaiveTime};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Moment;

/// A stream of draws.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one municipality; no other municipality changes it.
    pub(crate) fn new(seed: u64, municipality: i32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(municipality.unsigned_abs()));
        Self(rng)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0.random()
    }

    /// From `low` to below `high`.
    pub(crate) fn number(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high.max(low))
    }

    /// One of `items`; the first where the others are none.
    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        items[self.0.random_range(0..N)]
    }

    /// An index into `weights`, in proportion to them.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.share() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        weights.len().saturating_sub(1)
    }

    /// Puts `items` in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.0.random_range(0..=last);
            items.swap(last, other);
        }
    }

    /// A moment of the working day on `date`. In UTC it is that date too, winter and summer.
    pub(crate) fn at(&mut self, date: NaiveDate) -> Moment {
        let second = self.0.random_range(6 * 3600..16 * 3600);
        let micros = self.0.random_range(0..1_000_000) * 1000;
        let time =
            NaiveTime::from_num_seconds_from_midnight_opt(second, micros).unwrap_or_default();
        date.and_time(time).and_utc()
    }
}

/// `days` later, or earlier where negative.
pub(crate) fn plus(date: NaiveDate, days: i64) -> NaiveDate {
    let moved = if days < 0 {
        date.checked_sub_days(Days::new(days.unsigned_abs()))
    } else {
        date.checked_add_days(Days::new(days.unsigned_abs()))
    };
    moved.unwrap_or(date)
}
