//! `pejl quarantine`: rows that were set aside, seen, retried and discarded; through the process that holds the log where one does.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use quarantine::{Done, Filter, Group, Outcome, Row, Settle, groups, list, show};
use serve_http::{Discard, Retry};

use crate::{
    args::{Format, Quarantine, Which},
    commands::owner::{Owner, Way, way},
    exit, output,
    progress::Progress,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn run(settings: &Settings, command: Quarantine) -> anyhow::Result<u8> {
    match command {
        Quarantine::List {
            which,
            state,
            group,
            limit,
            format,
        } => {
            let filter = filter(which)?;
            let lake = wiring::open_lake(settings)?;
            let warehouse = wiring::open_warehouse(settings, &lake).await?;
            if group {
                let found = groups(&warehouse, &filter, state.into()).await?;
                let rows: Vec<Vec<String>> = found.iter().map(group_row).collect();
                output::line(&output::rows(format, &GROUP_HEADERS, &rows)?)?;
                return Ok(0);
            }
            let (found, total) = list(&warehouse, &filter, state.into(), limit).await?;
            let rows: Vec<Vec<String>> = found.iter().map(row).collect();
            output::line(&output::rows(format, &HEADERS, &rows)?)?;
            if total > found.len() && format == Format::Table {
                let shown = found.len();
                output::line(&format!(
                    "\n{shown} of {total} rows, the newest; --group counts them, --limit shows more"
                ))?;
            }
            Ok(0)
        }
        Quarantine::Show { id } => {
            let lake = wiring::open_lake(settings)?;
            let warehouse = wiring::open_warehouse(settings, &lake).await?;
            let found = show(&warehouse, &id).await?;
            output::line(&serde_json::to_string_pretty(&found)?)?;
            Ok(0)
        }
        Quarantine::Retry {
            which,
            all,
            dry_run,
            by,
            format,
        } => {
            let asked = Retry {
                filter: filter(which)?.checked(all)?,
                by: by.unwrap_or_else(|| settings.node.name.clone()),
                dry_run,
            };
            let outcomes = match Hands::open(settings).await? {
                Hands::Own(settle) => {
                    let Retry { filter, by, .. } = &asked;
                    let progress = Progress::new();
                    let observe = |so_far: &[Outcome]| progress.say("retry", &summary(so_far));
                    let retried = settle.retry(filter, by, dry_run, &observe).await;
                    progress.clear();
                    retried?
                }
                Hands::Owner(owner) => owner.post("quarantine/retry", &asked).await?,
            };
            tell(&outcomes, format, dry_run)
        }
        Quarantine::Discard {
            which,
            all,
            note,
            by,
            format,
        } => {
            let asked = Discard {
                filter: filter(which)?.checked(all)?,
                by: by.unwrap_or_else(|| settings.node.name.clone()),
                note,
            };
            let outcomes = match Hands::open(settings).await? {
                Hands::Own(settle) => {
                    let Discard { filter, by, note } = &asked;
                    let progress = Progress::new();
                    let observe = |so_far: &[Outcome]| progress.say("discard", &summary(so_far));
                    let discarded = settle.discard(filter, by, note, &observe).await;
                    progress.clear();
                    discarded?
                }
                Hands::Owner(owner) => owner.post("quarantine/discard", &asked).await?,
            };
            tell(&outcomes, format, false)
        }
    }
}

/// Who does something about rows: this process, or the one that holds the log.
enum Hands {
    Own(Box<Settle>),
    Owner(Box<Owner>),
}

impl Hands {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let log = match way(settings).await? {
            Way::Log(log) => log,
            Way::Owner(owner) => return Ok(Self::Owner(owner)),
        };
        let lake = wiring::open_lake(settings)?;
        let warehouse = wiring::open_warehouse(settings, &lake).await?;
        let settle = wiring::settle(settings, &log, &lake, &warehouse)?;
        Ok(Self::Own(Box::new(settle)))
    }
}

const HEADERS: [&str; 9] = [
    "row", "state", "since", "source", "origin", "field", "rule", "value", "reason",
];

fn row(row: &Row) -> Vec<String> {
    vec![
        row.quarantine_id.clone(),
        row.state.clone(),
        minute(row.quarantined_at),
        row.source.clone(),
        row.origin.clone(),
        row.field.clone().unwrap_or_default(),
        row.rule.clone(),
        row.value.clone().unwrap_or_default(),
        row.reason.clone(),
    ]
}

const GROUP_HEADERS: [&str; 7] = ["rows", "source", "entity", "field", "rule", "first", "last"];

fn group_row(group: &Group) -> Vec<String> {
    vec![
        group.rows.to_string(),
        group.source.clone(),
        group.entity.clone(),
        group.field.clone().unwrap_or_default(),
        group.rule.clone(),
        minute(group.first),
        minute(group.last),
    ]
}

const OUTCOME_HEADERS: [&str; 5] = ["row", "source", "origin", "outcome", "reason"];

/// Says what came of each row; the exit code says whether any is still bad.
fn tell(outcomes: &[Outcome], format: Format, dry_run: bool) -> anyhow::Result<u8> {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|it| {
            vec![
                it.quarantine_id.clone(),
                it.source.clone(),
                it.origin.clone(),
                word(it.done).to_owned(),
                it.reason.clone(),
            ]
        })
        .collect();
    output::line(&output::rows(format, &OUTCOME_HEADERS, &rows)?)?;
    if format == Format::Table {
        let would = if dry_run {
            " (a dry run: nothing was done)"
        } else {
            ""
        };
        output::line(&format!("\n{}{would}", summary(outcomes)))?;
    }
    let still_bad = outcomes.iter().any(|it| it.done == Done::StillBad);
    Ok(if still_bad { exit::FAILED } else { 0 })
}

fn summary(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<Done, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.done).or_default() += 1;
    }
    if counts.is_empty() {
        return "no open row answers to that; see `pejl quarantine list`".to_owned();
    }
    let counts = counts
        .iter()
        .map(|(done, count)| format!("{count} {}", word(*done)));
    counts.collect::<Vec<_>>().join(", ")
}

fn word(done: Done) -> &'static str {
    match done {
        Done::Retried => "retried",
        Done::Superseded => "superseded",
        Done::Filtered => "filtered",
        Done::Discarded => "discarded",
        Done::StillBad => "still bad",
    }
}

fn filter(which: Which) -> Result<Filter, Mistake> {
    Ok(Filter {
        ids: which.rows,
        source: which.source,
        entity: which.entity,
        rule: which.rule,
        field: which.field,
        reason: which.reason,
        since: which.since.map(|it| moment("--since", &it)).transpose()?,
        until: which.until.map(|it| moment("--until", &it)).transpose()?,
    })
}

/// A day (its start, UTC) or a moment.
fn moment(option: &str, text: &str) -> Result<DateTime<Utc>, Mistake> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let moment = DateTime::parse_from_rfc3339(text);
    let moment = moment.map_err(|_| {
        Mistake(format!(
            "{option}: `{text}` is neither a day (2026-11-25) nor a moment (2026-11-25T08:00:00Z)"
        ))
    })?;
    Ok(moment.to_utc())
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}
