//! Replacing: a new version that holds exactly a stream of rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use deltalake::{
    kernel::{Action, Add, Snapshot, StructType},
    logstore::LogStoreRef,
    protocol::SaveMode,
};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Error, Lake, Result, columns,
    commit::{ATTEMPTS, Attempt, Commit, Stands, alteration, creation, pause},
    files,
    state::{self, State},
    upkeep,
};

impl Lake {
    /// Makes one new version of the table that holds exactly the rows of `input` (columns of
    /// `schema`, by position), in files by the values of `partition_by`. Earlier versions stay readable.
    ///
    /// The rows go to files as they come; what is held in memory is one row group for each partition.
    ///
    /// # Errors
    /// An error of `input` is passed on and leaves the table as it was.
    pub async fn replace(
        &self,
        table: &str,
        schema: &SchemaRef,
        input: SendableRecordBatchStream,
        partition_by: &[String],
    ) -> Result<i64> {
        let stored = columns::stored(schema);
        let wanted = columns::to_delta(table, &stored)?;
        if let Some(missing) = partition_by
            .iter()
            .find(|name| stored.index_of(name).is_err())
        {
            return Err(Error::rows(
                table,
                format!("no column `{missing}` to partition by"),
            ));
        }
        let casts = input
            .map(|batch| {
                columns::cast_to(
                    table,
                    &stored,
                    &batch.map_err(|err| Error::rows(table, err))?,
                )
            })
            .boxed();
        let adds = files::write(self, table, &stored, partition_by, casts).await?;

        let slot = self.slot(table);
        let mut known = slot.state.lock().await;
        let done = self
            .commit_replace(table, &wanted, partition_by, &adds, &mut known)
            .await;
        match &done {
            Ok(version) => upkeep::checkpoint_if_due(self, table, *version, &mut known).await,
            Err(Error::Unavailable(_)) => {}
            Err(_) => files::discard(self, table, &adds).await,
        }
        done
    }

    async fn commit_replace(
        &self,
        table: &str,
        wanted: &StructType,
        partition_by: &[String],
        adds: &[Add],
        known: &mut Option<Arc<State>>,
    ) -> Result<i64> {
        let log = self.log_store(table);
        let commit = Commit::new(SaveMode::Overwrite, partition_by);
        let mut failure = String::new();
        let mut tried = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                pause(table, attempt).await;
            }
            if let Some(version) = tried {
                match commit.at(table, &log, version).await {
                    Ok(Stands::Ours) => return Ok(version),
                    Ok(Stands::Theirs) => tried = None,
                    Ok(Stands::Nothing) => {}
                    Err(err) => {
                        failure = err.to_string();
                        continue;
                    }
                }
            }
            let state = state::refresh(self, table, known).await?;
            let version = state.as_ref().map_or(0, |state| state.version + 1);
            if tried.is_some_and(|tried| tried < version) {
                continue;
            }
            let mut actions = match state.as_deref() {
                None => creation(table, wanted, partition_by)?,
                Some(state) => {
                    state.check_writable(table)?;
                    let mut actions = removals(table, &log, state.version).await?;
                    if *state.schema != *wanted || state.partition_by() != partition_by {
                        actions.push(alteration(table, state, wanted, partition_by)?);
                    }
                    actions
                }
            };
            actions.extend(adds.iter().cloned().map(Action::Add));
            let bytes = commit.bytes(table, actions, &[])?;
            match commit.put(&log, version, bytes).await {
                Attempt::Done => return Ok(version),
                Attempt::Unclear(reason) => {
                    failure = reason;
                    tried = Some(version);
                }
            }
        }
        Err(Error::Unavailable(format!(
            "committing to {table}: gave up after {ATTEMPTS} attempts: {failure}"
        )))
    }
}

/// Removal of every file the version holds.
async fn removals(table: &str, log: &LogStoreRef, version: i64) -> Result<Vec<Action>> {
    let failed = |err| Error::storage(&format!("reading the files of {table}"), err);
    let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    let snapshot = Snapshot::try_new(log.as_ref(), Some(at))
        .await
        .map_err(failed)?;
    snapshot
        .file_views(log.as_ref(), None)
        .map_ok(|file| Action::Remove(file.remove_action(true)))
        .try_collect()
        .await
        .map_err(failed)
}
