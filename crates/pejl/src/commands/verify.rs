//! `pejl verify`: the audit of topics against tables.

use crate::{args::Format, exit, output, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let log = wiring::open_log(settings).await?;
    let lake = wiring::open_lake(settings)?;
    let audits = landing::verify(log.as_ref(), &lake).await?;
    let headers = [
        "topic",
        "partition",
        "delivered",
        "landed",
        "quarantined",
        "waiting",
        "missing",
        "doubled",
        "foreign",
    ];
    let rows: Vec<Vec<String>> = audits
        .iter()
        .map(|it| {
            vec![
                it.topic.clone(),
                it.partition.to_string(),
                it.delivered.to_string(),
                it.landed.to_string(),
                it.quarantined.to_string(),
                it.waiting.to_string(),
                it.missing.to_string(),
                it.doubled.to_string(),
                it.foreign.to_string(),
            ]
        })
        .collect();
    output::line(&output::rows(format, &headers, &rows)?)?;
    let unclean = audits.iter().filter(|it| !it.is_clean()).count();
    if unclean == 0 {
        let waiting: u64 = audits.iter().map(|it| it.waiting).sum();
        if format == Format::Table && waiting > 0 {
            output::line(&format!(
                "\nnothing wrong so far; {waiting} records are still to be landed (`pejl land --once`)"
            ))?;
        } else if format == Format::Table {
            output::line(&format!(
                "\nclean: every record of {} topic partitions is in its table exactly once",
                audits.len()
            ))?;
        }
        return Ok(0);
    }
    if format == Format::Table {
        output::line(&format!(
            "\nNOT CLEAN: {unclean} of {} topic partitions differ from their tables",
            audits.len()
        ))?;
    }
    Ok(exit::UNCLEAN)
}
