//! `pejl run --once`: all sources to their end, landed, built, published; then a summary and an exit code.

use std::{sync::Arc, time::Instant};

use bus::SharedLog;
use futures::{StreamExt, stream};
use ingest::{Ingest, ReadReport};
use lake::Lake;
use spec::Pipeline;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{build, up::until_interrupted},
    exit, output,
    progress::Progress,
    settings::{Mistake, Settings},
    wiring,
};

/// Sources read at the same time.
const AT_ONCE: usize = 4;
/// Tries of a source that is unavailable before the run goes on without it.
const TRIES: u32 = 3;

pub(crate) async fn once(settings: &Settings, only: &[String]) -> anyhow::Result<u8> {
    let sources = wiring::sources(settings, only)?;
    if sources.is_empty() {
        return Err(Mistake(format!(
            "no sources in {}",
            settings.pipelines.join("sources").display()
        ))
        .into());
    }
    let log = wiring::open_log(settings).await?;
    let lake = wiring::open_lake_to_write(settings).await?;
    let stop = until_interrupted();
    pass(settings, &log, &lake, sources, &stop).await
}

/// One pass over `sources` with everything after it.
pub(crate) async fn pass(
    settings: &Settings,
    log: &SharedLog,
    lake: &Lake,
    sources: Vec<Pipeline>,
    stop: &CancellationToken,
) -> anyhow::Result<u8> {
    let started = Instant::now();
    let progress = Arc::new(Progress::new());
    let ingest = wiring::ingest(settings, log)?;
    let reads: Vec<(String, Result<ReadReport, ingest::Error>)> = stream::iter(sources)
        .map(|source| {
            let (ingest, progress) = (ingest.clone(), Arc::clone(&progress));
            async move {
                let read = read(&ingest, &source, stop, &progress).await;
                (source.name, read)
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let failed = reads.iter().filter(|(_, it)| it.is_err()).count();

    let landed = wiring::lander(settings, log, lake)
        .catch_up(&|topic| {
            progress.say(
                &format!("land {}", topic.topic),
                &format!("{} rows", topic.rows),
            )
        })
        .await?;
    let built = build::build(settings, lake, &progress).await;
    progress.clear();

    output::line(&output::table(
        &["source", "rows", "accepted", "quarantined", "state"],
        &reads
            .iter()
            .map(|(name, read)| read_row(name, read))
            .collect::<Vec<_>>(),
    ))?;
    let rows: u64 = landed.iter().map(|it| it.rows).sum();
    let quarantined: u64 = landed.iter().map(|it| it.quarantined).sum();
    output::line(&format!(
        "\nlanded   {rows} records in {} tables, {quarantined} set aside while landing",
        landed.iter().filter(|it| it.rows > 0).count()
    ))?;
    let published = build::summarise(built)?;
    output::line(&format!(
        "took     {:.1} s",
        started.elapsed().as_secs_f64()
    ))?;
    if stop.is_cancelled() {
        output::line("stopped early; run again to go on where it stopped")?;
    }
    if failed > 0 {
        output::line(&format!("FAILED   {failed} of {} sources", reads.len()))?;
    }
    Ok(if failed > 0 || !published || stop.is_cancelled() {
        exit::FAILED
    } else {
        0
    })
}

async fn read(
    ingest: &Ingest,
    source: &Pipeline,
    stop: &CancellationToken,
    progress: &Progress,
) -> Result<ReadReport, ingest::Error> {
    let mut tries = 0;
    loop {
        let observe = |it: &ReadReport| progress.say(&source.name, &format!("{} rows", it.rows));
        match ingest.read(source, stop, &observe).await {
            Err(err) if err.is_retryable() && tries + 1 < TRIES && !stop.is_cancelled() => {
                tries += 1;
                tracing::warn!(source = source.name, %err, tries, "source failed, trying again");
                progress.say(
                    &source.name,
                    &format!("failed, try {} of {TRIES}", tries + 1),
                );
                tokio::time::sleep(std::time::Duration::from_secs(1 << tries)).await;
            }
            ended => return ended,
        }
    }
}

fn read_row(name: &str, read: &Result<ReadReport, ingest::Error>) -> Vec<String> {
    match read {
        Ok(report) => vec![
            name.to_owned(),
            report.rows.to_string(),
            report.accepted.to_string(),
            report.quarantined.to_string(),
            if report.rows == 0 {
                "nothing new"
            } else {
                "read"
            }
            .to_owned(),
        ],
        Err(err) => vec![
            name.to_owned(),
            String::new(),
            String::new(),
            String::new(),
            format!("FAILED: {err} (to be fixed by {})", err.fix_by()),
        ],
    }
}
