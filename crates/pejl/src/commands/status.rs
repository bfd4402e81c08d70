//! `pejl status`: positions, topics and what is published; of whatever can be reached.

use bus::Log;
use landing::landed_offsets;

use crate::{args::Format, exit, output, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let mut code = 0;
    match wiring::open_log(settings).await {
        Ok(log) => {
            sources(log.as_ref(), format).await?;
            topics(log.as_ref(), &lake, format).await?;
        }
        Err(err) => {
            output::error(&err);
            code = exit::FAILED;
        }
    }
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let publication = warehouse.publication().await?;
    let headers = ["publication", "published", "tables"];
    let row = match &publication {
        Some(it) => vec![
            it.id.to_string(),
            it.at.to_rfc3339(),
            it.tables.len().to_string(),
        ],
        None => vec!["none yet".to_owned(), String::new(), "0".to_owned()],
    };
    output::line(&output::rows(format, &headers, &[row])?)?;
    Ok(code)
}

async fn sources(log: &dyn Log, format: Format) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = log
        .positions()
        .await?
        .into_iter()
        .map(|(source, position)| vec![source, shorten(&position.0.to_string())])
        .collect();
    output::line(&output::rows(format, &["source", "position"], &rows)?)?;
    output::line("")?;
    Ok(())
}

async fn topics(log: &dyn Log, lake: &lake::Lake, format: Format) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for topic in log.topics("pejl.").await? {
        let landed = landed_offsets(lake, &topic).await?;
        let (mut end, mut waiting) = (0, 0);
        for partition in 0..topic.partitions {
            let range = log.range(&topic.name, partition).await?;
            let next = landed.get(&partition).copied().unwrap_or(range.low);
            end += range.high;
            waiting += (range.high - next).max(0);
        }
        rows.push(vec![
            topic.name.clone(),
            topic.partitions.to_string(),
            end.to_string(),
            waiting.to_string(),
        ]);
    }
    let headers = ["topic", "partitions", "end offset", "to be landed"];
    output::line(&output::rows(format, &headers, &rows)?)?;
    output::line("")?;
    Ok(())
}

/// A position may be a ledger of thousands of files.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}…")
}
