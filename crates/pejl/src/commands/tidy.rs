//! `pejl tidy`: fewer and larger files, and old ones let go; by hand or from cron.

use std::collections::BTreeMap;

use lake::Lake;

use crate::{args::Format, exit, output, progress::Progress, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake_to_write(settings).await?;
    let progress = Progress::new();
    let mut rows = Vec::new();
    let mut failed = false;
    let pinned = warehouse::pinned(&lake, wiring::PUBLICATIONS_KEPT).await?;
    for table in lake.tables().await? {
        progress.say("tidy", &table);
        let (merged, removed, state) = match tidy(settings, &lake, &table, &pinned).await {
            Ok((merged, removed)) => (merged, removed, "done".to_owned()),
            Err(err) => {
                failed = true;
                (0, 0, format!("FAILED: {err}"))
            }
        };
        rows.push(vec![table, merged.to_string(), removed.to_string(), state]);
    }
    progress.clear();
    let headers = ["table", "files merged", "files removed", "state"];
    output::line(&output::rows(format, &headers, &rows)?)?;
    Ok(if failed { exit::FAILED } else { 0 })
}

/// Tidies one table and leaves the versions readable that are `pinned`; tells how many files were merged and removed.
///
/// What is appended to comes in small files. A model's table is written in large ones, and read at the version a publication names:
/// merged, nobody would read it.
pub(crate) async fn tidy(
    settings: &Settings,
    lake: &Lake,
    table: &str,
    pinned: &BTreeMap<String, Vec<i64>>,
) -> lake::Result<(u64, u64)> {
    let keep = wiring::keep(settings);
    let in_use = pinned.get(table).map_or(&[][..], Vec::as_slice);
    if table.starts_with("raw.") || table == warehouse::QUERY_LOG {
        return lake.tidy(table, keep, in_use).await;
    }
    Ok((0, lake.clean(table, keep, in_use).await?))
}
