//! `pejl release`: numbers frozen as they were presented, made, listed, shown and verified.

use chrono::NaiveDate;
use warehouse::{Draft, Outcome, Release as Record};

use crate::{
    args::{Format, Release},
    exit, output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn run(settings: &Settings, command: Release) -> anyhow::Result<u8> {
    match command {
        Release::Create {
            name,
            table,
            condition,
            audiences,
            note,
            keep_earlier,
            by,
        } => {
            let draft = Draft {
                name,
                table,
                condition,
                audiences: audiences
                    .iter()
                    .map(|it| audience(it))
                    .collect::<Result<_, _>>()?,
                note,
                by: by.unwrap_or_else(|| settings.node.name.clone()),
                keep_earlier,
            };
            create(settings, draft).await
        }
        Release::List { format } => list(settings, format).await,
        Release::Show { name } => {
            let lake = wiring::open_lake(settings)?;
            let all = wiring::open_warehouse(settings, &lake)
                .await?
                .releases()
                .await?;
            let Some(found) = all.iter().find(|it| it.name == name) else {
                anyhow::bail!("there is no release `{name}`; `pejl release list` shows them all");
            };
            output::line(&serde_json::to_string_pretty(found.as_ref())?)?;
            Ok(0)
        }
        Release::Verify { name, format } => verify(settings, &name, format).await,
    }
}

async fn create(settings: &Settings, draft: Draft) -> anyhow::Result<u8> {
    let lake = wiring::open_lake_to_write(settings).await?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let made = warehouse.create_release(draft).await?;
    let release = &made.release;
    output::line(&format!(
        "released {}: {}, from publication {}; {}",
        release.name,
        tables(release),
        release.publication_id,
        showings(release)
    ))?;
    if made.kept > 0 {
        output::line(&format!(
            "         {} rows keep the numbers of {}",
            made.kept,
            release.corrects.as_deref().unwrap_or_default()
        ))?;
    }
    for finding in &made.already_public {
        output::line(&format!("warning  {finding}: it was public already"))?;
    }
    Ok(0)
}

async fn list(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let all = wiring::open_warehouse(settings, &lake)
        .await?
        .releases()
        .await?;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|it| {
            vec![
                it.name.clone(),
                it.at.format("%Y-%m-%d %H:%M").to_string(),
                it.by.clone(),
                it.publication_id.to_string(),
                tables(it),
                showings(it),
                it.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let headers = [
        "release",
        "made",
        "by",
        "publication",
        "rows",
        "seen by",
        "note",
    ];
    output::line(&output::rows(format, &headers, &rows)?)?;
    Ok(0)
}

async fn verify(settings: &Settings, name: &str, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let verified = warehouse.verify_release(name).await?;
    let rows: Vec<Vec<String>> = verified
        .iter()
        .map(|it| {
            vec![
                it.table.clone(),
                it.rows.to_string(),
                it.copy.to_string(),
                it.pinned.to_string(),
                it.computed.to_string(),
            ]
        })
        .collect();
    let headers = [
        "table",
        "rows",
        "frozen copy",
        "pinned version",
        "computed again",
    ];
    output::line(&output::rows(format, &headers, &rows)?)?;
    let outcomes = verified
        .iter()
        .flat_map(|it| [&it.copy, &it.pinned, &it.computed]);
    let differs = outcomes
        .into_iter()
        .any(|it| matches!(it, Outcome::Differs(_)));
    Ok(if differs { exit::UNCLEAN } else { 0 })
}

/// `mart.offer_overview (412 rows)`.
fn tables(release: &Record) -> String {
    let all = release.frozen.iter();
    let all: Vec<String> = all
        .map(|(table, it)| format!("{table} ({} rows)", it.rows))
        .collect();
    all.join(", ")
}

/// `centre_managers from 2011-01-20, committee from 2011-02-05`.
fn showings(release: &Record) -> String {
    let all = release.audiences.iter();
    let all: Vec<String> = all
        .map(|it| format!("{} from {}", it.audience, it.from))
        .collect();
    if all.is_empty() {
        return "no audience yet".to_owned();
    }
    all.join(", ")
}

fn audience(text: &str) -> Result<(String, NaiveDate), Mistake> {
    let parsed = text
        .split_once('=')
        .and_then(|(name, day)| Some((name.trim().to_owned(), day.trim().parse().ok()?)));
    parsed.ok_or_else(|| {
        Mistake(format!(
            "--audience: `{text}` is not NAME=DATE, such as committee=2011-02-05"
        ))
    })
}
