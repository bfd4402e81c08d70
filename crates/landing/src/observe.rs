//! What landing tells whoever watches it.

use std::time::Duration;

/// Is told of everything that happens to a topic.
pub type Observe<'a> = &'a (dyn Fn(LandedTopic) + Send + Sync);

/// Something that happened to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedTopic {
    /// The topic.
    pub topic: String,
    /// Its table; `None` when the topic is of no entity known here.
    pub table: Option<String>,
    /// Rows this has added to the table.
    pub rows: u64,
    /// Records this has refused.
    pub quarantined: u64,
    /// What happened.
    pub what: What,
}

/// What happened to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Rows were committed.
    Flushed {
        /// The table's version that holds them.
        version: i64,
        /// Offsets left to read; on Kafka some of them hold no record.
        behind: i64,
    },
    /// The topic's name is of no entity known here; its records stay where they are.
    UnknownEntity,
    /// Another lander has landed this partition further; what was read of it here was dropped.
    Superseded {
        /// The partition.
        partition: i32,
    },
    /// Landing the topic failed; it is tried again.
    Failed {
        /// What failed, and who can fix it.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// What a run landed of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The topic.
    pub topic: String,
    /// Its table; `None` when the topic is of no entity known here.
    pub table: Option<String>,
    /// Rows added to the table.
    pub rows: u64,
    /// Records refused.
    pub quarantined: u64,
}
