//! `pejl status` and `GET /status`: what sources do, what is still to be landed, and what is published; of whatever can be reached.

use std::{sync::Arc, time::Duration};

use bus::{Log, SharedLog};
use chrono::{DateTime, Utc};
use contract::FixBy;
use ingest::Control;
use lake::Lake;
use landing::landed_offsets;
use serde::{Deserialize, Serialize};
use serve_http::{Question, Refusal};
use warehouse::{Run, Warehouse};

use crate::{
    args::Format,
    commands::{
        http,
        owner::{Way, way},
        source,
    },
    exit, output,
    settings::Settings,
    wiring,
};

/// How everything stands; what the process that answers has no part in is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<ingest::Status>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<Topic>>,
    /// The current one; `None` while nothing is published, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    publication: Option<Publication>,
}

/// A topic and its table.
#[derive(Debug, Serialize, Deserialize)]
struct Topic {
    topic: String,
    partitions: i32,
    /// One past the last offset, summed over the partitions.
    end_offset: i64,
    /// Offsets that have not landed; on Kafka some of them hold no record.
    to_be_landed: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Publication {
    id: u64,
    at: DateTime<Utc>,
    /// How old that is.
    age_seconds: u64,
    tables: usize,
    /// The build after it, where that published nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<HeldBack>,
}

/// A build whose checks failed.
#[derive(Debug, Serialize, Deserialize)]
struct HeldBack {
    at: DateTime<Utc>,
    /// The checks that stop it, `mart.offer_overview: grain`.
    checks: Vec<String>,
    /// Since when the first of them fails.
    since: Option<DateTime<Utc>>,
}

/// What a process has that can be told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) control: Option<Control>,
    pub(crate) landing: Option<(SharedLog, Lake)>,
    pub(crate) warehouse: Option<Warehouse>,
}

impl Seen {
    async fn status(&self) -> anyhow::Result<Status> {
        let mut status = Status::default();
        if let Some(control) = &self.control {
            status.sources = Some(control.list().await?);
        }
        if let Some((log, lake)) = &self.landing {
            status.topics = Some(topics(log.as_ref(), lake).await?);
        }
        if let Some(warehouse) = &self.warehouse {
            let current = warehouse.publication().await?;
            let last = warehouse.last_build().await?;
            status.publication = current.map(|it| Publication {
                id: it.id,
                at: it.at,
                age_seconds: (Utc::now() - it.at).to_std().unwrap_or_default().as_secs(),
                tables: it.tables.len(),
                held_back: last.filter(|run| run.at > it.at).and_then(held_back),
            });
        }
        Ok(status)
    }
}

/// What stops a build; `None` where it published.
fn held_back(run: Run) -> Option<HeldBack> {
    let stopping = run.checks.iter().filter(|it| it.result.stops());
    run.publication_id.is_none().then(|| HeldBack {
        at: run.at,
        since: stopping.clone().filter_map(|it| it.since).min(),
        checks: stopping
            .map(|it| format!("{}: {}", it.result.model, it.result.check))
            .collect(),
    })
}

/// Answers over HTTP.
pub(crate) fn question(seen: Seen) -> Question {
    let seen = Arc::new(seen);
    Question::new(move |_| {
        let seen = Arc::clone(&seen);
        async move {
            let status = seen.status().await;
            let status = status.and_then(|it| Ok(serde_json::to_value(it)?));
            status.map_err(|err| Refusal::by(FixBy::Source, &format!("{err:#}")))
        }
    })
}

pub(crate) async fn run(settings: &Settings, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = Some(wiring::open_warehouse(settings, &lake).await?);
    let (status, code) = match way(settings).await {
        Ok(Way::Owner(owner)) => (owner.get("status").await?, 0),
        Ok(Way::Log(log)) => {
            let seen = Seen {
                control: Some(http::control_from_outside(settings, &log)),
                landing: Some((log, lake)),
                warehouse,
            };
            (seen.status().await?, 0)
        }
        Err(err) => {
            output::error(&err);
            let seen = Seen {
                warehouse,
                ..Seen::default()
            };
            (seen.status().await?, exit::FAILED)
        }
    };
    tell(&status, format)?;
    Ok(code)
}

fn tell(status: &Status, format: Format) -> anyhow::Result<()> {
    if let Some(sources) = &status.sources {
        output::line(&output::rows(
            format,
            &source::HEADERS,
            &source::rows(sources),
        )?)?;
        output::line("")?;
    }
    if let Some(topics) = &status.topics {
        let row = |it: &Topic| {
            vec![
                it.topic.clone(),
                it.partitions.to_string(),
                it.end_offset.to_string(),
                it.to_be_landed.to_string(),
            ]
        };
        let headers = ["topic", "partitions", "end offset", "to be landed"];
        let rows: Vec<Vec<String>> = topics.iter().map(row).collect();
        output::line(&output::rows(format, &headers, &rows)?)?;
        output::line("")?;
    }
    let headers = ["publication", "published", "age", "tables", "held back"];
    let row = match &status.publication {
        Some(it) => vec![
            it.id.to_string(),
            it.at.to_rfc3339(),
            humantime::format_duration(Duration::from_secs(it.age_seconds)).to_string(),
            it.tables.to_string(),
            it.held_back.as_ref().map(why).unwrap_or_default(),
        ],
        None => vec![
            "none yet".to_owned(),
            String::new(),
            String::new(),
            "0".to_owned(),
            String::new(),
        ],
    };
    output::line(&output::rows(format, &headers, &[row])?)?;
    Ok(())
}

/// Why there is nothing newer.
fn why(held: &HeldBack) -> String {
    let since = held.since.unwrap_or(held.at).format("%Y-%m-%d %H:%M UTC");
    match held.checks.as_slice() {
        [] => format!("a build failed at {}", held.at.format("%Y-%m-%d %H:%M UTC")),
        [one] => format!("since {since} by {one}"),
        [first, others @ ..] => format!("since {since} by {first} and {} more", others.len()),
    }
}

async fn topics(log: &dyn Log, lake: &Lake) -> anyhow::Result<Vec<Topic>> {
    let mut topics = Vec::new();
    for topic in log.topics("pejl.").await? {
        let landed = landed_offsets(lake, &topic).await?;
        let (mut end_offset, mut to_be_landed) = (0, 0);
        for partition in 0..topic.partitions {
            let range = log.range(&topic.name, partition).await?;
            let next = landed.get(&partition).copied().unwrap_or(range.low);
            end_offset += range.high;
            to_be_landed += (range.high - next).max(0);
        }
        topics.push(Topic {
            topic: topic.name,
            partitions: topic.partitions,
            end_offset,
            to_be_landed,
        });
    }
    Ok(topics)
}
