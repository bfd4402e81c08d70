//! Committing: a file put at the version after the snapshot it was made from, only if that version is free.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use deltalake::{
    kernel::{
        Action, Transaction,
        transaction::{CommitData, TransactionError},
    },
    logstore::{CommitOrBytes, LogStore, LogStoreRef},
    protocol::DeltaOperation,
};
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use serde_json::{Value, json};
use telemetry::{Traceparent, metric};
use uuid::Uuid;

use crate::{
    Error, Lake, Result, Txn,
    state::{self, State, commit_id, read_commit},
};

/// Key in `commitInfo` under which a commit carries an id of its own.
pub(crate) const COMMIT_ID: &str = "pejlCommit";

/// Key in `commitInfo` for the place in its trace of what made the commit.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// How often a commit is tried before giving up on a busy or failing table.
const ATTEMPTS: u32 = 20;

/// What a commit is to do to a table, whatever version it comes to follow.
#[async_trait]
pub(crate) trait Change: Sync {
    /// What the log calls it.
    fn operation(&self) -> DeltaOperation;

    /// Positions it moves.
    fn txns(&self) -> &[Txn] {
        &[]
    }

    /// Its actions after `state`; `None` when there is nothing to be done any more.
    async fn actions(
        &self,
        table: &str,
        log: &LogStoreRef,
        state: Option<&State>,
    ) -> Result<Option<Vec<Action>>>;
}

/// Commits `change` and tells the version; `None` when there is nothing to be done any more.
///
/// # Errors
/// After [`Error::Unavailable`] the commit may be there or yet turn up; after any other it is not.
pub(crate) async fn commit(
    lake: &Lake,
    table: &str,
    change: &dyn Change,
    known: &mut Option<Arc<State>>,
) -> Result<Option<i64>> {
    let mut commit = Commit {
        id: Uuid::new_v4().to_string(),
        log: lake.log_store(table),
        table,
        change,
        tried: None,
    };
    let mut failure = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            pause(table, attempt).await;
        }
        match commit.attempt(lake, known).await {
            Ok(Came::Done(version)) => return Ok(Some(version)),
            Ok(Came::Off) => return Ok(None),
            Ok(Came::Unread(version)) => {
                *known = None;
                return Err(Error::Unavailable(format!(
                    "committing to {table}: its log had been cleaned beyond version {version} meanwhile; look at the table anew"
                )));
            }
            Err(Error::Unavailable(reason)) => failure = reason,
            Err(err) => return Err(err),
        }
    }
    Err(Error::Unavailable(format!(
        "committing to {table}: gave up after {ATTEMPTS} attempts: {failure}"
    )))
}

/// A commit to be made, at whatever version turns out to be free.
struct Commit<'a> {
    id: String,
    log: LogStoreRef,
    table: &'a str,
    change: &'a dyn Change,
    /// Where it was put without an answer that says what came of it.
    tried: Option<i64>,
}

/// What came of an attempt.
enum Came {
    /// It is the table's version now.
    Done(i64),
    /// There is nothing to be done any more.
    Off,
    /// It stands where no reader will look: the log before it is gone.
    Unread(i64),
}

/// What stands at a version now.
#[derive(PartialEq, Eq)]
enum Stands {
    Ours,
    Theirs,
    Nothing,
}

