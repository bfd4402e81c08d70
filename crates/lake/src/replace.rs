//! Replacing: a new version that holds exactly a stream of rows, in the whole table or in some of its parts.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{common::runtime::SpawnedTask, execution::SendableRecordBatchStream};
use deltalake::{
    kernel::{Action, Add, Remove, Snapshot, StructType},
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

/// A part of a table that is split by one column: the column's value as text, `None` where it is null.
pub type Part = Option<String>;

/// Rows in files that no version of a table names yet.
#[derive(Debug)]
#[must_use = "swap it in, or discard it"]
pub struct Staged {
    table: String,
    schema: StructType,
    partition_by: Vec<String>,
    adds: Vec<Add>,
}

impl Staged {
    /// The parts that rows were staged for; `None` alone for a table that is not split.
    pub fn parts(&self) -> BTreeSet<Part> {
        let part = |add: &Add| part_of(&add.partition_values, &self.partition_by);
        self.adds.iter().map(part).collect()
    }
}

impl Lake {
    /// Makes one new version of the table that holds exactly the rows of `input` (columns of
    /// `schema`, by position), in files by the values of `partition_by`. Earlier versions stay readable.
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
        let staged = self.stage(table, schema, input, partition_by).await?;
        self.swap(staged, None).await
    }

    /// Writes the rows of `input` (columns of `schema`, by position) to files by the values of `partition_by`, to be
    /// [swapped in](Self::swap) or [discarded](Self::discard).
    ///
    /// The rows go to files as they come; what is held in memory is one row group for each part.
    ///
    /// # Errors
    /// An error of `input` is passed on; no version names the files that were closed by then, and upkeep removes them.
    pub async fn stage(
        &self,
        table: &str,
        schema: &SchemaRef,
        input: SendableRecordBatchStream,
        partition_by: &[String],
    ) -> Result<Staged> {
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
        // In a task of its own: encoding is as much work as computing the rows, and several tables are written at once.
        let (lake, name, split) = (self.clone(), table.to_owned(), partition_by.to_vec());
        let writing = SpawnedTask::spawn(async move {
            let casts = input
                .map(|batch| {
                    columns::cast_to(
                        &name,
                        &stored,
                        &batch.map_err(|err| Error::of_query(&name, &err))?,
                    )
                })
                .boxed();
            files::write(&lake, &name, &stored, &split, files::QUICK, casts).await
        });
        let written = writing.join_unwind().await;
        Ok(Staged {
            table: table.to_owned(),
            schema: wanted,
            partition_by: partition_by.to_vec(),
            adds: written.map_err(|err| Error::storage(&format!("writing {table}"), err))??,
        })
    }

    /// Makes a new version of the staged files. With `kept`, a version and some parts, it holds the files that version has
    /// outside of those parts too, and of the staged ones those inside. Whatever else the latest version holds is gone from the new one.
    ///
    /// # Errors
    /// Leaves the table as it was, and the staged files removed; except that after [`Error::Unavailable`] the
    /// version may yet turn up.
    pub async fn swap(
        &self,
        mut staged: Staged,
        kept: Option<(i64, &BTreeSet<Part>)>,
    ) -> Result<i64> {
        let table = staged.table.clone();
        let mut others = BTreeMap::new();
        if let Some((base, parts)) = kept {
            let partition_by = staged.partition_by.clone();
            let is_in = |add: &Add| parts.contains(&part_of(&add.partition_values, &partition_by));
            let unwanted: Vec<Add> = staged.adds.extract_if(.., |add| !is_in(add)).collect();
            files::discard(self, &table, &unwanted).await;
            others = match files_at(&table, &self.log_store(&table), base).await {
                Ok(files) => files,
                Err(err) => {
                    self.discard(staged).await;
                    return Err(err);
                }
            };
            others.retain(|_, file| !is_in(&file.add));
        }
        let slot = self.slot(&table);
        let mut known = slot.state.lock().await;
        let replace = Replace {
            staged: &staged,
            others: &others,
        };
        match commit(self, &table, &replace, &mut known).await {
            Ok(version) => {
                let version = version.ok_or_else(|| Error::damaged(&table, "not replaced"))?;
                upkeep::checkpoint_if_due(self, &table, version, &mut known).await;
                Ok(version)
            }
            // An unknown outcome keeps its files: the commit may yet turn up.
            Err(err @ Error::Unavailable(_)) => Err(err),
            Err(err) => {
                self.discard(staged).await;
                Err(err)
            }
        }
    }

    /// Removes files that were staged and are not wanted. Failing that they are garbage, not harm.
    pub async fn discard(&self, staged: Staged) {
        files::discard(self, &staged.table, &staged.adds).await;
    }

    /// The columns a version of a table is split by.
    pub async fn partition_by(&self, table: &str, version: i64) -> Result<Vec<String>> {
        let snapshot = snapshot(table, &self.log_store(table), version).await?;
        Ok(snapshot.metadata().partition_columns().to_vec())
    }

    /// The parts that a version of a table has files of.
    pub async fn parts(&self, table: &str, version: i64) -> Result<BTreeSet<Part>> {
        let log = self.log_store(table);
        let snapshot = snapshot(table, &log, version).await?;
        let columns = snapshot.metadata().partition_columns().to_vec();
        let files = files_of(table, &log, &snapshot).await?;
        let files = files.values();
        Ok(files
            .map(|it| part_of(&it.add.partition_values, &columns))
            .collect())
    }

    /// The parts of a table in which two of its versions differ, by their files; `None` where the versions are not split by the same one
    /// column or have other columns.
    pub async fn parts_changed(
        &self,
        table: &str,
        one: i64,
        other: i64,
    ) -> Result<Option<BTreeSet<Part>>> {
        if one == other {
            return Ok(Some(BTreeSet::new()));
        }
        let log = self.log_store(table);
        let (before, after) = (
            snapshot(table, &log, one).await?,
            snapshot(table, &log, other).await?,
        );
        let columns = before.metadata().partition_columns().to_vec();
        if columns.len() != 1
            || after.metadata().partition_columns() != columns
            || before.schema() != after.schema()
        {
            return Ok(None);
        }
        let before = files_of(table, &log, &before).await?;
        let after = files_of(table, &log, &after).await?;
        let missing = |(path, file): (&String, &File), there: &BTreeMap<String, File>| {
            (!there.contains_key(path)).then(|| part_of(&file.add.partition_values, &columns))
        };
        let gone = before.iter().filter_map(|it| missing(it, &after));
        let come = after.iter().filter_map(|it| missing(it, &before));
        Ok(Some(gone.chain(come).collect()))
    }
}

