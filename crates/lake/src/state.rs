//! What a table is at its latest version: schema, and every application's `txn`. Not its files.
//!
//! Read in full once, from the last checkpoint on, and then kept up to date one commit file at a
//! time, so that comparing two hundred `txn`s costs no more than comparing one.

mod log_files;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arrow::{
    array::{Array, AsArray},
    datatypes::Int64Type,
};
use deltalake::{
    DeltaTableError,
    kernel::{Snapshot, StructType},
    logstore::{LogStore, LogStoreRef},
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde::Deserialize;
use serde_json::Value;
use telemetry::Traceparent;

pub(crate) use self::log_files::LogFiles;
use crate::{
    Error, Lake, Result,
    commit::{COMMIT_ID, TRACEPARENT},
};

/// Past this age the state is read anew, long before log cleanup could remove the commits it still needs.
/// By the clock on the wall: the other one stands still while a machine sleeps.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Where a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its latest version.
    pub version: i64,
    /// The last version that changed rows or columns. Those after it put files together or moved
    /// positions: who has read this one has read them.
    pub rows_since: i64,
}

/// What the log calls a commit that only sets table properties.
const SETS_PROPERTIES: &str = "SET TBLPROPERTIES";

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) version: i64,
    rows_since: i64,
    /// The `metaData` action as it stands in the log.
    pub(crate) metadata: Value,
    pub(crate) schema: Arc<StructType>,
    pub(crate) txns: HashMap<String, i64>,
    /// Version of the last checkpoint known of.
    pub(crate) checkpoint: Option<i64>,
    protocol: (i64, i64),
    read_at: SystemTime,
}

/// Where a table stands: its latest version, and what that very version says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version.
    pub version: i64,
    /// Delta's id of the table: another one once it was deleted and made again.
    pub id: String,
    /// The `txn` of every application.
    pub txns: HashMap<String, i64>,
}

