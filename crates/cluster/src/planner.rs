//! Plans a query here, and has a cluster run it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use ballista_core::extension::SessionConfigExt;
use datafusion::{
    catalog::Session,
    error::{DataFusionError, Result},
    execution::{SessionState, SessionStateBuilder, context::QueryPlanner},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
    prelude::SessionConfig,
};

use crate::{
    MESSAGE_BYTES, SCHEME, joins::one_task_where_needed, sent::Sent, windows::sorted_in_full,
};

/// A cluster, by its scheduler. As the planner of a session it has the session's queries run there.
pub struct Cluster {
    scheduler: String,
    /// One session for all queries of this process: the scheduler keeps each it hears of.
    session: String,
    tasks: usize,
}

impl Cluster {
    /// The cluster of a scheduler, `host:port`. `tasks` is in how many parts a query is split.
    #[must_use]
    pub fn new(scheduler: &str, tasks: usize) -> Self {
        Self {
            scheduler: format!("{SCHEME}{scheduler}"),
            session: uuid::Uuid::new_v4().to_string(),
            tasks: tasks.max(1),
        }
    }

    /// The session's configuration with what Ballista needs: nothing that crosses from one stage into another.
    fn configured(&self, config: &SessionConfig) -> SessionConfig {
        let config = config.clone().upgrade_for_ballista();
        let config = config.with_ballista_grpc_client_max_message_size(MESSAGE_BYTES as usize);
        config.with_target_partitions(self.tasks)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.scheduler).finish()
    }
}

#[async_trait]
impl QueryPlanner for Cluster {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            return Err(DataFusionError::Internal(
                "a session that is no session state".to_owned(),
            ));
        };
        let config = self.configured(state.config());
        let state = SessionStateBuilder::new_from_existing(state.clone())
            .with_config(config.clone())
            .build();
        // It was optimised for this process, where a subquery may hand its answer to another part of the plan.
        let logical_plan = state.optimize(logical_plan)?;
        let planner = DefaultPhysicalPlanner::default();
        let plan = planner.create_physical_plan(&logical_plan, &state).await?;
        if !reads_tables(&plan) {
            return Ok(plan);
        }
        Ok(Arc::new(Sent::new(
            sorted_in_full(one_task_where_needed(plan)?)?,
            self.scheduler.clone(),
            self.session.clone(),
            config,
        )))
    }
}

/// Whether a plan reads files. One that does not is not worth the way.
fn reads_tables(plan: &Arc<dyn ExecutionPlan>) -> bool {
    use datafusion::datasource::{physical_plan::FileScanConfig, source::DataSourceExec};
    let is_scan = plan
        .downcast_ref::<DataSourceExec>()
        .is_some_and(|it| it.data_source().downcast_ref::<FileScanConfig>().is_some());
    is_scan || plan.children().into_iter().any(reads_tables)
}
