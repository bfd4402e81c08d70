//! `pejl source`: what sources do, and steering them, directly over the log or through the process that holds it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use contract::Position;
use fetch::{Address, Client, Limits, Method, Request};
use ingest::{Control, Report, Status};
use serde_json::Value;

use crate::{
    args::Source,
    commands::http,
    output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn run(settings: &Settings, command: Source) -> anyhow::Result<u8> {
    let steering = Steering::open(settings).await?;
    match command {
        Source::List { format } => {
            let rows: Vec<Vec<String>> = steering.list().await?.iter().map(row).collect();
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

const HEADERS: [&str; 13] = [
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
    /// Over the log.
    Log(Control),
    /// The embedded log is held by a running Pejl; through its HTTP server.
    Http {
        client: Box<Client>,
        root: Address,
        token: Option<String>,
        /// Why not over the log.
        why: String,
    },
}

impl Steering {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        wiring::pipelines(settings)?;
        let why = match wiring::open_log(settings).await {
            Ok(log) => {
                let control = http::control(settings, &log);
                let is_ours = settings.log.brokers.is_empty();
                return Ok(Self::Log(if is_ours { control.alone() } else { control }));
            }
            Err(err) if settings.log.brokers.is_empty() => err.to_string(),
            Err(err) => return Err(err),
        };
        let limits = Limits {
            max_attempts: 1,
            ..Limits::default()
        };
        Ok(Self::Http {
            client: Box::new(Client::new(limits)?),
            root: Address::parse(&format!("http://{}", settings.http.listen))?,
            token: settings.http.token.as_ref().map(|it| it.0.clone()),
            why,
        })
    }

    async fn list(&self) -> anyhow::Result<Vec<Status>> {
        match self {
            Self::Log(control) => Ok(control.list().await?),
            Self::Http { .. } => self.ask(Method::Get, "sources", None).await,
        }
    }

    async fn show(&self, source: &str) -> anyhow::Result<Status> {
        match self {
            Self::Log(control) => Ok(control.show(source).await?),
            Self::Http { .. } => {
                self.ask(Method::Get, &format!("sources/{source}"), None)
                    .await
            }
        }
    }

    async fn order(&self, source: &str, order: &str) -> anyhow::Result<Status> {
        match self {
            Self::Log(control) => {
                match order {
                    "pause" => control.pause(source).await?,
                    "resume" => control.resume(source).await?,
                    _ => control.restart(source).await?,
                }
                Ok(control.show(source).await?)
            }
            Self::Http { .. } => {
                let path = format!("sources/{source}/{order}");
                self.ask(Method::Post, &path, None).await
            }
        }
    }

    async fn position(&self, source: &str) -> anyhow::Result<Value> {
        match self {
            Self::Log(control) => {
                let position = control.position(source).await?;
                Ok(position.map_or(Value::Null, |it| it.0))
            }
            Self::Http { .. } => {
                let path = format!("sources/{source}/position");
                self.ask(Method::Get, &path, None).await
            }
        }
    }

    async fn set_position(&self, source: &str, position: Value) -> anyhow::Result<()> {
        match self {
            Self::Log(control) => Ok(control
                .set_position(source, Some(Position(position)))
                .await?),
            Self::Http { .. } => {
                let path = format!("sources/{source}/position");
                self.ask::<Value>(Method::Put, &path, Some(&position))
                    .await?;
                Ok(())
            }
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let Self::Http {
            client,
            root,
            token,
            why,
        } = self
        else {
            anyhow::bail!("the log is open; nothing is asked over HTTP");
        };
        let mut request = Request::new(method, root.below(path));
        if let Some(token) = token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = client.send(&request).await.with_context(|| {
            format!("{why}; and asking that process over HTTP ([http] listen) failed too")
        })?;
        Ok(serde_json::from_value(reply.json()?)?)
    }
}