/// One line of a commit file, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    txn: Option<TxnAction>,
    meta_data: Option<Value>,
    protocol: Option<ProtocolAction>,
    add: Option<FileAction>,
    remove: Option<FileAction>,
    commit_info: Option<HashMap<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileAction {
    data_change: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TxnAction {
    app_id: String,
    version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProtocolAction {
    min_reader_version: i64,
    min_writer_version: i64,
}

impl Lake {
    /// The latest version of a table; `None` when there is no such table.
    pub async fn version(&self, table: &str) -> Result<Option<i64>> {
        Ok(self.latest(table).await?.map(|state| state.version))
    }

    /// Where a table is; `None` when there is no such table.
    pub async fn head(&self, table: &str) -> Result<Option<Head>> {
        let state = self.latest(table).await?;
        Ok(state.map(|state| Head {
            version: state.version,
            rows_since: state.rows_since,
        }))
    }

    /// The `txn` of every application that has written to the table; empty when there is no table.
    pub async fn txns(&self, table: &str) -> Result<HashMap<String, i64>> {
        let state = self.latest(table).await?;
        Ok(state.map(|state| state.txns.clone()).unwrap_or_default())
    }

    /// The place in its trace of the commit that made `version`, where it was traced and its file is still there.
    pub async fn traceparent(&self, table: &str, version: i64) -> Result<Option<Traceparent>> {
        let commit = read_commit(table, &self.log_store(table), version).await?;
        let place = commit.and_then(|it| commit_info(&it, TRACEPARENT));
        Ok(place.as_deref().and_then(Traceparent::parse))
    }

    /// Where the table stands now; `None` when there is no such table.
    pub async fn standing(&self, table: &str) -> Result<Option<Standing>> {
        let state = self.latest(table).await?;
        Ok(state.map(|state| Standing {
            version: state.version,
            id: state.metadata["id"].as_str().unwrap_or_default().to_owned(),
            txns: state.txns.clone(),
        }))
    }

    pub(crate) async fn latest(&self, table: &str) -> Result<Option<Arc<State>>> {
        let slot = self.slot(table);
        let mut state = slot.state.lock().await;
        refresh(self, table, &mut state).await
    }
}

/// Brings `known` up to the table's latest version.
pub(crate) async fn refresh(
    lake: &Lake,
    table: &str,
    known: &mut Option<Arc<State>>,
) -> Result<Option<Arc<State>>> {
    let log = lake.log_store(table);
    let fresh = known
        .take()
        .filter(|state| state.read_at.elapsed().is_ok_and(|age| age < MAX_AGE));
    let mut state = match fresh {
        Some(state) => state,
        None => match read(table, &log).await? {
            Some(state) => Arc::new(state),
            None => return Ok(None),
        },
    };
    while let Some(commit) = read_commit(table, &log, state.version + 1).await? {
        let next = state.version + 1;
        Arc::make_mut(&mut state).advance(table, next, &commit)?;
    }
    *known = Some(Arc::clone(&state));
    Ok(Some(state))
}

impl State {
    /// # Errors
    /// [`Error::Foreign`] when the table asks for more than Pejl's writer does.
    pub(crate) fn check_writable(&self, table: &str) -> Result<()> {
        let (reader, writer) = self.protocol;
        if reader > 1 || writer > 2 {
            let table = table.to_owned();
            return Err(Error::Foreign {
                table,
                reader,
                writer,
            });
        }
        Ok(())
    }

    /// The columns the table's files are kept apart by.
    pub(crate) fn partition_by(&self) -> Vec<String> {
        let names = self.metadata["partitionColumns"].as_array();
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    }

    /// Goes on to `version`, which is the next and was made by `commit`.
    pub(crate) fn advance(&mut self, table: &str, version: i64, commit: &[u8]) -> Result<()> {
        self.version = version;
        let lines = lines(commit).collect::<serde_json::Result<Vec<Line>>>();
        let lines = lines.map_err(|err| self.bad_commit(table, err))?;
        if changes_rows(&lines) {
            self.rows_since = version;
        }
        for line in lines {
            if let Some(txn) = line.txn {
                self.txns.insert(txn.app_id, txn.version);
            }
            if let Some(protocol) = line.protocol {
                self.protocol = (protocol.min_reader_version, protocol.min_writer_version);
            }
            if let Some(metadata) = line.meta_data {
                self.schema =
                    Arc::new(schema_of(&metadata).map_err(|err| self.bad_commit(table, err))?);
                self.metadata = metadata;
            }
        }
        Ok(())
    }

    fn bad_commit(&self, table: &str, err: impl std::fmt::Display) -> Error {
        Error::damaged(table, format!("commit {}: {err}", self.version))
    }
}

/// The bytes of the commit file of `version`, if that version exists.
pub(crate) async fn read_commit(
    table: &str,
    log: &LogStoreRef,
    version: i64,
) -> Result<Option<bytes::Bytes>> {
    let version = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    let found = log.read_commit_entry(version).await;
    found.map_err(|err| Error::storage(&format!("reading commit {version} of {table}"), err))
}

/// The id Pejl gave a commit, if it was Pejl's.
pub(crate) fn commit_id(commit: &[u8]) -> Option<String> {
    commit_info(commit, COMMIT_ID)
}

fn commit_info(commit: &[u8], key: &str) -> Option<String> {
    let info = lines(commit).find_map(|line| line.ok()?.commit_info)?;
    Some(info.get(key)?.as_str()?.to_owned())
}

/// Whether a commit changed rows or columns. One that only puts files together says so of each, and one
/// that only sets table properties by its name.
fn changes_rows(commit: &[Line]) -> bool {
    let info = commit.iter().find_map(|line| line.commit_info.as_ref());
    let sets_properties =
        info.is_some_and(|info| info.get("operation") == Some(&SETS_PROPERTIES.into()));
    commit.iter().any(|line| {
        let mut files = line.add.iter().chain(&line.remove);
        files.any(|file| file.data_change != Some(false))
            || (line.meta_data.is_some() && !sets_properties)
    })
}

fn lines(commit: &[u8]) -> impl Iterator<Item = serde_json::Result<Line>> {
    serde_json::Deserializer::from_slice(commit).into_iter()
}

fn schema_of(metadata: &Value) -> serde_json::Result<StructType> {
    serde_json::from_str(metadata["schemaString"].as_str().unwrap_or_default())
}

async fn read(table: &str, log: &LogStoreRef) -> Result<Option<State>> {
    let store = log.object_store(None);
    let files = LogFiles::since_checkpoint(table, store.as_ref()).await?;
    let Some(version) = files.version() else {
        return Ok(None);
    };
    let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    let snapshot = match Snapshot::try_new(log.as_ref(), Some(at)).await {
        Ok(snapshot) => snapshot,
        Err(DeltaTableError::NotATable(_)) => return Ok(None),
        Err(err) => return Err(Error::storage(&format!("reading the log of {table}"), err)),
    };
    let action = |value: serde_json::Result<Value>| value.map_err(|err| Error::damaged(table, err));
    let protocol = action(serde_json::to_value(snapshot.protocol()))?;
    let number = |name: &str| protocol[name].as_i64().unwrap_or(i64::MAX);
    let base = files.checkpoint().unwrap_or(-1);
    let mut state = State {
        version,
        rows_since: -1,
        metadata: action(serde_json::to_value(snapshot.metadata()))?,
        schema: snapshot.schema(),
        txns: HashMap::new(),
        checkpoint: files.checkpoint(),
        protocol: (number("minReaderVersion"), number("minWriterVersion")),
        read_at: SystemTime::now(),
    };
    for part in files.checkpoint_parts() {
        read_checkpoint_txns(table, store.as_ref(), part, &mut state.txns).await?;
    }
    let commits = stream::iter(base + 1..=version)
        .map(|version| async move {
            let commit = read_commit(table, log, version).await?;
            commit.ok_or_else(|| Error::damaged(table, format!("commit {version} is gone")))
        })
        .buffered(16)
        .try_collect::<Vec<_>>()
        .await?;
    for (version, commit) in (base + 1..).zip(commits) {
        state.advance(table, version, &commit)?;
    }
    if state.rows_since < 0 {
        state.rows_since = rows_since(table, log, base.max(0)).await?;
    }
    Ok(Some(state))
}

/// The last version up to `version` that changed rows or columns. Where the log no longer tells, the first
/// version it has: rows are then taken for newer than they are, never for older.
async fn rows_since(table: &str, log: &LogStoreRef, mut version: i64) -> Result<i64> {
    while let Some(commit) = read_commit(table, log, version).await? {
        let lines = lines(&commit).collect::<serde_json::Result<Vec<Line>>>();
        if changes_rows(&lines.map_err(|err| Error::damaged(table, err))?) || version == 0 {
            return Ok(version);
        }
        version -= 1;
    }
    Ok(version + 1)
}

async fn read_checkpoint_txns(
    table: &str,
    store: &dyn ObjectStore,
    path: &Path,
    txns: &mut HashMap<String, i64>,
) -> Result<()> {
    let failed = |err: StoreError| Error::storage(&format!("reading {path} of {table}"), err);
    let bytes = store
        .get(path)
        .await
        .map_err(failed)?
        .bytes()
        .await
        .map_err(failed)?;
    let bad = |err: &dyn std::fmt::Display| Error::damaged(table, format!("{path}: {err}"));
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|err| bad(&err))?;
    let mask = ProjectionMask::columns(file.parquet_schema(), ["txn.appId", "txn.version"]);
    let rows = file
        .with_projection(mask)
        .build()
        .map_err(|err| bad(&err))?;
    for batch in rows {
        let batch = batch.map_err(|err| bad(&err))?;
        let Some(txn) = batch
            .column_by_name("txn")
            .and_then(|it| it.as_struct_opt())
        else {
            continue;
        };
        let (Some(ids), Some(versions)) = (
            txn.column_by_name("appId")
                .and_then(|it| it.as_string_opt::<i32>()),
            txn.column_by_name("version")
                .and_then(|it| it.as_primitive_opt::<Int64Type>()),
        ) else {
            return Err(bad(&"its txn column has other types than Delta's"));
        };
        for row in 0..txn.len() {
            if txn.is_valid(row) && ids.is_valid(row) && versions.is_valid(row) {
                txns.insert(ids.value(row).to_owned(), versions.value(row));
            }
        }
    }
    Ok(())
}
