//! Where records go that break their contract, and what was done about them.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ContractError, Kind, coordinates::with_coordinates};

/// The topic of refused records: one JSON object a record, with the fields of [`quarantine_schema`].
pub const QUARANTINE_TOPIC: &str = "pejl.quarantine";

/// The topic of what was done about them: one [`Mark`] a record, as JSON.
pub const MARK_TOPIC: &str = "pejl.quarantine_mark";

/// What is kept of a refused record.
///
/// | field | holds |
/// |---|---|
/// | `entity` | the entity it was meant for |
/// | `municipality_code` | whose it is, where that could be read |
/// | `field`, `rule`, `value` | what broke which rule, the first of them where there are several; the value masked and short |
/// | `reason` | a sentence for whoever made the record, for each of them |
/// | `violations` | all of them, as a JSON list of `field`, `rule`, `value`, `message` |
/// | `origin` | the place in the source: `file.csv:17`, `page 3 record 4` |
/// | `raw` | the row as JSON text, CPR numbers replaced by [stand-ins](crate::stand_in) or removed |
/// | `source`, `trace_id` | the pipeline, and the id in the logs |
/// | `stage` | `ingest` or `landing` |
/// | `quarantined_at` | when, UTC |
pub fn quarantine_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("entity"),
            Field::new("municipality_code", DataType::Int32, true),
            optional("field"),
            required("rule"),
            optional("value"),
            required("reason"),
            optional("violations"),
            required("origin"),
            required("raw"),
            required("source"),
            required("trace_id"),
            required("stage"),
            Field::new("quarantined_at", Kind::Timestamp.arrow_type(), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `raw.quarantine`: those of [`quarantine_schema`], all nullable, then the coordinates.
pub fn quarantine_raw_schema() -> SchemaRef {
    with_coordinates(&quarantine_schema())
}

/// What was done about a refused record. It is sent in one transaction with whatever was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which record; see [`QuarantineId`].
    pub quarantine_id: String,
    /// The pipeline it came through.
    pub source: String,
    /// The entity it was meant for.
    pub entity: String,
    /// What was done.
    pub action: Action,
    /// Who did it.
    pub marked_by: String,
    /// Why, in their words.
    pub note: Option<String>,
    /// The id of the retry in the logs and on the row that landed.
    pub trace_id: String,
    /// When.
    pub marked_at: DateTime<Utc>,
}

/// What can be done about a refused record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It passed and is on its entity's topic.
    Retried,
    /// A later version of the same thing had come already; it would have undone that one.
    Superseded,
    /// The pipeline passes over rows like it now.
    Filtered,
    /// Somebody decided that it is not wanted.
    Discarded,
}

impl Action {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Superseded => "superseded",
            Self::Filtered => "filtered",
            Self::Discarded => "discarded",
        }
    }
}

/// The columns of a [`Mark`].
pub fn mark_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("quarantine_id"),
            required("source"),
            required("entity"),
            required("action"),
            required("marked_by"),
            optional("note"),
            required("trace_id"),
            Field::new("marked_at", Kind::Timestamp.arrow_type(), false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of `raw.quarantine_mark`: those of [`mark_schema`], all nullable, then the coordinates.
pub fn mark_raw_schema() -> SchemaRef {
    with_coordinates(&mark_schema())
}

/// Names a refused record by where it stands: `quarantine-0-17`, or `offer@2-1-4` for one that landing refused from the second
/// topic of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuarantineId {
    /// The topic as rows name it in `_topic`.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

const PREFIX: &str = "pejl.";

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic.strip_prefix(PREFIX).unwrap_or(&self.topic);
        write!(f, "{topic}-{}-{}", self.partition, self.offset)
    }
}

impl FromStr for QuarantineId {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        let parts = || {
            let (rest, offset) = text.rsplit_once('-')?;
            let (topic, partition) = rest.rsplit_once('-')?;
            Some(Self {
                topic: format!("{PREFIX}{topic}"),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        parts().ok_or_else(|| ContractError::QuarantineId(text.to_owned()))
    }
}

fn required(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn optional(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back() {
        for text in ["quarantine-0-17", "offer@2-1-4"] {
            let id: QuarantineId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert!(id.topic.starts_with("pejl."));
        }
        for wrong in ["", "17", "quarantine-17", "quarantine-x-1", "quarantine-0-"] {
            assert!(wrong.parse::<QuarantineId>().is_err(), "{wrong}");
        }
    }
}