/// These files in the place of all that are not among the others.
struct Replace<'a> {
    staged: &'a Staged,
    others: &'a BTreeMap<String, File>,
}

#[async_trait]
impl Change for Replace<'_> {
    fn operation(&self) -> DeltaOperation {
        let partition_by = &self.staged.partition_by;
        DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: (!partition_by.is_empty()).then(|| partition_by.clone()),
            predicate: None,
        }
    }

    async fn actions(
        &self,
        table: &str,
        log: &LogStoreRef,
        state: Option<&State>,
    ) -> Result<Option<Vec<Action>>> {
        let (wanted, partition_by) = (&self.staged.schema, &self.staged.partition_by);
        let mut actions = Vec::new();
        let mut present = BTreeMap::new();
        match state {
            None => actions = creation(table, wanted, partition_by)?,
            Some(state) => {
                state.check_writable(table)?;
                present = files_at(table, log, state.version).await?;
                if *state.schema != *wanted || state.partition_by() != *partition_by {
                    actions.push(alteration(table, state, wanted, partition_by)?);
                }
            }
        }
        let removed = present
            .iter()
            .filter(|(path, _)| !self.others.contains_key(*path))
            .map(|(_, file)| Action::Remove(file.remove.clone()));
        let added_again = self
            .others
            .iter()
            .filter(|(path, _)| !present.contains_key(*path))
            .map(|(_, file)| Action::Add(file.add.clone()));
        actions.extend(removed.chain(added_again));
        actions.extend(self.staged.adds.iter().cloned().map(Action::Add));
        Ok(Some(actions))
    }
}

/// A file of a version, as it is added and as it is removed.
struct File {
    add: Add,
    remove: Remove,
}

/// Every file of a version, by path.
async fn files_at(table: &str, log: &LogStoreRef, version: i64) -> Result<BTreeMap<String, File>> {
    files_of(table, log, &snapshot(table, log, version).await?).await
}

async fn snapshot(table: &str, log: &LogStoreRef, version: i64) -> Result<Snapshot> {
    let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    Snapshot::try_new(log.as_ref(), Some(at))
        .await
        .map_err(|err| unreadable(table, err))
}

async fn files_of(
    table: &str,
    log: &LogStoreRef,
    snapshot: &Snapshot,
) -> Result<BTreeMap<String, File>> {
    snapshot
        .file_views(log.as_ref(), None)
        .map_ok(|file| {
            #[expect(
                deprecated,
                reason = "nothing else makes the action of a file that is to come back"
            )]
            let (add, remove) = (file.add_action(), file.remove_action(true));
            (add.path.clone(), File { add, remove })
        })
        .try_collect()
        .await
        .map_err(|err| unreadable(table, err))
}

fn unreadable(table: &str, err: deltalake::DeltaTableError) -> Error {
    Error::storage(&format!("reading the files of {table}"), err)
}

/// The part that a file with these values belongs to.
pub(crate) fn part_of(
    values: &std::collections::HashMap<String, Option<String>>,
    partition_by: &[String],
) -> Part {
    values.get(partition_by.first()?)?.clone()
}
