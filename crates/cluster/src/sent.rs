//! A plan that runs in a cluster, as a leaf of a plan here.

use std::{fmt, sync::Arc};

use ballista_core::{execution_plans::execute_physical_plan, extension::SessionConfigExt};
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
    prelude::SessionConfig,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;

use crate::{Error, SCHEME};

/// The plan, and where it goes. Its rows come in one partition, in the order that the plan gives them where it gives them in one.
pub(crate) struct Sent {
    plan: Arc<dyn ExecutionPlan>,
    scheduler: String,
    session: String,
    config: SessionConfig,
    properties: Arc<PlanProperties>,
}

impl Sent {
    pub(crate) fn new(
        plan: Arc<dyn ExecutionPlan>,
        scheduler: String,
        session: String,
        config: SessionConfig,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(plan.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            plan,
            scheduler,
            session,
            config,
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent")
            .field("plan", &self.plan)
            .field("scheduler", &self.scheduler)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for Sent {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sent: scheduler={}", self.scheduler)
    }
}

impl ExecutionPlan for Sent {
    fn name(&self) -> &str {
        "Sent"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// None: what is sent is not to be changed here.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            let there = format!("a sent plan has one partition, not {}", partition + 1);
            return Err(DataFusionError::Internal(there));
        }
        let (scheduler, session) = (self.scheduler.clone(), self.session.clone());
        let (plan, config) = (Arc::clone(&self.plan), self.config.clone());
        let rows = async move {
            reach(&scheduler).await?;
            let codec = config.ballista_physical_extension_codec();
            execute_physical_plan::<PhysicalPlanNode>(
                scheduler,
                &config.ballista_config(),
                plan,
                codec.as_ref(),
                session,
                config.clone(),
            )
            .await
        };
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.plan.schema(),
            rows,
        )))
    }
}

/// Makes sure that the scheduler is there: what Ballista says otherwise names no address.
async fn reach(scheduler: &str) -> Result<()> {
    let address = scheduler.trim_start_matches(SCHEME);
    let reached = tokio::net::TcpStream::connect(address).await;
    reached.map(drop).map_err(|err| {
        DataFusionError::External(Box::new(Error::Unreachable {
            address: address.to_owned(),
            reason: err.to_string(),
        }))
    })
}
