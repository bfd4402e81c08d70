//! `pejl up`: every role in one process, started together and stopped in the order of the data.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bus::SharedLog;
use contract::FixBy;
use ingest::{Report, State, Trouble};
use lake::Lake;
use landing::Lander;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use serve_http::Readiness;

use crate::{
    commands::{
        health,
        http::{self, Offers},
        serve,
        status::{self, Seen},
        tidy::tidy,
        verify,
    },
    openlineage, output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn run(settings: Settings) -> anyhow::Result<u8> {
    if wiring::pipelines(&settings)?.is_empty() {
        return Err(Mistake(format!(
            "no sources in {}",
            settings.pipelines.join("sources").display()
        ))
        .into());
    }
    let log = wiring::open_log(&settings).await?;
    let lake = wiring::open_lake_to_write(&settings).await?;
    let stop = until_interrupted();
    let say = |address| output::line(&format!("serving SQL on {address}; Ctrl-C stops"));
    everything(&settings, log, lake, stop, say).await?;
    Ok(0)
}

/// Runs all roles until `stop` or until one of them fails. Sources stop first, then what they sent
/// is landed, then what is landed is built, and only then does SQL go away.
pub(crate) async fn everything(
    settings: &Settings,
    log: SharedLog,
    lake: Lake,
    stop: CancellationToken,
    serving_on: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> anyhow::Result<()> {
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let serving_stop = CancellationToken::new();
    let readiness = Readiness::starting(&[health::READING, health::LANDING, health::SERVING]);
    let control = http::control(settings, &log);
    let seen = Seen {
        control: Some(control.clone()),
        landing: Some((SharedLog::clone(&log), lake.clone())),
        warehouse: Some(warehouse.clone()),
    };
    let offers = Offers {
        control: Some(control),
        settle: Some(wiring::settle(settings, &log, &lake, &warehouse)?),
        status: Some(status::question(seen)),
        verify: Some(verify::question(&log, &lake, &stop)),
    };
    let watching = http::start(settings, &readiness, offers, true, serving_stop.clone()).await?;
    let serving = if settings.serve.users.is_empty() {
        output::line(serve::NO_USERS)?;
        readiness.set(health::SERVING, None);
        None
    } else {
        let serving = serve::start(settings, &warehouse, serving_stop.clone()).await?;
        serving_on(serving.addr)?;
        health::follow_publications(&readiness, &warehouse);
        Some(serving)
    };
    let landing_stop = CancellationToken::new();
    let building_stop = CancellationToken::new();
    let lander = wiring::lander(settings, &log, &lake);
    health::follow_lander(&readiness, lander.standing(), &lake);
    let landing = spawn_until_failure(
        "landing",
        land(lander, settings.node.name.clone(), landing_stop.clone()),
        &stop,
    );
    let building = spawn_until_failure(
        "building",
        keep_building(
            settings.clone(),
            lake.clone(),
            warehouse,
            building_stop.clone(),
        ),
        &stop,
    );
    let ingest = wiring::ingest(settings, &log)?;
    health::follow_worker(&readiness, ingest.standing());
    // A source that needs a human does not end this: the others are still read.
    let reading = ingest
        .run(
            &settings.node.name,
            wiring::read_pipelines(settings),
            stop.clone(),
            Arc::new(tell_source),
        )
        .await;
    if reading.is_err() {
        stop.cancel();
    }

    output::line("stopping: sources have stopped; landing what they sent")?;
    landing_stop.cancel();
    let landed = landing.await.context("landing")?;
    building_stop.cancel();
    let built = building.await.context("building")?;
    serving_stop.cancel();
    if let Some(serving) = serving {
        serving.task.await.context("serving")?;
    }
    watching.ended().await?;
    reading?;
    landed?;
    built?;
    output::line("stopped")?;
    Ok(())
}

/// A token that Ctrl-C or SIGTERM cancels; a second Ctrl-C ends the process at once, which is safe
/// too but leaves the work to the next start.
pub(crate) fn until_interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        interrupted().await;
        token.cancel();
    });
    stop
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        drop(tokio::signal::ctrl_c().await);
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

pub(crate) async fn land(
    lander: Lander,
    member: String,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let observe = |it: landing::LandedTopic| {
        tracing::info!(topic = it.topic, rows = it.rows, "landed");
    };
    lander.run(&member, stop, &observe).await?;
    Ok(())
}

/// Builds whenever something has landed; a failed build leaves the last publication served.
pub(crate) async fn keep_building(
    settings: Settings,
    lake: Lake,
    warehouse: Warehouse,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let pause = Duration::from_secs_f64(settings.build.every_seconds.max(0.1));
    let mut tidied = Instant::now();
    loop {
        match openlineage::build(&settings, &warehouse, &|_| {}).await {
            Ok(report) if report.is_publishable() => {
                tracing::info!(%report, "built");
            }
            Ok(report) => {
                for failure in report.failures() {
                    tracing::error!(%failure, "a check failed; nothing is published");
                }
            }
            Err(err) => {
                let by = err.downcast_ref().map(warehouse::Error::fix_by);
                let fix_by = by.unwrap_or(FixBy::Settings);
                tracing::error!(%err, %fix_by, "build failed");
            }
        }
        if wiring::tidy_every(&settings).is_some_and(|every| tidied.elapsed() >= every) {
            tidied = Instant::now();
            tidy_models(&settings, &lake).await;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Model tables are replaced as a whole by the one who builds, and so is their upkeep his, and that of the query log, of which there may be
/// many writers. Landed tables are the landers'.
async fn tidy_models(settings: &Settings, lake: &Lake) {
    let found = async {
        let pinned = warehouse::pinned(lake, wiring::PUBLICATIONS_KEPT).await?;
        Ok::<_, warehouse::Error>((lake.tables().await?, pinned))
    };
    let (tables, pinned) = match found.await {
        Ok(found) => found,
        Err(err) => {
            tracing::warn!(%err, "model tables are not tidied; tried again later");
            return;
        }
    };
    for table in tables.iter().filter(|it| !it.starts_with("raw.")) {
        if let Err(err) = tidy(settings, lake, table, &pinned).await {
            tracing::warn!(table, %err, "not tidied; tried again later");
        }
    }
}

/// Logs what a source does; it is not silent about trouble even when nobody asked for logs.
pub(crate) fn tell_source(report: &Report) {
    match (report.state, &report.trouble) {
        (State::Waiting, _) => {
            tracing::info!(source = report.source, rows = report.rows, "waiting");
        }
        (
            State::NeedsAHuman,
            Some(Trouble {
                error,
                fix_by,
                step,
            }),
        ) => {
            let source = &report.source;
            output::error(&anyhow::anyhow!(
                "source {source} stopped: {error} (to be fixed by {fix_by}: {step})"
            ));
        }
        _ => {}
    }
}

/// A role that fails stops the others: half a platform must not look like a whole one.
fn spawn_until_failure(
    role: &'static str,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    stop: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let stop = stop.clone();
    tokio::spawn(async move {
        let ended = work.await;
        if let Err(err) = &ended {
            tracing::error!(role, %err, "role failed; stopping");
            stop.cancel();
        }
        ended
    })
}