impl Commit<'_> {
    /// # Errors
    /// After [`Error::Unavailable`] another attempt may succeed.
    async fn attempt(&mut self, lake: &Lake, known: &mut Option<Arc<State>>) -> Result<Came> {
        // Until the version tried is known to be taken by another, nothing else is looked at: our
        // own commit would look like someone else's.
        if let Some(version) = self.tried {
            match self.stands(version).await? {
                Stands::Ours => return self.done(version).await,
                Stands::Theirs => self.tried = None,
                Stands::Nothing => {}
            }
        }
        let state = state::refresh(lake, self.table, known).await?;
        let version = state.as_ref().map_or(0, |state| state.version + 1);
        if self.tried.is_some_and(|tried| tried < version) {
            let reason = format!("version {} has turned up", version - 1);
            return Err(Error::Unavailable(reason));
        }
        let actions = self.change.actions(self.table, &self.log, state.as_deref());
        let Some(actions) = actions.await? else {
            return Ok(Came::Off);
        };
        let bytes = self.bytes(actions)?;
        match self.put(version, bytes.clone()).await {
            Ok(()) => {}
            // A disk answers at once, so what is not there now will not turn up.
            Err(full @ Error::Full(_)) => {
                if self.stands(version).await? != Stands::Ours {
                    return Err(full);
                }
            }
            Err(err) => {
                self.tried = Some(version);
                return Err(err);
            }
        }
        self.tried = Some(version);
        let came = self.done(version).await?;
        if let (Came::Done(_), Some(known)) = (&came, known) {
            Arc::make_mut(known).advance(self.table, version, &bytes)?;
        }
        Ok(came)
    }

    /// The bytes of the commit file.
    fn bytes(&self, actions: Vec<Action>) -> Result<bytes::Bytes> {
        let mut info = HashMap::from([(COMMIT_ID.to_owned(), Value::from(self.id.clone()))]);
        if let Some(place) = Traceparent::current() {
            info.insert(TRACEPARENT.to_owned(), Value::from(place.to_string()));
        }
        // Without `lastUpdated` a txn never expires: with it, a table property could make an idle
        // topic start over from its first offset.
        let txns = self.change.txns().iter();
        let txns = txns.map(|txn| Transaction::new(&txn.app_id, txn.version));
        CommitData::new(actions, self.change.operation(), info, txns.collect())
            .get_bytes()
            .map_err(|err| Error::rows(self.table, err))
    }

    /// Puts `bytes` as `version` if there is no such version yet. Any failure may be a lost answer.
    async fn put(&self, version: i64, bytes: bytes::Bytes) -> Result<()> {
        let at = u64::try_from(version).unwrap_or_default();
        let entry = CommitOrBytes::LogBytes(bytes);
        match self.log.write_commit_entry(at, entry, Uuid::new_v4()).await {
            Ok(()) => Ok(()),
            // S3 may also say this of a put that merely raced another, so it is looked into like
            // every other failure: apache/arrow-rs-object-store#852.
            Err(TransactionError::VersionAlreadyExists(_)) => {
                Err(Error::Unavailable(format!("version {version} is taken")))
            }
            Err(err) => Err(Error::storage("putting a commit", err)),
        }
    }

    /// Whether what stands at `version` is this commit.
    async fn stands(&self, version: i64) -> Result<Stands> {
        Ok(match read_commit(self.table, &self.log, version).await? {
            None => Stands::Nothing,
            Some(found) if commit_id(&found).as_deref() == Some(&self.id) => Stands::Ours,
            Some(_) => Stands::Theirs,
        })
    }

    /// Whether the commit put at `version` follows on one that is there. It may not: when the log was
    /// cleaned past the snapshot before the put, the version was free a second time.
    async fn done(&self, version: i64) -> Result<Came> {
        let Some(before) = version.checked_sub(1).filter(|it| *it >= 0) else {
            return Ok(Came::Done(version));
        };
        let path = Path::from(format!("_delta_log/{before:020}.json"));
        match self.log.object_store(None).head(&path).await {
            Ok(_) => Ok(Came::Done(version)),
            Err(StoreError::NotFound { .. }) => Ok(Came::Unread(version)),
            Err(err) => Err(Error::storage(&format!("looking for {path}"), err)),
        }
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

/// The action that sets `properties` of the table of `state` and leaves the others.
pub(crate) fn reconfiguration(
    table: &str,
    state: &State,
    properties: impl IntoIterator<Item = (String, String)>,
) -> Result<Action> {
    let mut metadata = state.metadata.clone();
    for (key, value) in properties {
        metadata["configuration"][key] = value.into();
    }
    serde_json::from_value(metadata)
        .map(Action::Metadata)
        .map_err(|err| Error::rows(table, err))
}

/// Before a commit to `table` is tried again: waits a little longer each time, and never as long as another writer that does the same.
async fn pause(table: &str, attempt: u32) {
    metric::TABLE_RETRIES.add([table], 1);
    let longest = 20 << attempt.min(6);
    let share = Uuid::new_v4().as_u128() % 1000;
    let millis = longest / 2 + longest * u64::try_from(share).unwrap_or_default() / 2000;
    tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
}
