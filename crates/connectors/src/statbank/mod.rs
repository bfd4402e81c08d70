//! `statbank`: tables of Statistics Denmark (api.statbank.dk, version 1), and the list of its tables.
//!
//! Position: [`Stored`]. Delivery: once per publication of the table; a table is one transaction.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};
use connector_api::{Connector, Error, Result, Source};
use contract::Position;
use fetch::{Address, Client, Limits};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::failure::failure;
use bank::Bank;

mod answer;
mod bank;
mod pivot;
mod selection;
mod table;
#[cfg(test)]
mod tests;

/// Tables of Statistics Denmark.
pub(crate) struct StatBank;

/// A table comes with its variables as columns, named in upper case as they are asked for (`TID` also where
/// JSON-stat says `Tid`), and:
///
/// * `INDHOLD`: the number, with a decimal point, or null.
/// * `MARKER`: what stands in place of a number: `..` (too uncertain, or withheld for discretion), `.`
///   (cannot occur), `-` (nil: exactly zero). They are all null in `INDHOLD` and stay apart here; write
///   `case "MARKER" when '-' then '0' else "INDHOLD" end` to count nil as zero.
/// * `TABLE_ID` and `UPDATED`: the table, and when it was published (UTC).
///
/// A request is split so that no answer exceeds the limit of cells, which are rows times variables plus one.
/// A table says that it is complete through the last day of its latest period (`2026M09`, `2026K3`, `2026`); the pipeline must
/// then say whose: `municipality_code: 0` for the whole country, which counts for every municipality.
/// A table is read again when it has been published again or when `variables` or `lang` change. Cite
/// Statistics Denmark; the licence is CC BY 4.0.
///
/// Position: `{"updated": "<time of publication>", "asked": "<digest of the selection>"}`; of the catalogue
/// `{"content": "<digest>"}`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The interface's address, version included.
    #[serde(default = "statbank")]
    base_url: String,
    /// The table's id, such as `RASIE22`.
    #[serde(default)]
    table: Option<String>,
    /// What to take of each variable. A variable left out is summed over; the time is then the latest.
    #[serde(default)]
    variables: Vec<Selection>,
    /// A variable of `variables` whose values come side by side: one row for each combination of the others, with
    /// `INDHOLD_<code>` and `MARKER_<code>` for each value in place of `INDHOLD` and `MARKER`. Its values are then codes or patterns.
    #[serde(default)]
    pivot: Option<String>,
    /// What the answer is asked for as.
    #[serde(default)]
    format: Format,
    /// The language of texts; codes are the same in both.
    #[serde(default)]
    lang: Language,
    /// Read the list of tables instead of a table. Its `updated` is Danish local time.
    #[serde(default)]
    catalogue: bool,
    /// The most cells in one answer. Statistics Denmark allows 1,000,000.
    #[serde(default = "a_million")]
    max_cells: u64,
    /// The most requests in a second.
    #[serde(default)]
    requests_per_second: Option<f64>,
    /// Seconds one answer may take.
    #[serde(default = "two_minutes")]
    timeout_seconds: u64,
}

/// What to take of a variable.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Selection {
    /// The variable's code, such as `OMRÅDE` or `TID`; case is ignored.
    code: String,
    /// Codes, patterns with `*` and `?`, or rules such as `>=2010` and `(1)`, which are passed on as they
    /// are. Without it everything.
    #[serde(default = "everything")]
    values: Vec<String>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Semicolons, a byte order mark, decimals as in the language.
    #[default]
    Csv,
    /// JSON-stat, version 1.
    JsonStat,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Language {
    /// Danish.
    #[default]
    Da,
    /// English.
    En,
}

/// Checked settings.
#[derive(Deserialize)]
#[serde(try_from = "Settings")]
pub(crate) struct Config {
    base: Address,
    wanted: Wanted,
    format: Format,
    lang: Language,
    max_cells: u64,
    limits: Limits,
}

enum Wanted {
    Catalogue,
    Table {
        id: String,
        variables: Vec<Selection>,
        /// In upper case, and one of `variables`.
        pivot: Option<String>,
    },
}

/// The position of a table or of the catalogue.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Stored {
    Table {
        updated: DateTime<Utc>,
        asked: String,
    },
    Catalogue {
        content: String,
    },
}

impl Stored {
    fn from_position(Position(value): Position) -> Result<Self> {
        serde_json::from_value(value)
            .map_err(|err| Error::Settings(format!("the position is not one of `statbank`: {err}")))
    }
}

impl JsonSchema for Config {
    fn schema_name() -> Cow<'static, str> {
        Settings::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Settings::json_schema(generator)
    }
}

fn statbank() -> String {
    "https://api.statbank.dk/v1".into()
}

fn a_million() -> u64 {
    1_000_000
}

fn two_minutes() -> u64 {
    120
}

fn everything() -> Vec<String> {
    vec!["*".into()]
}

impl TryFrom<Settings> for Config {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let pivot = settings.pivot.map(|it| it.to_uppercase());
        let is_pivot = |it: &Selection| Some(it.code.to_uppercase()) == pivot;
        if let Some(code) = &pivot
            && !settings.variables.iter().any(is_pivot)
        {
            return Err(format!(
                "`pivot` is {code}, which is not in `variables`; say there which values of it come side by side"
            ));
        }
        let wanted = match (settings.table, settings.catalogue) {
            (None, true) if settings.variables.is_empty() => Wanted::Catalogue,
            (Some(id), false) => Wanted::Table {
                id,
                variables: settings.variables,
                pivot,
            },
            _ => {
                return Err(
                    "give either `table`, perhaps with `variables`, or `catalogue: true`".into(),
                );
            }
        };
        Ok(Self {
            base: Address::parse(&settings.base_url).map_err(|err| err.to_string())?,
            wanted,
            format: settings.format,
            lang: settings.lang,
            max_cells: settings.max_cells,
            limits: Limits {
                timeout: Duration::from_secs(settings.timeout_seconds),
                requests_per_second: settings.requests_per_second,
                max_body_bytes: 256 * 1024 * 1024,
                ..Limits::default()
            },
        })
    }
}

impl Connector for StatBank {
    const NAME: &'static str = "statbank";
    const SUMMARY: &'static str =
        "Tables of Statistics Denmark, read when they are published anew.";
    type Config = Config;

    fn check_position(position: &Position) -> Result<()> {
        Stored::from_position(position.clone()).map(drop)
    }

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        let stored = from.map(Stored::from_position).transpose()?;
        let client = Client::new(config.limits.clone()).map_err(failure)?;
        Ok(Box::new(Bank::new(client, config, stored)))
    }
}
