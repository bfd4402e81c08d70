//! The scheduler: takes plans, splits them into stages, and hands their tasks to executors.

use std::{net::SocketAddr, sync::Arc};

use ballista_core::{config::TaskSchedulingPolicy, extension::SessionConfigExt};
use ballista_scheduler::{
    cluster::BallistaCluster, config::SchedulerConfig, scheduler_process::start_server,
};
use datafusion::{
    execution::{SessionState, SessionStateBuilder},
    prelude::SessionConfig,
};

use crate::{Error, MESSAGE_BYTES, Result};

/// A plan for which no executor comes within so many seconds has failed.
const PATIENCE_SECONDS: u64 = 180;

/// Results wait so many seconds for whoever asked.
const RESULTS_SECONDS: u64 = 300;

/// What a scheduler needs to know.
#[derive(Debug, Clone)]
pub struct SchedulerSettings {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Runs a scheduler until the process ends. `session` has the functions that plans may name.
///
/// # Errors
/// [`Error::Failed`] when it cannot listen.
pub async fn schedule(settings: &SchedulerSettings, session: SessionState) -> Result<()> {
    let functions = session.clone();
    let config = SchedulerConfig {
        bind_host: settings.listen.ip().to_string(),
        bind_port: settings.listen.port(),
        external_host: settings.listen.ip().to_string(),
        // Executors ask for tasks, so that they need no door of their own for it.
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        grpc_server_max_decoding_message_size: MESSAGE_BYTES,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES,
        grpc_client_max_message_size: MESSAGE_BYTES,
        no_executors_grace_period_seconds: PATIENCE_SECONDS,
        finished_job_data_clean_up_interval_seconds: RESULTS_SECONDS,
        finished_job_state_clean_up_interval_seconds: RESULTS_SECONDS,
        override_session_builder: Some(Arc::new(move |config: SessionConfig| {
            let builder = SessionStateBuilder::new_from_existing(functions.clone());
            Ok(builder.with_config(config.upgrade_for_ballista()).build())
        })),
        override_config_producer: Some(Arc::new(move || {
            session.config().clone().upgrade_for_ballista()
        })),
        ..SchedulerConfig::default()
    };
    let failed = |err: &dyn std::fmt::Display| Error::Failed {
        doing: "running the scheduler",
        reason: err.to_string(),
    };
    let cluster = BallistaCluster::new_from_config(&config).await;
    let cluster = cluster.map_err(|err| failed(&err))?;
    tracing::info!(address = %settings.listen, "scheduling");
    start_server(cluster, settings.listen, Arc::new(config))
        .await
        .map_err(|err| failed(&err))
}
