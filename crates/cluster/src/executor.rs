//! An executor: asks the scheduler for tasks, runs them, and keeps what they give until somebody fetches it.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use ballista_core::{config::TaskSchedulingPolicy, extension::SessionConfigExt};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::{SessionState, runtime_env::RuntimeEnv};

use crate::{Error, MESSAGE_BYTES, Result};

/// Intermediate results of a build that died are removed after so many seconds.
const LEFT_BEHIND_SECONDS: u64 = 6 * 3600;

/// How often they are looked for, in seconds.
const CLEANING_SECONDS: u64 = 1800;

/// A scheduler that does not answer for so many seconds is not there.
const PATIENCE_SECONDS: u16 = 60;

/// What an executor needs to know.
#[derive(Debug, Clone)]
pub struct ExecutorSettings {
    /// The scheduler, `host:port`.
    pub scheduler: String,
    /// The address it listens on, an IP address.
    pub bind: String,
    /// The name or address under which the other machines reach it.
    pub host: String,
    /// Where others fetch results.
    pub port: u16,
    /// How many tasks it runs at a time.
    pub tasks: NonZeroUsize,
    /// Bytes that its tasks may hold together; what is more goes to disk.
    pub memory: usize,
    /// A folder for intermediate results and for what goes to disk.
    pub folder: PathBuf,
}

/// Runs an executor until the process is told to stop. `session` has the functions that plans may name, and `session`'s runtime knows
/// the store with the tables.
///
/// # Errors
/// [`Error::Settings`], or [`Error::Failed`] when no scheduler answers within a minute.
pub async fn execute(settings: &ExecutorSettings, session: &SessionState) -> Result<()> {
    let (scheduler_host, scheduler_port) = split(&settings.scheduler)?;
    std::fs::create_dir_all(&settings.folder).map_err(|err| {
        let folder = settings.folder.display();
        Error::Settings(format!(
            "the executor's folder {folder} cannot be made: {err}"
        ))
    })?;
    let runtime: Arc<RuntimeEnv> = Arc::clone(session.runtime_env());
    let config = session.config().clone().upgrade_for_ballista();
    let process = ExecutorProcessConfig {
        bind_host: settings.bind.clone(),
        external_host: Some(settings.host.clone()),
        port: settings.port,
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: PATIENCE_SECONDS,
        vcores: settings.tasks.get(),
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(settings.folder.display().to_string()),
        job_data_ttl_seconds: LEFT_BEHIND_SECONDS,
        job_data_clean_up_interval_seconds: CLEANING_SECONDS,
        grpc_max_decoding_message_size: MESSAGE_BYTES,
        grpc_max_encoding_message_size: MESSAGE_BYTES,
        memory_pool_size: Some(u64::try_from(settings.memory).unwrap_or(u64::MAX)),
        override_function_registry: Some(Arc::new(session.into())),
        override_runtime_producer: Some(Arc::new(move |_| Ok(Arc::clone(&runtime)))),
        override_config_producer: Some(Arc::new(move || config.clone())),
        ..ExecutorProcessConfig::default()
    };
    let started = start_executor_process(Arc::new(process)).await;
    started.map_err(|err| Error::Failed {
        doing: "running the executor",
        reason: err.to_string(),
    })
}

/// `host:port` in two.
fn split(address: &str) -> Result<(String, u16)> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.ok_or_else(|| {
        Error::Settings(format!(
            "[cluster] scheduler is `{address}`: give host:port, such as build-1:50050"
        ))
    })
}
