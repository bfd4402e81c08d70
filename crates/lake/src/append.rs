//! Appending: files and positions in one commit, or nothing.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use deltalake::{
    kernel::{Action, Add, StructType},
    protocol::SaveMode,
};
use futures::{StreamExt, stream};

use crate::{
    Error, Lake, Result, columns,
    commit::{ATTEMPTS, Attempt, Commit, Stands, alteration, creation, pause},
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
            actions(table, state.as_deref(), &wanted, &[])?;
        }
        let casts = stream::iter(batches)
            .map(|batch| columns::cast_to(table, &stored, &batch))
            .boxed();
        let adds = files::write(self, table, &stored, &[], casts).await?;

        let mut known = slot.state.lock().await;
        let done = self
            .commit_append(table, &wanted, &adds, txns, &mut known)
            .await;
        match &done {
            Ok(Appended::Committed { version }) => {
                upkeep::checkpoint_if_due(self, table, *version, &mut known).await;
            }
            // An unknown outcome keeps its files: the commit may yet turn up.
            Err(Error::Unavailable(_)) => {}
            Ok(Appended::Superseded { .. }) | Err(_) => files::discard(self, table, &adds).await,
        }
        done
    }

    async fn commit_append(
        &self,
        table: &str,
        wanted: &StructType,
        adds: &[Add],
        txns: &[Txn],
        known: &mut Option<Arc<State>>,
    ) -> Result<Appended> {
        let log = self.log_store(table);
        let commit = Commit::new(SaveMode::Append, &[]);
        let mut tried: Option<i64> = None;
        let mut failure = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                pause(table, attempt).await;
            }
            // Until the version tried is known to be taken by another, nothing else is compared:
            // our own commit would look like someone else's.
            if let Some(version) = tried {
                match commit.at(table, &log, version).await {
                    Ok(Stands::Ours) => return Ok(Appended::Committed { version }),
                    Ok(Stands::Theirs) => tried = None,
                    Ok(Stands::Nothing) => {}
                    Err(err) => {
                        failure = err.to_string();
                        continue;
                    }
                }
            }
            let state = match state::refresh(self, table, known).await {
                Ok(state) => state,
                Err(Error::Unavailable(err)) => {
                    failure = err;
                    continue;
                }
                Err(err) => return Err(err),
            };
            let version = state.as_ref().map_or(0, |state| state.version + 1);
            if tried.is_some_and(|tried| tried < version) {
                // It has turned up since we looked.
                continue;
            }
            if let Some(superseded) = moved(state.as_deref(), txns) {
                return Ok(superseded);
            }
            let actions = actions(table, state.as_deref(), wanted, adds)?;
            let bytes = commit.bytes(table, actions, txns)?;
            match commit.put(&log, version, bytes.clone()).await {
                Attempt::Done => {
                    if let Some(known) = known {
                        Arc::make_mut(known).advance(table, version, &bytes)?;
                    }
                    return Ok(Appended::Committed { version });
                }
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

fn actions(
    table: &str,
    state: Option<&State>,
    wanted: &StructType,
    adds: &[Add],
) -> Result<Vec<Action>> {
    let mut actions = match state {
        None => creation(table, wanted, &[])?,
        Some(state) => {
            state.check_writable(table)?;
            if !state.partition_by().is_empty() {
                return Err(Error::rows(
                    table,
                    "it is partitioned, and only replaced as a whole",
                ));
            }
            match columns::widened(table, &state.schema, wanted)? {
                Some(wider) => vec![alteration(table, state, &wider, &[])?],
                None => Vec::new(),
            }
        }
    };
    actions.extend(adds.iter().cloned().map(Action::Add));
    Ok(actions)
}
