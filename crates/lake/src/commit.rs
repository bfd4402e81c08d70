//! One attempt at one version: the commit file, put only if that version is free.

use std::collections::HashMap;

use deltalake::{
    kernel::{
        Action, Transaction,
        transaction::{CommitData, TransactionError},
    },
    logstore::{CommitOrBytes, LogStore, LogStoreRef},
    protocol::{DeltaOperation, SaveMode},
};
use serde_json::{Value, json};
use telemetry::{Traceparent, metric};
use uuid::Uuid;

use crate::{
    Error, Result, Txn,
    state::{State, commit_id, read_commit},
};

/// Key in `commitInfo` under which a commit carries an id of its own.
pub(crate) const COMMIT_ID: &str = "pejlCommit";

/// Key in `commitInfo` for the place in its trace of what made the commit.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// How often a commit is tried before giving up on a busy or failing table.
pub(crate) const ATTEMPTS: u32 = 20;

/// A commit to be made, at whatever version turns out to be free.
#[derive(Debug)]
pub(crate) struct Commit {
    id: String,
    mode: SaveMode,
    partition_by: Vec<String>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done,
    /// The version is taken, or the answer was lost.
    Unclear(String),
}

/// What stands at a version now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    Ours,
    Theirs,
    Nothing,
}

impl Commit {
    pub(crate) fn new(mode: SaveMode, partition_by: &[String]) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            mode,
            partition_by: partition_by.to_vec(),
        }
    }

    /// The bytes of the commit file.
    pub(crate) fn bytes(
        &self,
        table: &str,
        actions: Vec<Action>,
        txns: &[Txn],
    ) -> Result<bytes::Bytes> {
        let operation = DeltaOperation::Write {
            mode: self.mode,
            partition_by: (!self.partition_by.is_empty()).then(|| self.partition_by.clone()),
            predicate: None,
        };
        let mut info = HashMap::from([(COMMIT_ID.to_owned(), Value::from(self.id.clone()))]);
        if let Some(place) = Traceparent::current() {
            info.insert(TRACEPARENT.to_owned(), Value::from(place.to_string()));
        }
        // Without `lastUpdated` a txn never expires: with it, a table property could make an idle
        // topic start over from its first offset.
        let txns = txns
            .iter()
            .map(|txn| Transaction::new(&txn.app_id, txn.version))
            .collect();
        CommitData::new(actions, operation, info, txns)
            .get_bytes()
            .map_err(|err| Error::rows(table, err))
    }

    /// Puts `bytes` as `version` if there is no such version yet.
    pub(crate) async fn put(
        &self,
        log: &LogStoreRef,
        version: i64,
        bytes: bytes::Bytes,
    ) -> Attempt {
        let at = u64::try_from(version).unwrap_or_default();
        let entry = CommitOrBytes::LogBytes(bytes);
        match log.write_commit_entry(at, entry, Uuid::new_v4()).await {
            Ok(()) => Attempt::Done,
            // S3 may also say this of a put that merely raced another, so it is looked into like
            // every other failure: apache/arrow-rs-object-store#852.
            Err(TransactionError::VersionAlreadyExists(_)) => {
                Attempt::Unclear(format!("version {version} is taken"))
            }
            Err(err) => Attempt::Unclear(err.to_string()),
        }
    }

    /// Whether what stands at `version` is this commit.
    pub(crate) async fn at(&self, table: &str, log: &LogStoreRef, version: i64) -> Result<Stands> {
        Ok(match read_commit(table, log, version).await? {
            None => Stands::Nothing,
            Some(found) if commit_id(&found).as_deref() == Some(&self.id) => Stands::Ours,
            Some(_) => Stands::Theirs,
        })
    }
}

/// The actions that make a table: protocol and metadata.
pub(crate) fn creation(
    table: &str,
    schema: &deltalake::kernel::StructType,
    partition_by: &[String],
) -> Result<Vec<Action>> {
    let wrong = |err: &dyn std::fmt::Display| Error::rows(table, err);
    let protocol = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    let protocol = serde_json::from_value(protocol).map_err(|err| wrong(&err))?;
    let no_settings = std::iter::empty::<(String, String)>();
    let metadata = deltalake::kernel::new_metadata(schema, partition_by, no_settings)
        .map_err(|err| wrong(&err))?;
    Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
}

/// The action that gives the table of `state` another schema and partitioning.
pub(crate) fn alteration(
    table: &str,
    state: &State,
    schema: &deltalake::kernel::StructType,
    partition_by: &[String],
) -> Result<Action> {
    let wrong = |err: serde_json::Error| Error::rows(table, err);
    let mut metadata = state.metadata.clone();
    metadata["schemaString"] = serde_json::to_string(schema).map_err(wrong)?.into();
    metadata["partitionColumns"] = partition_by.into();
    serde_json::from_value(metadata)
        .map(Action::Metadata)
        .map_err(wrong)
}

/// Before a commit to `table` is tried again: waits a little longer each time, and never as long as another writer that does the same.
pub(crate) async fn pause(table: &str, attempt: u32) {
    metric::TABLE_RETRIES.add([table], 1);
    let longest = 20 << attempt.min(6);
    let share = Uuid::new_v4().as_u128() % 1000;
    let millis = longest / 2 + longest * u64::try_from(share).unwrap_or_default() / 2000;
    tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
}
