//! Planning and running on worker tasks, so that a connection always listens for a cancel, a timeout or a lost client.

use std::future::Future;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use pgwire::error::{PgWireError, PgWireResult};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use warehouse::Answering;

use crate::sqlstate;

/// Batches computed ahead of the client; the query waits while this many are not sent.
const AHEAD: usize = 2;

/// Plans one statement and refuses it when it would change anything.
pub(crate) async fn plan(ctx: &SessionContext, statement: Statement) -> PgWireResult<LogicalPlan> {
    let state = ctx.state();
    let plan = on_worker(async move {
        state
            .statement_to_plan(DfStatement::Statement(Box::new(statement)))
            .await
            .map_err(|error| sqlstate::from_datafusion(&error))
    })
    .await?;
    only_reads(&plan)?;
    Ok(plan)
}

/// A running query; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Batches {
    batches: mpsc::Receiver<PgWireResult<RecordBatch>>,
    worker: Option<AbortOnDropHandle<()>>,
    /// What is noted of it, if anything.
    answering: Option<Arc<Answering>>,
}

impl Batches {
    /// Starts a query.
    pub(crate) fn start(
        ctx: &SessionContext,
        plan: LogicalPlan,
        answering: Option<Arc<Answering>>,
    ) -> Batches {
        let (sender, batches) = mpsc::channel(AHEAD);
        let ctx = ctx.clone();
        let worker = tokio::spawn(async move {
            let started =
                async { ctx.execute_logical_plan(plan).await?.execute_stream().await }.await;
            let mut stream = match started {
                Ok(stream) => stream,
                Err(error) => {
                    sender
                        .send(Err(sqlstate::from_datafusion(&error)))
                        .await
                        .ok();
                    return;
                }
            };
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(|error| sqlstate::from_datafusion(&error));
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        Batches {
            batches,
            worker: Some(AbortOnDropHandle::new(worker)),
            answering,
        }
    }

    /// What is noted of the query, if anything.
    pub(crate) fn answering(&self) -> Option<&Arc<Answering>> {
        self.answering.as_ref()
    }

    /// Notes that rows were sent.
    pub(crate) fn sent(&self, rows: usize) {
        if let Some(answering) = &self.answering {
            answering.sent(rows);
        }
    }

    /// The next batch, or `None` after the last. Ask for it when the rows of the one before are noted as sent.
    pub(crate) async fn next(&mut self) -> PgWireResult<Option<RecordBatch>> {
        let next = self.receive().await;
        if let Some(answering) = &self.answering {
            match &next {
                Ok(Some(_)) => {}
                Ok(None) => answering.end(),
                Err(error) => answering.fail(sqlstate::code(error)),
            }
        }
        next
    }

    async fn receive(&mut self) -> PgWireResult<Option<RecordBatch>> {
        if let Some(batch) = self.batches.recv().await {
            return batch.map(Some);
        }
        match self.worker.take() {
            None => Ok(None),
            // The channel also closes when the worker dies; a short result must not look like a whole one.
            Some(worker) => worker.await.map(|()| None).map_err(|error| broken(&error)),
        }
    }
}

/// Runs a future on a task of its own, which is stopped when the caller is.
async fn on_worker<T: Send + 'static>(
    work: impl Future<Output = PgWireResult<T>> + Send + 'static,
) -> PgWireResult<T> {
    AbortOnDropHandle::new(tokio::spawn(work.in_current_span()))
        .await
        .map_err(|error| broken(&error))?
}

fn broken(error: &JoinError) -> PgWireError {
    if error.is_panic() {
        tracing::error!("a query panicked; this is a bug in the server or the engine");
        sqlstate::error(
            "XX000",
            "the query broke the engine; this is a bug in Pejl, please report the query",
        )
    } else {
        sqlstate::error("57014", "the query was stopped")
    }
}

fn only_reads(plan: &LogicalPlan) -> PgWireResult<()> {
    let mut writes = None;
    let walked = plan.apply_with_subqueries(|node| {
        writes = match node {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => Some("SELECT INTO"),
            LogicalPlan::Ddl(_) => Some("CREATE"),
            LogicalPlan::Dml(_) => Some("INSERT"),
            LogicalPlan::Copy(_) => Some("COPY FROM"),
            LogicalPlan::Statement(_) => Some("SET"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    walked.map_err(|error| sqlstate::from_datafusion(&error))?;
    writes.map_or(Ok(()), |tag| Err(sqlstate::read_only(tag)))
}
