//! What people want of a source and what a worker says of it: the texts on the log's two boards.

use std::{collections::BTreeMap, fmt};

use bus::{Board, Log};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ReadReport, Result};

/// What people want of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// Whether it rests; `None` leaves it to `enabled` in its pipeline file.
    pub paused: Option<bool>,
    /// Counts up: each time it is read anew at once, with its pipeline file read again.
    pub restarts: u64,
}

impl Order {
    /// Whether a source with this `enabled` in its file rests.
    pub fn pauses(&self, enabled: bool) -> bool {
        self.paused.unwrap_or(!enabled)
    }
}

/// What a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being read.
    Running,
    /// Read to its end; waits for its schedule.
    Waiting,
    /// Failed, and is tried again by itself.
    Degraded,
    /// Not tried again until a person has changed something.
    NeedsAHuman,
    /// Rests because somebody said so, or because its file says `enabled: false`.
    Paused,
}

impl State {
    /// All of them, for gauges.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Waiting,
        Self::Degraded,
        Self::NeedsAHuman,
        Self::Paused,
    ];

    /// As it is written in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Degraded => "degraded",
            Self::NeedsAHuman => "needs_a_human",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a worker says of a source that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The source.
    pub source: String,
    /// What it is doing.
    pub state: State,
    /// Since when; a try in between does not count.
    pub since: DateTime<Utc>,
    /// When this was said.
    #[serde(default)]
    pub at: DateTime<Utc>,
    /// The process that runs it; `None` once that has stopped.
    pub worker: Option<String>,
    /// When it was last read to its end.
    #[serde(default)]
    pub last_success: Option<DateTime<Utc>>,
    /// Rows of the last read that found any.
    pub rows: u64,
    /// Of those, rows on the entity's topic.
    pub accepted: u64,
    /// Of those, rows set aside.
    pub quarantined: u64,
    /// The trace id of that read.
    pub trace_id: String,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, while it matters.
    pub trouble: Option<Trouble>,
    /// When it is read next, where that is known.
    pub next: Option<DateTime<Utc>>,
}

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What failed.
    pub error: String,
    /// Who can fix it.
    pub fix_by: String,
    /// What they do.
    pub step: String,
}

impl Trouble {
    pub(crate) fn of(source: &str, error: &crate::Error) -> Self {
        Self {
            error: error.to_string(),
            fix_by: error.fix_by().to_string(),
            step: error.step(source),
        }
    }
}

impl Report {
    /// Of a worker that begins with a source, which knows what was said `before`.
    pub(crate) fn begun(source: &str, worker: &str, before: Option<&Self>) -> Self {
        let now = Utc::now();
        let first = || Self {
            source: source.to_owned(),
            state: State::Waiting,
            since: now,
            at: now,
            worker: None,
            last_success: None,
            rows: 0,
            accepted: 0,
            quarantined: 0,
            trace_id: String::new(),
            failures: 0,
            trouble: None,
            next: None,
        };
        Self {
            worker: Some(worker.to_owned()),
            failures: 0,
            next: None,
            ..before.cloned().unwrap_or_else(first)
        }
    }

    pub(crate) fn count(&mut self, read: &ReadReport) {
        if read.rows > 0 {
            self.rows = read.rows;
            self.accepted = read.accepted;
            self.quarantined = read.quarantined;
            self.trace_id.clone_from(&read.trace_id);
        }
    }

    /// Whether `other` says the same, times apart.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let timeless = |it: &Self| Self {
            since: DateTime::UNIX_EPOCH,
            at: DateTime::UNIX_EPOCH,
            last_success: None,
            next: None,
            ..it.clone()
        };
        timeless(self) == timeless(other)
    }
}

/// All orders, by source. An order that cannot be read is none, and is said in the log.
pub(crate) async fn orders(log: &dyn Log) -> Result<BTreeMap<String, Order>> {
    Ok(parsed(log.board(Board::Orders).await?))
}

/// All reports, by source.
pub(crate) async fn reports(log: &dyn Log) -> Result<BTreeMap<String, Report>> {
    Ok(parsed(log.board(Board::Reports).await?))
}

fn parsed<T: serde::de::DeserializeOwned>(board: BTreeMap<String, String>) -> BTreeMap<String, T> {
    let parse = |(source, text): (String, String)| match serde_json::from_str(&text) {
        Ok(parsed) => Some((source, parsed)),
        Err(err) => {
            tracing::warn!(source, %err, "a text on the board is not understood");
            None
        }
    };
    board.into_iter().filter_map(parse).collect()
}
