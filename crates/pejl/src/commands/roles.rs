//! One stage in a process of its own: `pejl worker`, `pejl land`, `pejl serve`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    commands::{
        serve,
        up::{land as keep_landing, tell_source, until_interrupted},
    },
    output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn worker(settings: Settings) -> anyhow::Result<u8> {
    let sources = wiring::all_sources(&settings)?;
    let log = wiring::open_log(&settings).await?;
    let ingest = wiring::ingest(&settings, &log)?;
    ingest
        .run(
            &settings.node.name,
            sources,
            wiring::reload(&settings),
            until_interrupted(),
            Arc::new(tell_source),
        )
        .await?;
    Ok(0)
}

pub(crate) async fn land(settings: Settings, once: bool) -> anyhow::Result<u8> {
    let log = wiring::open_log(&settings).await?;
    let lake = wiring::open_lake(&settings)?;
    let lander = wiring::lander(&settings, &log, &lake);
    if !once {
        keep_landing(lander, settings.node.name, until_interrupted()).await?;
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
    let serving = serve::start(&settings, &warehouse, stop).await?;
    output::line(&format!("serving SQL on {}", serving.addr))?;
    serving.task.await?;
    Ok(0)
}
