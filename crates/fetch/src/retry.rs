//! When to try again: what the source asks for, what we choose, and the pace we keep.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::Limits;

/// The wait a `Retry-After` header asks for (RFC 9110 section 10.2.3): seconds, or a date.
/// A date is measured from the answer's own `date` where it has one, so that clocks need not agree.
pub(crate) fn retry_after(value: &str, date: Option<&str>, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let from = date.and_then(http_date).unwrap_or(now);
    Some((until - from).to_std().unwrap_or(Duration::ZERO))
}

/// The wait before attempt `attempt + 1`: doubling, bounded, and shortened by up to a half at random
/// (`jitter` from 0 to 1) so that many workers do not come back at once.
pub(crate) fn backoff(limits: &Limits, attempt: u32, jitter: f64) -> Duration {
    let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
    let wait = limits
        .first_wait
        .saturating_mul(doubled)
        .min(limits.max_wait);
    wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// Spaces requests evenly.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// `None` and rates that are not positive numbers mean no limit.
    pub(crate) fn new(requests_per_second: Option<f64>) -> Self {
        let gap = requests_per_second
            .filter(|rate| rate.is_finite() && *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
            .unwrap_or(Duration::ZERO);
        Self {
            gap,
            next: Mutex::new(None),
        }
    }

    /// Takes the next free moment and tells how long it is until then.
    pub(crate) fn reserve(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + self.gap);
        at - now
    }
}

/// The three forms of RFC 9110 share the first; the other two have been obsolete since 1997.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim())
        .ok()
        .map(|it| it.to_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        let asks = |value: &str, date| retry_after(value, date, now).map(|it| it.as_secs());
        assert_eq!(asks("120", None), Some(120));
        assert_eq!(asks("Wed, 21 Oct 2015 07:28:30 GMT", None), Some(30));
        assert_eq!(asks("Wed, 21 Oct 2015 07:00:00 GMT", None), Some(0));
        assert_eq!(
            asks(
                "Wed, 21 Oct 2015 09:00:05 GMT",
                Some("Wed, 21 Oct 2015 09:00:00 GMT")
            ),
            Some(5)
        );
        assert_eq!(asks("soon", None), None);
        assert_eq!(asks("-1", None), None);
    }

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let limits = Limits::default();
        let millis = |attempt, jitter| backoff(&limits, attempt, jitter).as_millis();
        assert_eq!(
            [1, 2, 3].map(|attempt| millis(attempt, 0.0)),
            [500, 1000, 2000]
        );
        assert_eq!(
            [1, 2, 3].map(|attempt| millis(attempt, 1.0)),
            [250, 500, 1000]
        );
        assert_eq!(millis(1000, 0.0), 60_000);
    }

    #[test]
    fn a_pace_spaces_requests_and_saves_up_nothing() {
        let start = Instant::now();
        let pace = Pace::new(Some(4.0));
        let waits: Vec<u128> = (0..3).map(|_| pace.reserve(start).as_millis()).collect();
        assert_eq!(waits, [0, 250, 500]);
        let later = start + Duration::from_secs(10);
        assert_eq!(pace.reserve(later).as_millis(), 0);
        assert_eq!(pace.reserve(later).as_millis(), 250);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let now = Instant::now();
        for rate in [None, Some(0.0), Some(-1.0), Some(f64::NAN)] {
            let pace = Pace::new(rate);
            assert_eq!(
                [pace.reserve(now), pace.reserve(now)],
                [Duration::ZERO; 2],
                "{rate:?}"
            );
        }
    }
}
