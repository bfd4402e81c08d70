//! `pejl connector`: what can be read, what is read, and whether a source would work.

use arrow::array::RecordBatch;
use connector_api::Entry;

use crate::{
    args::{Connector, Format},
    exit, output,
    settings::{Mistake, Settings},
    wiring,
};

/// Violations shown before the rest is only counted.
const SHOWN: usize = 10;

pub(crate) async fn run(settings: &Settings, command: &Connector) -> anyhow::Result<u8> {
    match command {
        Connector::List => list(settings),
        Connector::Show { name } => show(settings, name),
        Connector::Check { source } => check(settings, source).await,
    }
}

fn list(settings: &Settings) -> anyhow::Result<u8> {
    let rows: Vec<Vec<String>> = connectors::ALL
        .iter()
        .map(|it| vec![it.name.to_owned(), it.summary.to_owned()])
        .collect();
    output::line(&output::table(&["connector", "reads"], &rows))?;
    output::line("")?;
    match wiring::sources(settings, &[]) {
        Ok(sources) => {
            let rows: Vec<Vec<String>> = sources
                .iter()
                .map(|it| {
                    vec![
                        it.name.clone(),
                        it.connector.clone(),
                        it.entity.name.clone(),
                        it.doc.clone(),
                    ]
                })
                .collect();
            output::line(&output::table(
                &["source", "connector", "entity", "doc"],
                &rows,
            ))?;
            Ok(0)
        }
        Err(err) => {
            output::error(&err);
            Ok(exit::SETTINGS)
        }
    }
}

fn show(settings: &Settings, name: &str) -> anyhow::Result<u8> {
    if let Some(entry) = connectors::find(name) {
        return show_connector(entry);
    }
    let only = [name.to_owned()];
    let source = wiring::sources(settings, &only)?.pop().ok_or_else(|| {
        Mistake(format!(
            "neither a connector nor a source is called `{name}`"
        ))
    })?;
    output::line(&format!(
        "{}: {}\nconnector {}  entity {}  sender {}",
        source.name, source.doc, source.connector, source.entity.name, source.sender
    ))?;
    let rows: Vec<Vec<String>> = source
        .entity
        .fields
        .iter()
        .map(|field| {
            let from = source
                .select
                .get(&field.name)
                .map_or("(same name)", String::as_str);
            vec![field.name.clone(), from.to_owned()]
        })
        .collect();
    output::line(&output::table(&["column", "from"], &rows))?;
    Ok(0)
}

fn show_connector(entry: &Entry) -> anyhow::Result<u8> {
    output::line(&format!("{}: {}", entry.name, entry.summary))?;
    let schema = serde_json::to_value((entry.schema)())?;
    output::line(&serde_json::to_string_pretty(&schema)?)?;
    Ok(0)
}

async fn check(settings: &Settings, name: &str) -> anyhow::Result<u8> {
    let only = [name.to_owned()];
    let sources = wiring::sources(settings, &only)?;
    let Some(source) = sources.first() else {
        return Err(Mistake(format!("no source `{name}`")).into());
    };
    // A check writes nothing, so it works beside a running `pejl up` and needs no broker.
    let key = wiring::pseudonym_key(settings)?;
    let preview = ingest::preview(connectors::ALL, key.as_ref(), source, 5).await?;
    output::line("settings, network and authentication: ok")?;
    output::line(&format!("columns: {}", preview.source_columns.join(", ")))?;
    let missing = &preview.missing_columns;
    if !missing.is_empty() {
        output::line(&format!(
            "mapped but not in the source: {}",
            missing.join(", ")
        ))?;
    }
    output::line(&format!(
        "first {} rows: {} break the contract, {} unreadable",
        preview.rows,
        distinct_places(&preview.violations),
        preview.unreadable.len()
    ))?;
    for (place, violation) in preview.violations.iter().take(SHOWN) {
        output::line(&format!("  {place}: {}", violation.message))?;
    }
    for (place, reason) in preview.unreadable.iter().take(SHOWN) {
        output::line(&format!("  {place}: {reason}"))?;
    }
    if let Some(sample) = &preview.sample {
        output::line("")?;
        show_sample(sample)?;
    }
    let clean =
        missing.is_empty() && preview.violations.is_empty() && preview.unreadable.is_empty();
    Ok(if clean { 0 } else { exit::FAILED })
}

fn distinct_places(violations: &[(String, contract::Violation)]) -> usize {
    let places: std::collections::BTreeSet<&str> =
        violations.iter().map(|(place, _)| place.as_str()).collect();
    places.len()
}

/// Columns down, rows across: entities are wide and the sample is short.
fn show_sample(sample: &RecordBatch) -> anyhow::Result<()> {
    let text = output::batches(Format::Json, std::slice::from_ref(sample))?;
    for (number, row) in text.lines().enumerate() {
        output::line(&format!("row {}: {row}", number + 1))?;
    }
    Ok(())
}
