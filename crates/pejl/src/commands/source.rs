//! `pejl source`: what sources do, and steering them, directly over the log or through the process that holds it.

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use contract::Position;
use ingest::{Control, Report, Status};
use serde_json::Value;

use crate::{
    args::Source,
    commands::{
        http,
        owner::{Owner, Way, way},
    },
    output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn run(settings: &Settings, command: Source) -> anyhow::Result<u8> {
    wiring::pipelines(settings)?;
    let steering = match way(settings).await? {
        Way::Owner(owner) => Steering::Owner(owner),
        Way::Log(log) => Steering::Log(http::control_from_outside(settings, &log)),
    };
    match command {
        Source::List { format } => {
            let rows = rows(&steering.list().await?);
            output::line(&output::rows(format, &HEADERS, &rows)?)?;
        }
        Source::Show { source } => show(&steering.show(&source).await?)?,
        Source::Pause { source } => show(&steering.order(&source, "pause").await?)?,
        Source::Resume { source } => show(&steering.order(&source, "resume").await?)?,
        Source::Restart { source } => show(&steering.order(&source, "restart").await?)?,
        Source::Position { source, set, clear } => {
            let position = match set {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|err| Mistake(format!("--set: not JSON: {err}")))?,
                None if clear => Value::Null,
                None => {
                    output::line(&steering.position(&source).await?.to_string())?;
                    return Ok(0);
                }
            };
            let from = if position.is_null() {
                "its start"
            } else {
                "there"
            };
            steering.set_position(&source, position).await?;
            output::line(&format!(
                "{source} goes on from {from} when it is read next"
            ))?;
        }
    }
    Ok(0)
}

pub(crate) const HEADERS: [&str; 13] = [
    "source",
    "state",
    "since",
    "last success",
    "next try",
    "worker",
    "rows",
    "accepted",
    "set aside",
    "failures",
    "error",
    "to be fixed by",
    "what to do",
];

pub(crate) fn rows(sources: &[Status]) -> Vec<Vec<String>> {
    sources.iter().map(row).collect()
}

fn row(status: &Status) -> Vec<String> {
    let Some(report) = &status.report else {
        let state = if status.paused {
            "paused"
        } else {
            "not run yet"
        };
        let mut row = vec![status.source.clone(), state.to_owned()];
        row.resize(HEADERS.len(), String::new());
        return row;
    };
    let state = report.state.name().replace('_', " ");
    let state = if status.attended {
        state
    } else {
        format!("stale: was {state}")
    };
    let trouble = report.trouble.as_ref();
    vec![
        status.source.clone(),
        state,
        time(Some(report.since)),
        time(report.last_success),
        time(report.next.filter(|_| status.attended)),
        worker(status, report),
        report.rows.to_string(),
        report.accepted.to_string(),
        report.quarantined.to_string(),
        report.failures.to_string(),
        trouble.map(|it| it.error.clone()).unwrap_or_default(),
        trouble.map(|it| it.fix_by.clone()).unwrap_or_default(),
        trouble.map(|it| it.step.clone()).unwrap_or_default(),
    ]
}

/// Who runs it; without one, for how long nothing was heard.
fn worker(status: &Status, report: &Report) -> String {
    match &report.worker {
        Some(worker) if status.attended => worker.clone(),
        last => {
            let silent = Utc::now().signed_duration_since(report.at).num_seconds();
            let last = last.as_deref().unwrap_or("none");
            format!("{last}, silent for {} s", silent.max(0))
        }
    }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map(|it| it.format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

fn show(status: &Status) -> anyhow::Result<()> {
    output::line(&serde_json::to_string_pretty(status)?)?;
    Ok(())
}

/// The way to the sources.
enum Steering {
    Log(Control),
    Owner(Box<Owner>),
}

impl Steering {
    async fn list(&self) -> anyhow::Result<Vec<Status>> {
        match self {
            Self::Log(control) => Ok(control.list().await?),
            Self::Owner(owner) => owner.get("sources").await,
        }
    }

    async fn show(&self, source: &str) -> anyhow::Result<Status> {
        match self {
            Self::Log(control) => told(source, control.show(source).await),
            Self::Owner(owner) => owner.get(&format!("sources/{source}")).await,
        }
    }

    async fn order(&self, source: &str, order: &str) -> anyhow::Result<Status> {
        match self {
            Self::Log(control) => {
                let done = match order {
                    "pause" => control.pause(source).await,
                    "resume" => control.resume(source).await,
                    _ => control.restart(source).await,
                };
                told(source, done)?;
                self.show(source).await
            }
            Self::Owner(owner) => {
                let path = format!("sources/{source}/{order}");
                owner.post(&path, &Value::Null).await
            }
        }
    }

    async fn position(&self, source: &str) -> anyhow::Result<Value> {
        match self {
            Self::Log(control) => {
                let position = told(source, control.position(source).await)?;
                Ok(position.map_or(Value::Null, |it| it.0))
            }
            Self::Owner(owner) => owner.get(&format!("sources/{source}/position")).await,
        }
    }

    async fn set_position(&self, source: &str, position: Value) -> anyhow::Result<()> {
        match self {
            Self::Log(control) => {
                let set = control.set_position(source, Some(Position(position)));
                told(source, set.await)
            }
            Self::Owner(owner) => {
                let path = format!("sources/{source}/position");
                owner.put(&path, &position).await.map(drop)
            }
        }
    }
}

/// What whoever asked can do about it goes with the error.
fn told<T>(source: &str, done: ingest::Result<T>) -> anyhow::Result<T> {
    use ingest::Error as E;
    done.map_err(|err| match err {
        E::NoSource { .. } | E::Position { .. } | E::AtWork(_) => {
            anyhow!("{err}\n  what to do: {}", err.step(source))
        }
        other => other.into(),
    })
}
