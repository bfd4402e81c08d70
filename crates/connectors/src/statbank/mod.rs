//! `statbank`: tables of Statistics Denmark (api.statbank.dk, version 1), and the list of its tables.
//!
//! Position: [`Stored`]. Delivery: once per publication of the table; a table is one transaction.

use std::{borrow::Cow, collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use connector_api::{Batch, BoxFuture, Connector, Error, Result, Source};
use contract::Position;
use fetch::{Address, Client, Limits, Method, Reply, Request};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{failure::failure, records::Records, rows::batch};
use answer::Answer;
use selection::{Selected, parts, select};
use table::TableInfo;

mod answer;
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
        let wanted = match (settings.table, settings.catalogue) {
            (None, true) if settings.variables.is_empty() => Wanted::Catalogue,
            (Some(id), false) => Wanted::Table {
                id,
                variables: settings.variables,
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

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        let stored = from
            .map(|Position(value)| serde_json::from_value(value))
            .transpose();
        let stored = stored.map_err(|err| {
            Error::Settings(format!(
                "the stored position is not one of `statbank`: {err}"
            ))
        })?;
        let client = Client::new(config.limits.clone()).map_err(failure)?;
        Ok(Box::new(Bank {
            client,
            config,
            stored,
            reading: None,
            waiting: VecDeque::new(),
        }))
    }
}

struct Bank {
    client: Client,
    config: Config,
    stored: Option<Stored>,
    reading: Option<Reading>,
    waiting: VecDeque<Batch>,
}

/// A table being read.
struct Reading {
    table: TableInfo,
    parts: Vec<Vec<Selected>>,
    done: usize,
    position: Stored,
}

impl Source for Bank {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            while self.waiting.is_empty() {
                let is_going_on = match self.reading.take() {
                    Some(reading) => self.read_part(reading).await?,
                    None => self.look().await?,
                };
                if !is_going_on {
                    return Ok(None);
                }
            }
            Ok(self.waiting.pop_front())
        })
    }
}

impl Bank {
    /// Whether there is anything new to read.
    async fn look(&mut self) -> Result<bool> {
        let Wanted::Table { id, variables } = &self.config.wanted else {
            return self.read_catalogue().await;
        };
        let table = self.table_info(id).await?;
        let selected = select(&table, variables)?;
        let position = Stored::Table {
            updated: table.updated(),
            asked: digest(&json!([selected, self.config.lang]).to_string()),
        };
        if self.stored.as_ref() == Some(&position) {
            return Ok(false);
        }
        let columns = table.columns_of(&selected) as u64 + 1;
        let parts = parts(selected, (self.config.max_cells / columns).max(1));
        tracing::info!(table = table.id, parts = parts.len(), "table is read");
        self.reading = Some(Reading {
            table,
            parts,
            done: 0,
            position,
        });
        Ok(true)
    }

    /// Reads the next part of the table; the last batch of the last part has the position.
    async fn read_part(&mut self, mut reading: Reading) -> Result<bool> {
        let part = &reading.parts[reading.done];
        let body = json!({
            "table": reading.table.id,
            "lang": self.config.lang,
            "format": self.config.format,
            "valuePresentation": "Code",
            "variables": part,
        });
        let rows: u64 = part.iter().map(Selected::rows).product();
        let cells = rows.saturating_mul(reading.table.columns_of(part) as u64 + 1);
        let reply = self.ask("data", &body, &reading.table.id, cells).await?;
        reading.done += 1;
        let answer = Answer {
            table: &reading.table,
            part: reading.done,
        };
        let mut batches = match self.config.format {
            Format::Csv => answer.csv(reply.into_bytes())?,
            Format::JsonStat => answer.json_stat(&reply)?,
        };
        if reading.done < reading.parts.len() {
            self.waiting.extend(batches);
            self.reading = Some(reading);
            return Ok(true);
        }
        if reading.parts.len() > 1
            && self.table_info(&reading.table.id).await?.updated() != reading.table.updated()
        {
            return Err(Error::Source(format!(
                "table {} was published anew while it was read",
                reading.table.id
            )));
        }
        if let Some(last) = batches.last_mut() {
            last.position = Some(position(&reading.position)?);
        }
        self.stored = Some(reading.position);
        self.waiting.extend(batches);
        Ok(true)
    }

    async fn read_catalogue(&mut self) -> Result<bool> {
        let body = json!({ "lang": self.config.lang, "format": "JSON" });
        let reply = self.ask("tables", &body, "catalogue", 0).await?;
        let Value::Array(tables) = reply.json().map_err(failure)? else {
            return Err(failure(reply.unreadable("the list of tables is no array")));
        };
        let mut records = Records::new(&[]);
        for table in &tables {
            let pushed = match table {
                Value::Object(table) => records.push(table),
                _ => Err("a table in the list is no object".into()),
            };
            pushed.map_err(|reason| failure(reply.unreadable(reason)))?;
        }
        let stored = Stored::Catalogue {
            content: digest(&Value::Array(tables).to_string()),
        };
        if self.stored.as_ref() == Some(&stored) {
            return Ok(false);
        }
        let origins = (1..=records.len())
            .map(|i| format!("page 1 record {i}"))
            .collect();
        self.waiting.push_back(Batch {
            position: Some(position(&stored)?),
            ..batch(records.finish()?, origins, Vec::new())
        });
        self.stored = Some(stored);
        Ok(true)
    }

    async fn table_info(&self, id: &str) -> Result<TableInfo> {
        let body = json!({ "table": id, "lang": self.config.lang, "format": "JSON" });
        let reply = self.ask("tableinfo", &body, id, 0).await?;
        let info = reply.json().map_err(failure)?;
        serde_json::from_value(info).map_err(|err| {
            failure(reply.unreadable(format!(
                "the description of table {id} is another than expected: {err}"
            )))
        })
    }

    async fn ask(&self, what: &str, body: &Value, table: &str, cells: u64) -> Result<Reply> {
        let request = Request::new(Method::Post, self.config.base.below(what)).json(body);
        self.client
            .send(&request)
            .await
            .map_err(|err| explained(err, table, cells))
    }
}

/// What Statistics Denmark's own errors mean.
fn explained(err: fetch::Error, table: &str, cells: u64) -> Error {
    match &err {
        fetch::Error::NotAccepted { body, .. } if body.contains("EXTRACT-TOOBIG") => {
            Error::Settings(format!(
                "Statistics Denmark finds this extract of {table} too big, cells asked for: {cells}; \
             lower `max_cells` or select fewer values"
            ))
        }
        fetch::Error::NotAccepted { status: 404, .. } => Error::Settings(format!(
            "Statistics Denmark knows no table {table}; `catalogue: true` lists those it has"
        )),
        fetch::Error::NotAccepted {
            status: 400, body, ..
        } => Error::Settings(format!(
            "Statistics Denmark does not accept what is asked of {table}; it says: {body}"
        )),
        _ => failure(err),
    }
}

fn position(stored: &Stored) -> Result<Position> {
    let value = serde_json::to_value(stored);
    value
        .map(Position)
        .map_err(|err| Error::Settings(format!("the position cannot be stored: {err}")))
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}
