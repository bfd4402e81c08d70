//! `pejl build`: candidates, checks, publication; and how that is told.

use lake::Lake;
use warehouse::{BuildEvent, BuildReport, Planned, Work};

use crate::{
    args::Format, exit, openlineage, output, progress::Progress, settings::Settings, wiring,
};

/// Shows what a build would do; tables that it would leave alone are counted, not listed.
pub(crate) async fn plan(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let planned = warehouse.plan().await?;
    let work: Vec<&Planned> = planned
        .iter()
        .filter(|it| it.work != Work::Nothing)
        .collect();
    let rows: Vec<Vec<String>> = work
        .iter()
        .map(|it| vec![it.model.clone(), extent(&it.work), it.to_string()])
        .collect();
    output::line(&output::rows(format, &["model", "computed", "why"], &rows)?)?;
    if format == Format::Table {
        let stays = planned.len() - work.len();
        output::line(&format!("{} models to compute, {stays} stay", work.len()))?;
    }
    Ok(0)
}

/// How much of a model, in the words of the table.
fn extent(work: &Work) -> String {
    match work {
        Work::Nothing => "nothing".to_owned(),
        Work::Parts(parts) if parts.len() <= 3 => {
            let names = parts
                .iter()
                .map(|it| it.as_deref().unwrap_or("no municipality"));
            names.collect::<Vec<_>>().join(", ")
        }
        Work::Parts(parts) => format!("{} municipalities", parts.len()),
        Work::Through(_) => "some municipalities".to_owned(),
        Work::Whole(_) => "all".to_owned(),
    }
}

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
    openlineage::build(settings, &warehouse, &observe).await
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
