//! `ops.query_log`: who read which tables with which statement, and how much came of it.

mod writer;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arrow::{
    array::{ListBuilder, RecordBatch, StringBuilder},
    datatypes::{DataType, Field},
};
use chrono::{DateTime, Utc};
use datafusion::{
    catalog::{TableProvider, empty::EmptyTable},
    error::Result,
};
use lake::Lake;
use telemetry::metric;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::session::{moments, numbers, outside, rows, texts};
use writer::Writer;

/// The table in the lake, under the name that sessions have for it.
pub const QUERY_LOG: &str = "ops.query_log";

/// Statements that may wait to be written; what ends while so many wait is lost.
const WAITING: usize = 10_000;

/// Characters of a statement that are kept.
const LONGEST: usize = 10_000;

/// Takes statements in, and has them written. Cheap to clone; clones are the same log. It ends with the last of them.
#[derive(Debug, Clone)]
pub struct QueryLog {
    noted: mpsc::Sender<Row>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    lost: Arc<Lost>,
}

/// Counts statements that did not get into the table, until that is told.
#[derive(Debug, Default)]
struct Lost(AtomicU64);

impl Lost {
    fn add(&self, statements: usize) {
        self.0.fetch_add(statements as u64, Ordering::Relaxed);
        metric::SQL_UNLOGGED.add([], statements as u64);
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A row of the table, which has one more column: `policy`, null since no policy applies to any statement yet. Policies name themselves
/// there once there are some.
#[derive(Debug)]
struct Row {
    /// A UUID of version 7: it sorts by time.
    query_id: String,
    /// When the statement began.
    at: DateTime<Utc>,
    /// The login name.
    who: String,
    /// As in `SET ROLE`, else the login name.
    role: String,
    /// Without what looks like a CPR number, and without the values of its parameters.
    statement: String,
    /// What it reads, `schema.table`, sorted.
    tables: Vec<String>,
    /// How many rows were sent; none where it failed, whatever was sent before.
    rows: Option<u64>,
    /// From its start to its last row, or until its cursor was closed.
    milliseconds: u64,
    /// The SQLSTATE. A message may tell values.
    error: Option<String>,
}

impl QueryLog {
    /// Opens the log of a lake, and spawns the task that writes it.
    pub(crate) fn start(lake: Lake) -> Self {
        let (noted, to_write) = mpsc::channel(WAITING);
        let (flushes, asked) = mpsc::channel(1);
        let lost = Arc::new(Lost::default());
        tokio::spawn(Writer::new(lake, to_write, asked, Arc::clone(&lost)).run());
        Self {
            noted,
            flushes,
            lost,
        }
    }

    /// Begins with a statement, which is noted when it has ended. `tables` are those it reads, `schema.table`, sorted.
    pub fn begin(&self, who: &str, role: &str, statement: &str, tables: Vec<String>) -> Answering {
        // Cut first, half a CPR number could be left.
        let statement = contract::scrub(statement).chars().take(LONGEST).collect();
        Answering {
            log: self.clone(),
            begun: Instant::now(),
            sent: AtomicU64::new(0),
            row: Mutex::new(Some(Row {
                query_id: Uuid::now_v7().to_string(),
                at: Utc::now(),
                who: who.to_owned(),
                role: role.to_owned(),
                statement,
                tables,
                rows: None,
                milliseconds: 0,
                error: None,
            })),
        }
    }

    /// Returns when all that was noted before is written, or cannot be.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.flushes.send(done).await.is_ok() {
            written.await.ok();
        }
    }
}

/// A statement that is being answered. It ends once; at the latest when this is dropped.
#[derive(Debug)]
pub struct Answering {
    log: QueryLog,
    begun: Instant,
    sent: AtomicU64,
    row: Mutex<Option<Row>>,
}

impl Answering {
    /// Counts rows sent.
    pub fn sent(&self, rows: usize) {
        self.sent.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// All that was wanted is sent.
    pub fn end(&self) {
        self.note(None);
    }

    /// It failed with this SQLSTATE.
    pub fn fail(&self, sqlstate: &str) {
        self.note(Some(sqlstate.to_owned()));
    }

    fn note(&self, error: Option<String>) {
        let row = self
            .row
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(row) = row else { return };
        let milliseconds = self.begun.elapsed().as_millis();
        let row = Row {
            rows: error.is_none().then(|| self.sent.load(Ordering::Relaxed)),
            milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            error,
            ..row
        };
        // Nobody waits for the log.
        if self.log.noted.try_send(row).is_err() {
            self.log.lost.add(1);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.end();
    }
}

/// The table as it is now; without rows while nothing was noted.
pub(crate) async fn table(lake: &Lake) -> Result<Arc<dyn TableProvider>> {
    let found = lake.provider(QUERY_LOG, None).await;
    match found.map_err(|err| outside(err.into()))? {
        Some(table) => Ok(table),
        None => Ok(Arc::new(EmptyTable::new(batch(&[])?.schema()))),
    }
}

/// Rows as the table has them.
fn batch(all: &[Row]) -> Result<RecordBatch> {
    // Named as Delta names it, so that the table has one type from its first day.
    let element = Field::new("element", DataType::Utf8, true);
    let mut tables = ListBuilder::new(StringBuilder::new()).with_field(element);
    for row in all {
        for table in &row.tables {
            tables.values().append_value(table);
        }
        tables.append(true);
    }
    let each = || all.iter();
    rows(vec![
        (
            "query_id",
            texts(each().map(|it| Some(it.query_id.clone()))),
        ),
        ("at", moments(each().map(|it| Some(it.at)))),
        ("who", texts(each().map(|it| Some(it.who.clone())))),
        ("role", texts(each().map(|it| Some(it.role.clone())))),
        (
            "statement",
            texts(each().map(|it| Some(it.statement.clone()))),
        ),
        ("tables", Arc::new(tables.finish())),
        ("rows", numbers(each().map(|it| it.rows))),
        (
            "milliseconds",
            numbers(each().map(|it| Some(it.milliseconds))),
        ),
        ("error", texts(each().map(|it| it.error.clone()))),
        ("policy", texts(each().map(|_| None))),
    ])
}

#[cfg(test)]
mod tests;
