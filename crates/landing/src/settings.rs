//! How much is held back before a commit, and who lands what.

use std::time::Duration;

/// How much is held back before a commit, and who lands what.
#[derive(Debug, Clone, PartialEq)]
pub struct LandingSettings {
    /// A topic is committed at this many rows.
    pub flush_rows: usize,
    /// Topics are committed when all of them together hold this many bytes.
    pub flush_bytes: usize,
    /// A record is committed at the latest this many seconds after it was read.
    pub flush_seconds: f64,
    /// Records read from the log at a time.
    pub poll_records: usize,
    /// How often new topics are looked for.
    pub discover_every: Duration,
    /// Landed records older than this are removed from the log; `None` leaves that to the log.
    pub retention: Option<Duration>,
    /// Which partitions are this lander's.
    pub share: Share,
}

impl Default for LandingSettings {
    fn default() -> Self {
        Self {
            flush_rows: 250_000,
            flush_bytes: 192 << 20,
            flush_seconds: 5.0,
            poll_records: 8192,
            discover_every: Duration::from_secs(10),
            retention: None,
            share: Share::default(),
        }
    }
}

impl LandingSettings {
    pub(crate) fn flush_after(&self) -> Duration {
        Duration::try_from_secs_f64(self.flush_seconds).unwrap_or(Duration::MAX)
    }
}

/// The partitions of one lander among `of` that share the work. Two landers of the same share do no
/// harm: each record still lands once, only slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which one this is, from 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Share {
    /// Whether this share has the partition. Topics start at different landers, so that the first
    /// partitions of all topics do not meet at the same one.
    pub fn has(self, topic: &str, partition: i32) -> bool {
        let start = topic.bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        start.wrapping_add(partition.unsigned_abs()) % self.of.max(1) == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_in_exactly_one_share() {
        for topic in ["pejl.offer", "pejl.citizen"] {
            for partition in 0..20 {
                let shares = (0..3).filter(|index| {
                    Share {
                        index: *index,
                        of: 3,
                    }
                    .has(topic, partition)
                });
                assert_eq!(shares.count(), 1);
            }
        }
        assert!(Share::default().has("pejl.offer", 7));
    }
}
