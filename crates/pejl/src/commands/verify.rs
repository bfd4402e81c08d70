//! `pejl verify`: the audit of topics against tables.

use std::time::Instant;

use landing::{Audit, PartitionAudit};
use serde_json::json;

use crate::{args::Format, exit, output, progress::Progress, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let log = wiring::open_log(settings).await?;
    let lake = wiring::open_lake(settings)?;
    let (started, progress) = (Instant::now(), Progress::new());
    let observe = |what: &str| progress.say("verify", what);
    let audit = landing::verify(log.as_ref(), &lake, &observe).await?;
    progress.clear();
    match format {
        Format::Json => {
            let seconds = started.elapsed().as_secs_f64();
            let mut object = serde_json::to_value(&audit)?;
            object["verdict"] = verdict(&audit).into();
            object["seconds"] = json!(seconds);
            output::line(&object.to_string())?;
        }
        Format::Csv => output::line(&output::rows(format, &HEADERS, &rows(&audit))?)?,
        Format::Table => {
            output::line(&output::table(&HEADERS, &rows(&audit)))?;
            tell(&audit)?;
        }
    }
    Ok(if audit.is_clean() { 0 } else { exit::UNCLEAN })
}

/// One word for scripts.
fn verdict(audit: &Audit) -> &'static str {
    match (audit.is_clean(), audit.waiting()) {
        (false, _) => "different",
        (true, 0) => "clean",
        (true, _) => "waiting",
    }
}

const HEADERS: [&str; 10] = [
    "topic",
    "partition",
    "delivered",
    "landed",
    "quarantined",
    "waiting",
    "missing",
    "doubled",
    "foreign",
    "out of range",
];

fn rows(audit: &Audit) -> Vec<Vec<String>> {
    let row = |it: &PartitionAudit| {
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
            it.out_of_range.to_string(),
        ]
    };
    audit.partitions.iter().map(row).collect()
}

fn tell(audit: &Audit) -> anyhow::Result<()> {
    for it in &audit.strangers {
        let whose = if it.earlier {
            "of an earlier topic by that name, which is as it should be"
        } else {
            "of no topic partition in the log"
        };
        output::line(&format!(
            "\n{}: {} rows name {}/{} (offsets {} to {}): {whose}",
            it.table, it.rows, it.topic, it.partition, it.first, it.last
        ))?;
    }
    for it in &audit.deliveries {
        output::line(&format!(
            "\n{} ({}): {} rows accepted and {} landed, {} set aside and {} in quarantine",
            it.file_name, it.delivery_id, it.accepted, it.landed, it.quarantined, it.set_aside
        ))?;
    }
    let partitions = audit.partitions.len();
    let text = match verdict(audit) {
        "clean" => format!(
            "\nclean: every record of {partitions} topic partitions is in its table exactly once, and {} delivered files are in as their senders sent them",
            audit.deliveries_counted
        ),
        "waiting" => format!(
            "\nnothing wrong so far; {} records are still to be landed (`pejl land --once`)",
            audit.waiting()
        ),
        _ => {
            let unclean = audit.partitions.iter().filter(|it| !it.is_clean()).count();
            let strange = audit.strangers.iter().filter(|it| !it.earlier).count();
            format!(
                "\nNOT CLEAN: {unclean} of {partitions} topic partitions differ from their tables, {strange} groups of rows belong to none, {} deliveries differ",
                audit.deliveries.len()
            )
        }
    };
    output::line(&text)?;
    Ok(())
}
