//! What can be measured: counters, gauges and histograms, each with a fixed number of labels.

/// A metric as the list has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// Names of its labels. Their values come from settings, schemas, the protocol or this code, so there is an end to them.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up only, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: records, rows, files.
    Count,
    /// Seconds.
    Seconds,
    /// Seconds since 1970, UTC.
    Timestamp,
    /// Bytes.
    Bytes,
    /// 1 for yes and 0 for no.
    Truth,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Timestamp => "seconds since 1970",
            Self::Bytes => "bytes",
            Self::Truth => "0 or 1",
        }
    }
}

/// From a commit to a build.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
];

/// From a single record to a first load.
const COUNTS: &[f64] = &[
    1.0,
    10.0,
    100.0,
    1_000.0,
    10_000.0,
    50_000.0,
    100_000.0,
    250_000.0,
    1_000_000.0,
];

impl Metric {
    /// Upper bounds of a histogram's buckets.
    pub fn buckets(&self) -> &'static [f64] {
        match self.unit {
            Unit::Count | Unit::Bytes => COUNTS,
            Unit::Seconds | Unit::Timestamp | Unit::Truth => SECONDS,
        }
    }

    fn with(&self, values: &[&str]) -> Vec<metrics::Label> {
        let labels = self.labels.iter().zip(values);
        labels
            .map(|(label, value)| metrics::Label::new(*label, (*value).to_owned()))
            .collect()
    }
}

/// Counts up. `N` is how many labels it has; values are given in the order of the list.
#[derive(Debug, Clone, Copy)]
pub struct Counter<const N: usize>(pub(crate) Metric);

impl<const N: usize> Counter<N> {
    /// Adds `count`; 0 makes the series appear, so that its first rise is seen as one.
    pub fn add(&self, labels: [&str; N], count: u64) {
        metrics::counter!(self.0.name, self.0.with(&labels)).increment(count);
    }
}

/// Goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge<const N: usize>(pub(crate) Metric);

impl<const N: usize> Gauge<N> {
    /// Is `value` now.
    pub fn set(&self, labels: [&str; N], value: f64) {
        metrics::gauge!(self.0.name, self.0.with(&labels)).set(value);
    }

    /// Goes up by `by`, or down.
    pub fn shift(&self, labels: [&str; N], by: f64) {
        metrics::gauge!(self.0.name, self.0.with(&labels)).increment(by);
    }
}

/// Counts values by size.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<const N: usize>(pub(crate) Metric);

impl<const N: usize> Histogram<N> {
    /// Adds a value.
    pub fn record(&self, labels: [&str; N], value: f64) {
        metrics::histogram!(self.0.name, self.0.with(&labels)).record(value);
    }
}
