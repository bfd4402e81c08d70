//! `files`: CSV files dropped in a folder.
//!
//! Position: the ledger of files read, see [`Ledger`]. Delivery: once per content; a file is one transaction.

use std::{
    collections::{HashMap, VecDeque},
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{NaiveDate, Utc};
use connector_api::{Batch, BoxFuture, Connector, Delivery, Error, Reject, Result, Source};
use contract::{Position, matches};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rows::TextRows;
use document::Document;
use layout::{Delimiter, Encoding, Layout};
use ledger::{Ledger, Outcome};
use survey::{Survey, survey};
use watermark::{Watermark, latest, unbroken};

mod document;
mod layout;
mod ledger;
mod survey;
#[cfg(test)]
mod tests;
mod watermark;

/// CSV files in a folder.
pub(crate) struct Files;

/// Files are read in the order of their names, each as one transaction. A file is read again when its
/// content changed under the same name; the same content under a new name is not.
///
/// Every row must have as many fields as the header. A row that has not, has a broken quote or holds
/// bytes that are no characters goes to quarantine with its line number, and the rest of the file is
/// read. A file that cannot be read as rows at all (an Excel file called .csv, a column twice) goes to
/// quarantine as one row, and the files after it are read. Blank rows are passed over, also rows of nothing but delimiters. An empty field is null. An
/// empty file is fine, and each counts for itself, for it says that there was nothing. A column without a name is called `column_4` after its place.
///
/// Position: `{"files": {"<name>": "<sha-256>"}, "former": ["<sha-256>"]}`, the content read last under
/// each name (` empty` or ` refused` behind it where it gave no rows), and contents that were replaced since. It grows by about 100 bytes with every file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The folder. Folders in it are not looked into.
    path: PathBuf,
    /// Which file names are read: `*` stands for any characters, `?` for one; case is ignored. Names
    /// that begin with a dot or end in `.tmp`, `.part` or `.filepart` are never read.
    #[serde(default = "any_csv")]
    pattern: String,
    /// What stands between fields: one ASCII character, or `tab`. Without it, `;`, `,` or tab,
    /// whichever splits the header and the rows after it alike.
    #[serde(default)]
    delimiter: Option<Delimiter>,
    /// `auto`, or the name of an encoding such as `windows-1252`, `utf-8`, `utf-16le`. `auto` goes by
    /// the byte order mark if there is one; else it is UTF-8, unless the file holds more bytes that
    /// are not UTF-8 than characters that are (beyond ASCII), then Windows-1252.
    #[serde(default)]
    encoding: Encoding,
    /// The line the column names are on, counted from 1. Lines above it are passed over, and so are
    /// blank rows from there.
    #[serde(default = "first")]
    header_row: u64,
    /// Whether the last row is a total and no data.
    #[serde(default)]
    totals_row: bool,
    /// How long a file must have been left alone before it is read, in seconds.
    #[serde(default)]
    min_age_seconds: u64,
    /// What tells through which business day the files hold everything; without it they tell nothing, and indicators that need the
    /// entity stay pending. The pipeline must say `municipality_code`.
    #[serde(default)]
    watermark: Option<Watermark>,
}

fn any_csv() -> String {
    "*.csv".into()
}

fn first() -> u64 {
    1
}

impl Connector for Files {
    const NAME: &'static str = "files";
    const SUMMARY: &'static str = "CSV files dropped in a folder, each read whole and once.";
    type Config = Config;

    fn check_position(position: &Position) -> Result<()> {
        Ledger::from_position(position.clone()).map(drop)
    }

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        let ledger = from
            .map(Ledger::from_position)
            .transpose()?
            .unwrap_or_default();
        Ok(Box::new(Folder {
            layout: Layout {
                delimiter: config.delimiter,
                encoding: config.encoding,
                header_row: config.header_row.max(1),
                totals_row: config.totals_row,
            },
            path: config.path,
            pattern: config.pattern.to_lowercase(),
            min_age: Duration::from_secs(config.min_age_seconds),
            watermark: config.watermark,
            ledger,
            known: HashMap::new(),
            waiting: VecDeque::new(),
            current: None,
        }))
    }
}

struct Folder {
    path: PathBuf,
    pattern: String,
    layout: Layout,
    min_age: Duration,
    watermark: Option<Watermark>,
    ledger: Ledger,
    /// Files that need no second look while their size and time stay the same.
    known: HashMap<String, Stamp>,
    /// Names still to be looked at in this round.
    waiting: VecDeque<String>,
    current: Option<Open>,
}

/// The file being read.
struct Open {
    name: String,
    stamp: Stamp,
    survey: Survey,
    document: Document,
    /// Whether it gave a row or a reject so far.
    has_rows: bool,
    /// The latest date so far in the column that tells how far the file is complete.
    latest: Option<NaiveDate>,
}

type Stamp = (u64, Option<SystemTime>);

/// A file that has not been read.
enum Found {
    Readable(Box<Open>),
    /// It cannot be read as rows at all; the batch says so, and counts it as read.
    Refused(Batch),
}

impl Source for Folder {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            if self.current.is_none() && self.waiting.is_empty() {
                self.waiting = self.names()?.into();
            }
            loop {
                if let Some(open) = self.current.take() {
                    return self.read_on(open).await.map(Some);
                }
                let Some(name) = self.waiting.pop_front() else {
                    return Ok(None);
                };
                match self.look_at(name).await? {
                    None => {}
                    Some(Found::Readable(open)) => self.current = Some(*open),
                    Some(Found::Refused(batch)) => return Ok(Some(batch)),
                }
            }
        })
    }
}

