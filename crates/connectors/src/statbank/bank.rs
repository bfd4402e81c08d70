//! Looks whether a table was published anew, and reads it part by part if it was.

use std::collections::VecDeque;

use chrono::NaiveDate;
use connector_api::{Batch, BoxFuture, Error, Result, Source};
use contract::Position;
use fetch::{Client, Method, Reply, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Config, Format, Stored, Wanted,
    answer::Answer,
    selection::{Selected, parts, select},
    table::TableInfo,
};
use crate::{failure::failure, records::Records, rows::batch};

/// Statistics Denmark being read.
pub(super) struct Bank {
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
    /// The variable whose values share a row.
    side_by_side: Option<Selected>,
    done: usize,
    /// The last day of the latest period so far.
    through: Option<NaiveDate>,
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
    pub(super) fn new(client: Client, config: Config, stored: Option<Stored>) -> Self {
        Self {
            client,
            config,
            stored,
            reading: None,
            waiting: VecDeque::new(),
        }
    }

    /// Whether there is anything new to read.
    async fn look(&mut self) -> Result<bool> {
        let Wanted::Table {
            id,
            variables,
            pivot,
        } = &self.config.wanted
        else {
            return self.read_catalogue().await;
        };
        let table = self.table_info(id).await?;
        let selected = select(&table, variables)?;
        let asked = match pivot {
            None => json!([selected, self.config.lang]),
            Some(pivot) => json!([selected, self.config.lang, pivot]),
        };
        let position = Stored::Table {
            updated: table.updated(),
            asked: digest(&asked.to_string()),
        };
        if self.stored.as_ref() == Some(&position) {
            return Ok(false);
        }
        let side_by_side = selected
            .iter()
            .find(|it| Some(&it.code) == pivot.as_ref())
            .cloned();
        if let Some(variable) = side_by_side.as_ref().filter(|it| !it.is_known()) {
            return Err(Error::Settings(format!(
                "`pivot` needs codes or patterns of {}, not rules such as {}",
                variable.code,
                variable.values.join(", ")
            )));
        }
        let columns = table.columns_of(&selected) as u64 + 1;
        let limit = (self.config.max_cells / columns).max(1);
        let parts = parts(selected, limit, pivot.as_deref());
        tracing::info!(table = table.id, parts = parts.len(), "table is read");
        self.reading = Some(Reading {
            table,
            parts,
            side_by_side,
            done: 0,
            through: None,
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
            side_by_side: reading.side_by_side.as_ref(),
        };
        let mut batches = match self.config.format {
            Format::Csv => answer.csv(reply.into_bytes())?,
            Format::JsonStat => answer.json_stat(&reply)?,
        };
        for batch in &batches {
            reading.through = reading.through.max(reading.table.through(&batch.rows));
        }
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
            last.complete_through = reading.through;
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
        let mut records = Records::default();
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
