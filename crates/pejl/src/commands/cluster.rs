//! `pejl scheduler` and `pejl executor`: the machines that builds are sent to.

use std::num::NonZeroUsize;

use cluster::{ExecutorSettings, SchedulerSettings};
use lake::Lake;

use crate::{
    commands::up::until_interrupted,
    output,
    settings::{Mistake, Settings},
    wiring,
};

/// Schedules until told to stop.
pub(crate) async fn schedule(settings: &Settings) -> anyhow::Result<u8> {
    let session = warehouse::hand(&wiring::open_lake(settings)?).state();
    let settings = SchedulerSettings {
        listen: settings.cluster.listen,
    };
    let stop = until_interrupted();
    output::line(&format!("scheduling on {}", settings.listen))?;
    tokio::select! {
        ended = cluster::schedule(&settings, session) => ended?,
        () = stop.cancelled() => {}
    }
    Ok(0)
}

/// Runs tasks until told to stop.
pub(crate) async fn execute(settings: &Settings) -> anyhow::Result<u8> {
    let asked = &settings.cluster;
    if asked.scheduler.is_empty() {
        return Err(Mistake(
            "[cluster] scheduler is not set: give the host:port where `pejl scheduler` listens"
                .to_owned(),
        )
        .into());
    }
    let lake: Lake = wiring::open_lake(settings)?;
    let session = warehouse::hand(&lake).state();
    let bind = asked.bind.to_string();
    let host = if asked.host.is_empty() {
        bind.clone()
    } else {
        asked.host.clone()
    };
    let folder = asked.folder.clone();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let executor = ExecutorSettings {
        scheduler: asked.scheduler.clone(),
        bind,
        host,
        port: asked.port,
        tasks: wiring::threads(settings).unwrap_or(cores),
        memory: settings.build.memory_mib << 20,
        folder: folder.unwrap_or_else(|| settings.data.join("executor")),
    };
    output::line(&format!(
        "executing for {} on {}:{}",
        executor.scheduler, executor.host, executor.port
    ))?;
    cluster::execute(&executor, &session).await?;
    Ok(0)
}