impl Folder {
    /// The names in the folder that may be read, sorted.
    fn names(&self) -> Result<Vec<String>> {
        let unreadable = |err: io::Error| {
            let path = self.path.display().to_string();
            Error::Settings(format!(
                "folder {} cannot be read: {err}",
                contract::scrub(&path)
            ))
        };
        let mut names = Vec::new();
        for entry in self.path.read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(Error::Delivery(format!(
                    "the name {:?} is not valid UTF-8; rename the file",
                    entry.file_name()
                )));
            };
            if is_finished(&name) && matches(&self.pattern, &name.to_lowercase()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a file unless it has been read, is too young, is no file, or is gone.
    async fn look_at(&mut self, name: String) -> Result<Option<Found>> {
        let path = self.path.join(&name);
        let Some(metadata) = present(path.metadata(), &name)? else {
            return Ok(None);
        };
        let stamp = stamp(&metadata);
        if !metadata.is_file() || self.known.get(&name) == Some(&stamp) || self.is_young(&metadata)
        {
            return Ok(None);
        }
        let surveyed = blocking(move || survey(&path)).await?;
        let Some(survey) = present(surveyed, &name)? else {
            return Ok(None);
        };
        if self.ledger.has(&name, &survey.sha256) {
            self.known.insert(name, stamp);
            return Ok(None);
        }
        let path = self.path.join(&name);
        let shown = contract::scrub(&name).into_owned();
        let (layout, detected) = (self.layout.clone(), survey.encoding);
        let opened = blocking(move || Document::open(&path, shown, &layout, detected)).await?;
        Ok(Some(match opened? {
            Ok(document) => Found::Readable(Box::new(Open {
                name,
                stamp,
                survey,
                document,
                has_rows: false,
                latest: None,
            })),
            Err(reject) => Found::Refused(self.refuse(name, stamp, survey.sha256, reject)?),
        }))
    }

    /// The files after an unreadable one must not wait for its sender. It is read when its content changes.
    fn refuse(
        &mut self,
        name: String,
        stamp: Stamp,
        sha256: String,
        reject: Reject,
    ) -> Result<Batch> {
        let shown = contract::scrub(&name).into_owned();
        tracing::warn!(
            file = shown,
            sha256,
            reason = reject.reason,
            "file set aside"
        );
        let mut rows = TextRows::new(&[]);
        rows.reject(reject);
        let mut batch = rows.finish()?;
        self.complete(&mut batch, name, stamp, sha256, Outcome::Refused)?;
        Ok(batch)
    }

    /// Makes `batch` the last of a file.
    fn complete(
        &mut self,
        batch: &mut Batch,
        name: String,
        stamp: Stamp,
        sha256: String,
        outcome: Outcome,
    ) -> Result<()> {
        let file_name = contract::scrub(&name).into_owned();
        let watermark = self.watermark.as_ref();
        let period = watermark.and_then(|it| it.period_of(&name));
        self.ledger.add(&name, &sha256, outcome);
        self.known.insert(name, stamp);
        batch.position = Some(self.ledger.position()?);
        batch.delivery = Some(Delivery {
            file_name,
            sha256,
            period,
        });
        Ok(())
    }

    /// The next batch of the file; the last one has the position.
    async fn read_on(&mut self, mut open: Open) -> Result<Batch> {
        let (mut open, step) = blocking(move || {
            let step = open.document.step();
            (open, step)
        })
        .await?;
        let (mut batch, at_end) = step?;
        open.has_rows |= !batch.origins.is_empty() || !batch.rejects.is_empty();
        let today = contract::civil_day(Utc::now());
        if let Some(Watermark::Column { column }) = &self.watermark {
            open.latest = open.latest.max(latest(&batch.rows, column, today));
        }
        if !at_end {
            self.current = Some(open);
            return Ok(batch);
        }
        let shown = contract::scrub(&open.name).into_owned();
        let sha256 = open.survey.sha256;
        if open.document.sha256() != sha256 {
            return Err(Error::Source(format!(
                "{shown} changed while it was read; it is still being written"
            )));
        }
        tracing::info!(file = shown, sha256, "file read");
        let outcome = if open.has_rows {
            Outcome::Rows
        } else {
            Outcome::Empty
        };
        self.complete(&mut batch, open.name, open.stamp, sha256, outcome)?;
        batch.complete_through = match &self.watermark {
            Some(watermark @ Watermark::Name { .. }) => {
                let names = self.ledger.readable();
                unbroken(names.filter_map(|it| watermark.period_of(it)), today)
            }
            Some(Watermark::Column { .. }) => open.latest,
            None => None,
        };
        Ok(batch)
    }

    fn is_young(&self, metadata: &Metadata) -> bool {
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
        !self.min_age.is_zero() && age.unwrap_or_default() < self.min_age
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok())
}

/// A file that is gone by now is none; any other trouble may pass.
fn present<T>(result: io::Result<T>, name: &str) -> Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Error::Source(format!(
            "{} cannot be read: {err}",
            contract::scrub(name)
        ))),
    }
}

/// Runs file work where it does not hold up other tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| Error::Source(format!("reading was interrupted: {err}")))
}

/// Whether the name is not one that programs give to files they are still writing.
fn is_finished(name: &str) -> bool {
    let ending = Path::new(name)
        .extension()
        .and_then(|it| it.to_str())
        .unwrap_or_default();
    let unfinished = ["tmp", "part", "filepart"];
    !name.starts_with('.') && !unfinished.iter().any(|it| ending.eq_ignore_ascii_case(it))
}
