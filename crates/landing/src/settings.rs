//! How much is held back before a commit.

use std::time::Duration;

/// How much is held back before a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct LandingSettings {
    /// A topic is committed at this many rows.
    pub flush_rows: usize,
    /// Topics are committed when all of them together hold this many bytes; while that is done they may hold as many again.
    pub flush_bytes: usize,
    /// A record is committed at the latest this many seconds after it was read.
    pub flush_seconds: f64,
    /// Records read from the log at a time.
    pub poll_records: usize,
    /// How often new topics are looked for.
    pub discover_every: Duration,
    /// Landed records older than this are removed from the log; `None` leaves that to the log.
    pub retention: Option<Duration>,
}

impl Default for LandingSettings {
    fn default() -> Self {
        Self {
            flush_rows: 200_000,
            flush_bytes: 64 << 20,
            flush_seconds: 1.0,
            poll_records: 8192,
            discover_every: Duration::from_secs(10),
            retention: None,
        }
    }
}

impl LandingSettings {
    pub(crate) fn flush_after(&self) -> Duration {
        Duration::try_from_secs_f64(self.flush_seconds).unwrap_or(Duration::MAX)
    }
}
