//! One stage in a process of its own: `pejl worker`, `pejl land`, `pejl serve`.

use std::sync::Arc;

use ingest::Control;
use serve_http::{Readiness, Serving};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{
        http, serve,
        up::{land as keep_landing, tell_source, until_interrupted},
    },
    output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn worker(settings: Settings) -> anyhow::Result<u8> {
    wiring::pipelines(&settings)?;
    let log = wiring::open_log(&settings).await?;
    let ingest = wiring::ingest(&settings, &log)?;
    let stop = until_interrupted();
    let watching = watch(&settings, Some(http::control(&settings, &log)), &stop).await?;
    ingest
        .run(
            &settings.node.name,
            wiring::read_pipelines(&settings),
            stop,
            Arc::new(tell_source),
        )
        .await?;
    watching.task.await??;
    Ok(0)
}

pub(crate) async fn land(settings: Settings, once: bool) -> anyhow::Result<u8> {
    let log = wiring::open_log(&settings).await?;
    let lake = wiring::open_lake_to_write(&settings).await?;
    let lander = wiring::lander(&settings, &log, &lake);
    if !once {
        let stop = until_interrupted();
        let watching = watch(&settings, None, &stop).await?;
        keep_landing(lander, settings.node.name, stop).await?;
        watching.task.await??;
        return Ok(0);
    }
    let landed = lander.catch_up(&|_| {}).await?;
    let rows: Vec<Vec<String>> = landed
        .iter()
        .map(|it| {
            vec![
                it.topic.clone(),
                it.rows.to_string(),
                it.quarantined.to_string(),
            ]
        })
        .collect();
    output::line(&output::table(&["topic", "landed", "set aside"], &rows))?;
    Ok(0)
}

pub(crate) async fn serve(settings: Settings) -> anyhow::Result<u8> {
    if settings.serve.users.is_empty() {
        return Err(Mistake(serve::NO_USERS.to_owned()).into());
    }
    let lake = wiring::open_lake(&settings)?;
    let warehouse = wiring::open_warehouse(&settings, &lake).await?;
    let stop: CancellationToken = until_interrupted();
    let watching = watch(&settings, None, &stop).await?;
    let serving = serve::start(&settings, &warehouse, stop).await?;
    output::line(&format!("serving SQL on {}", serving.addr))?;
    serving.task.await?;
    watching.task.await??;
    Ok(0)
}

/// A role whose parts are all there: it is ready once it serves health and metrics.
async fn watch(
    settings: &Settings,
    control: Option<Control>,
    stop: &CancellationToken,
) -> anyhow::Result<Serving> {
    let watching =
        http::start(settings, &Readiness::default(), control, None, stop.clone()).await?;
    output::line(&format!("health and metrics on http://{}", watching.addr))?;
    Ok(watching)
}
