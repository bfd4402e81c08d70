//! `pejl tidy`: fewer and larger files, and old ones let go; by hand or from cron.

use lake::{Lake, Tidied};

use crate::{args::Format, exit, output, progress::Progress, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake_to_write(settings).await?;
    let progress = Progress::new();
    let mut rows = Vec::new();
    let mut failed = false;
    for table in lake.tables().await? {
        progress.say("tidy", &table);
        let (merged, removed, state) = match tidy(settings, &lake, &table).await {
            Ok(Tidied { merged, removed }) => (merged, removed, "done".to_owned()),
            Err(err) => {
                failed = true;
                (0, 0, format!("FAILED: {err:#}"))
            }
        };
        rows.push(vec![table, merged.to_string(), removed.to_string(), state]);
    }
    progress.clear();
    let headers = ["table", "files merged", "files removed", "state"];
    output::line(&output::rows(format, &headers, &rows)?)?;
    Ok(if failed { exit::FAILED } else { 0 })
}

/// Tidies one table, with the versions of the last publications left readable.
pub(crate) async fn tidy(settings: &Settings, lake: &Lake, table: &str) -> anyhow::Result<Tidied> {
    let pinned = warehouse::pinned(lake, wiring::PUBLICATIONS_KEPT).await?;
    let in_use = pinned.get(table).map_or(&[][..], Vec::as_slice);
    Ok(lake.tidy(table, wiring::keep(settings), in_use).await?)
}
