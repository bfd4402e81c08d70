//! `pejl build`: candidates, checks, publication; and how that is told.

use lake::Lake;
use warehouse::{BuildEvent, BuildReport};

use crate::{exit, output, progress::Progress, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<u8> {
    let lake = wiring::open_lake_to_write(settings).await?;
    let progress = Progress::new();
    let built = build(settings, &lake, &progress).await;
    progress.clear();
    Ok(if summarise(built)? { 0 } else { exit::FAILED })
}

pub(crate) async fn build(
    settings: &Settings,
    lake: &Lake,
    progress: &Progress,
) -> anyhow::Result<BuildReport> {
    let warehouse = wiring::open_warehouse(settings, lake).await?;
    let observe = |event: BuildEvent| progress.say("build", &event.to_string());
    Ok(warehouse.build(&observe).await?)
}

/// Prints what a build did. `false`: nothing was published because something failed.
pub(crate) fn summarise(built: anyhow::Result<BuildReport>) -> anyhow::Result<bool> {
    let report = match built {
        Ok(report) => report,
        Err(err) => {
            output::error(&err);
            output::line("built    FAILED; what was published before is still served")?;
            return Ok(false);
        }
    };
    output::line(&format!("built    {report}"))?;
    for failure in report.failures() {
        output::line(&format!("         {failure}"))?;
    }
    Ok(report.is_publishable())
}
