//! How much, how fast and how often.

use std::time::Duration;

/// The bounds within which a [`Client`](crate::Client) works.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For one attempt, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// The largest answer, counted after decompression, in bytes.
    pub max_body_bytes: usize,
    /// How many requests are started in a second, attempts included; `None` is no limit.
    pub requests_per_second: Option<f64>,
    /// How often one request is tried in all; at least one.
    pub max_attempts: u32,
    /// The wait before the second attempt; it doubles from there.
    pub first_wait: Duration,
    /// The longest wait between two attempts. A source that asks for more is given up on for now,
    /// and the runtime's own schedule comes back to it.
    pub max_wait: Duration,
    /// Statuses besides 401 and 403 that mean our credentials are refused. SurveyXact answers 500.
    pub refused_statuses: Vec<u16>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            max_body_bytes: 64 * 1024 * 1024,
            requests_per_second: None,
            max_attempts: 5,
            first_wait: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
            refused_statuses: Vec::new(),
        }
    }
}
