//! Replacing: a new version that holds exactly a stream of rows.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use deltalake::{
    kernel::{Action, Add, Snapshot, StructType},
    logstore::LogStoreRef,
    protocol::{DeltaOperation, SaveMode},
};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Error, Lake, Result, columns,
    commit::{Change, alteration, commit, creation},
    files,
    state::State,
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
        let replace = Replace {
            wanted: &wanted,
            partition_by,
            adds: &adds,
        };
        match commit(self, table, &replace, &mut known).await {
            Ok(version) => {
                let version = version.ok_or_else(|| Error::damaged(table, "not replaced"))?;
                upkeep::checkpoint_if_due(self, table, version, &mut known).await;
                Ok(version)
            }
            // An unknown outcome keeps its files: the commit may yet turn up.
            Err(err @ Error::Unavailable(_)) => Err(err),
            Err(err) => {
                files::discard(self, table, &adds).await;
                Err(err)
            }
        }
    }
}

/// These files in the place of all others.
struct Replace<'a> {
    wanted: &'a StructType,
    partition_by: &'a [String],
    adds: &'a [Add],
}

#[async_trait]
impl Change for Replace<'_> {
    fn operation(&self) -> DeltaOperation {
        DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: (!self.partition_by.is_empty()).then(|| self.partition_by.to_vec()),
            predicate: None,
        }
    }

    async fn actions(
        &self,
        table: &str,
        log: &LogStoreRef,
        state: Option<&State>,
    ) -> Result<Option<Vec<Action>>> {
        let (wanted, partition_by) = (self.wanted, self.partition_by);
        let mut actions = match state {
            None => creation(table, wanted, partition_by)?,
            Some(state) => {
                state.check_writable(table)?;
                let mut actions = removals(table, log, state.version).await?;
                if *state.schema != *wanted || state.partition_by() != partition_by {
                    actions.push(alteration(table, state, wanted, partition_by)?);
                }
                actions
            }
        };
        actions.extend(self.adds.iter().cloned().map(Action::Add));
        Ok(Some(actions))
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
