//! Appending: files and positions in one commit, or nothing.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use deltalake::{
    kernel::{Action, Add, StructType},
    logstore::LogStoreRef,
    protocol::{DeltaOperation, SaveMode},
};
use futures::{StreamExt, stream};

use crate::{
    Error, Lake, Result, columns,
    commit::{Change, alteration, commit, creation},
    files,
    state::{self, State},
    upkeep,
};

/// How far an application has come, to be recorded in the same commit as the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// Whose position it is.
    pub app_id: String,
    /// What the table is expected to hold for it; `None` for nothing yet.
    pub base: Option<i64>,
    /// What it becomes.
    pub version: i64,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Rows and positions are in the table.
    Committed {
        /// The version that holds them.
        version: i64,
    },
    /// Someone else has moved a position; nothing was written.
    Superseded {
        /// Whose position.
        app_id: String,
        /// What the table holds for it now.
        found: Option<i64>,
    },
}

impl Lake {
    /// Adds `batches` (columns of `schema`) to the table together with `txns`, in one commit.
    ///
    /// Makes the table on first use and adds columns it lacks; columns the rows lack read as null.
    /// Each `base` is compared with the very version the commit follows.
    ///
    /// # Errors
    /// After [`Error::Unavailable`] the rows may or may not be there: read [`Lake::txns`] before
    /// writing them again. After any other error they are not.
    pub async fn append(
        &self,
        table: &str,
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        txns: &[Txn],
    ) -> Result<Appended> {
        let stored = columns::stored(schema);
        let wanted = columns::to_delta(table, &stored)?;
        let slot = self.slot(table);
        {
            let mut known = slot.state.lock().await;
            let state = state::refresh(self, table, &mut known).await?;
            if let Some(superseded) = moved(state.as_deref(), txns) {
                return Ok(superseded);
            }
            // Rows that cannot go in are found before any of them is uploaded.
            preparations(table, state.as_deref(), &wanted)?;
        }
        let casts = stream::iter(batches)
            .map(|batch| columns::cast_to(table, &stored, &batch))
            .boxed();
        let compression = files::small().map_err(|err| Error::storage(table, err))?;
        let adds = files::write(self, table, &stored, &[], compression, casts).await?;

        let mut known = slot.state.lock().await;
        let append = Append {
            wanted: &wanted,
            adds: &adds,
            txns,
        };
        match commit(self, table, &append, &mut known).await {
            Ok(Some(version)) => {
                upkeep::checkpoint_if_due(self, table, version, &mut known).await;
                Ok(Appended::Committed { version })
            }
            Ok(None) => {
                files::discard(self, table, &adds).await;
                moved(known.as_deref(), txns)
                    .ok_or_else(|| Error::damaged(table, "a position moved and moved back"))
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

/// Files and positions added to a table.
struct Append<'a> {
    wanted: &'a StructType,
    adds: &'a [Add],
    txns: &'a [Txn],
}

#[async_trait]
impl Change for Append<'_> {
    fn operation(&self) -> DeltaOperation {
        DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: None,
            predicate: None,
        }
    }

    fn txns(&self) -> &[Txn] {
        self.txns
    }

    async fn actions(
        &self,
        table: &str,
        _: &LogStoreRef,
        state: Option<&State>,
    ) -> Result<Option<Vec<Action>>> {
        if moved(state, self.txns).is_some() {
            return Ok(None);
        }
        let mut actions = preparations(table, state, self.wanted)?;
        actions.extend(self.adds.iter().cloned().map(Action::Add));
        Ok(Some(actions))
    }
}

/// The first position that is not where it was expected.
fn moved(state: Option<&State>, txns: &[Txn]) -> Option<Appended> {
    txns.iter().find_map(|txn| {
        let found = state.and_then(|state| state.txns.get(&txn.app_id).copied());
        (found != txn.base).then(|| Appended::Superseded {
            app_id: txn.app_id.clone(),
            found,
        })
    })
}

/// What must go before files with columns `wanted`: the making of the table, or columns it lacks.
fn preparations(table: &str, state: Option<&State>, wanted: &StructType) -> Result<Vec<Action>> {
    let Some(state) = state else {
        return creation(table, wanted, &[]);
    };
    state.check_writable(table)?;
    if !state.partition_by().is_empty() {
        return Err(Error::rows(
            table,
            "it is partitioned, and only replaced as a whole",
        ));
    }
    let wider = columns::widened(table, &state.schema, wanted)?;
    let altered = wider.map(|wider| alteration(table, state, &wider, &[]));
    altered.into_iter().collect()
}
