//! The words all crates share: entities, codes, periods, pseudonyms, coordinates, and who can fix an error. No I/O, no async.

mod avsc;
mod compatible;
mod conform;
mod convert;
mod coordinates;
mod cpr;
mod embedded;
mod entity;
mod pattern;
mod period;
mod quarantine;
mod reference;
mod rules;
mod scrub;
mod stand_in;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use avsc::{CodeRef, Field, Kind, Pii};
pub use compatible::compatible;
pub use conform::{Coerced, RULES, Violation, check, coerce};
pub use coordinates::{
    COORDINATE_DOCS, DELETED, OFFSET, PARTITION, SOURCE, SOURCE_POSITION, TIMESTAMP, TOPIC,
    TRACE_ID, header, raw_schema,
};
pub use cpr::{Cpr, PseudonymKey};
pub use entity::{Entity, entities, entity, is_id};
pub use pattern::matches;
pub use period::{Period, PeriodKind, civil_day};
pub use quarantine::{
    Action, MARK_TOPIC, Mark, QUARANTINE_TOPIC, QuarantineId, mark_raw_schema, mark_schema,
    quarantine_raw_schema, quarantine_schema,
};
pub use reference::{CodeList, code_list, code_lists};
pub use scrub::scrub;
pub use stand_in::{is_of_another_key, pseudonym_in, stand_in};
pub use text::day_in;

/// Who can fix an error. It decides what is tried again and what the message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FixBy {
    /// Whoever keeps the settings and pipeline files.
    Settings,
    /// The source system, or the network before it; trying again may help.
    Source,
    /// Whoever made the record or the file.
    Record,
    /// Us.
    Us,
}

impl fmt::Display for FixBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "the settings",
            Self::Source => "the source system",
            Self::Record => "whoever made the record",
            Self::Us => "us (a bug in Pejl)",
        })
    }
}

/// Where a source stands. Only the connector that made it reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub serde_json::Value);

/// What can go wrong with a contract itself; a wrong record is a [`Violation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// A record's key is not the one its entity calls for.
    #[error("the key of a record on pejl.{entity} must be a JSON array of the texts [{expected}]")]
    Key {
        /// The entity.
        entity: String,
        /// The key columns it should hold, comma-separated.
        expected: String,
    },
    /// A secret is too short to make pseudonyms with.
    #[error("the pseudonym secret has {found} bytes; at least 32 are needed")]
    Secret {
        /// Its length in bytes.
        found: usize,
    },
    /// A text that names no refused record.
    #[error(
        "`{0}` names no row set aside; names look like `quarantine-0-17`, see `pejl quarantine list`"
    )]
    QuarantineId(String),
}

impl ContractError {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Key { .. } => FixBy::Record,
            Self::Secret { .. } | Self::QuarantineId(_) => FixBy::Settings,
        }
    }
}
