//! What an explanation tells.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::lineage::Source;

/// A number, with everything behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The table it stands in.
    pub table: String,
    /// The columns asked for, or all that are no key.
    pub columns: Vec<String>,
    /// The rows found.
    pub found: Found,
    /// Where they were published.
    pub publication: Published,
    /// The model that gave them.
    pub model: Told,
    /// The definitions they follow.
    pub definitions: Vec<Meaning>,
    /// What each column asked for comes from.
    pub lineage: Vec<ColumnSources>,
    /// The rows behind them, table by table from the published one to what has landed; empty where all rows found are suppressed.
    pub steps: Vec<Step>,
    /// The files those came in.
    pub files: Vec<DeliveredFile>,
    /// How many landed rows came in no delivered file: from a service or a database, or retried after they were set aside.
    pub rows_without_file: u64,
}

/// The rows a question found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// How many.
    pub rows: u64,
    /// How many of them are suppressed: what is behind those is not shown.
    pub suppressed: u64,
    /// How many are walked down from.
    pub walked: u64,
    /// The first of them.
    pub sample: Vec<Row>,
}

/// The publication that is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Its id.
    pub id: u64,
    /// When it was published.
    pub at: DateTime<Utc>,
    /// The build that made it.
    pub run_id: String,
    /// The table's version.
    pub version: i64,
}

/// A model as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What its table holds.
    pub doc: String,
    /// Its file; `None` for current state, which the contract makes.
    pub file: Option<String>,
    /// The fingerprint it was published with.
    pub fingerprint: String,
    /// Whether the file has changed since: the rows behind are then found with another text than made them.
    pub is_changed: bool,
    /// What it read: table versions, fingerprints of code lists.
    pub reads: BTreeMap<String, String>,
}

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meaning {
    /// Its name and version, `effect_3m@1`.
    pub definition: String,
    /// Title in Danish.
    pub title_da: String,
    /// Title in English.
    pub title_en: String,
    /// Text in Danish.
    pub text_da: String,
    /// Text in English.
    pub text_en: String,
    /// Which seed document it comes from.
    pub seed: Option<String>,
    /// The seed's own words.
    pub quote: Option<String>,
    /// The first day it applies to.
    pub valid_from: NaiveDate,
}

/// What a column comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnSources {
    /// The column.
    pub column: String,
    /// Its sources.
    pub sources: Vec<Source>,
}

/// The rows of one table that went into those before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The table.
    pub table: String,
    /// Its version.
    pub version: Option<i64>,
    /// What they went into; nothing for the published table itself.
    pub into: Vec<Into>,
    /// The columns that played a part; none where only the number of rows did.
    pub columns: Vec<String>,
    /// How many rows in all.
    pub rows: u64,
    /// Why it does not go on from here, where it could.
    pub note: Option<String>,
}

/// Rows that went into those of one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Into {
    /// That table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// The first of them: keys, and the columns that played a part; of landed rows also where they came from.
    pub sample: Vec<Row>,
}

/// A file that rows came in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveredFile {
    /// The delivery.
    pub delivery_id: String,
    /// Its name.
    pub file_name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Who sent it.
    pub sender: String,
    /// The pipeline that read it.
    pub source: String,
    /// When it arrived.
    pub received_at: String,
    /// How many of the landed rows behind the number came in it.
    pub rows: u64,
}

/// Values by column, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(pub Vec<(String, Value)>);

impl Row {
    /// The value of a column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.iter().find(|it| it.0 == column).map(|it| &it.1)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (column, value) in &self.0 {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (column, value)) in self.0.iter().enumerate() {
            let lead = if at == 0 { "" } else { "  " };
            match value {
                Value::String(text) => write!(f, "{lead}{column}={text}")?,
                Value::Null => write!(f, "{lead}{column}=-")?,
                value => write!(f, "{lead}{column}={value}")?,
            }
        }
        Ok(())
    }
}
