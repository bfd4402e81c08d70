//! When a source is read: `every 15s`, or a cron line in Danish civil time.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Europe::Copenhagen;
use croner::Cron;
use serde::{Deserialize, Deserializer, de::Error as _};

/// When a source is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// This long after the previous read ended.
    Every(Duration),
    /// At the times of a cron pattern, read in Europe/Copenhagen.
    Cron(Box<Cron>),
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Every(Duration::from_secs(3600))
    }
}

impl Schedule {
    /// How long to wait from `now` until the next read.
    pub fn wait(&self, now: DateTime<Utc>) -> Duration {
        match self {
            Self::Every(pause) => *pause,
            Self::Cron(cron) => cron
                .find_next_occurrence(&now.with_timezone(&Copenhagen), false)
                .ok()
                .and_then(|next| (next.with_timezone(&Utc) - now).to_std().ok())
                .unwrap_or(Duration::from_secs(3600)),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(pause) = text.strip_prefix("every ") {
            return match humantime::parse_duration(pause.trim()) {
                Ok(pause) if !pause.is_zero() => Ok(Self::Every(pause)),
                _ => Err(format!(
                    "`{text}` is not a schedule; write `every 15s`, `every 10m`, `every 1h 30m`"
                )),
            };
        }
        let cron = Cron::from_str(text).map_err(|err| {
            format!("`{text}` is not a schedule ({err}); write `every 15m` or a cron line such as `30 5 * * 1-5`")
        })?;
        Ok(Self::Cron(Box::new(cron)))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_pause_is_a_pause() {
        let schedule: Schedule = "every 1h 30m".parse().unwrap();
        assert_eq!(
            schedule.wait(at("2026-01-01T00:00:00Z")),
            Duration::from_secs(5400)
        );
    }

    #[test]
    fn cron_is_danish_time_through_the_clock_change() {
        let schedule: Schedule = "30 5 * * *".parse().unwrap();
        // Winter: 05:30 in Copenhagen is 04:30 UTC; after 29 March 2026 it is 03:30 UTC.
        assert_eq!(
            schedule.wait(at("2026-03-28T04:00:00Z")),
            Duration::from_secs(30 * 60)
        );
        assert_eq!(
            schedule.wait(at("2026-03-29T03:00:00Z")),
            Duration::from_secs(30 * 60)
        );
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["every soon", "every 0s", "at noon", ""] {
            let message = text.parse::<Schedule>().unwrap_err();
            assert!(message.contains("every 15"), "{message}");
        }
    }
}
