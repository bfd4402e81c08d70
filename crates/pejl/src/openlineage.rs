//! Sends OpenLineage events to a file and to an address, beside a build and never in its way.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::Utc;
use fetch::{Address, Client, Limits, Method, Request};
use tokio::{
    io::AsyncWriteExt,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use warehouse::{
    BuildEvent, BuildReport, Warehouse,
    openlineage::{RunEvent, Teller},
};

use crate::settings::{Mistake, Openlineage, Secret, Settings};

/// How long one event may take. Nobody waits for a catalogue longer than for a build.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds, and tells it to whoever the settings name. What cannot be told is logged; it is no reason for a build to fail.
pub(crate) async fn build(
    settings: &Settings,
    warehouse: &Warehouse,
    observe: &(dyn Fn(BuildEvent) + Send + Sync),
) -> anyhow::Result<BuildReport> {
    let Some(to) = Destination::of(&settings.openlineage)? else {
        return Ok(warehouse.build(observe).await?);
    };
    let teller = match warehouse.teller(&settings.openlineage.namespace).await {
        Ok(teller) => Mutex::new(teller),
        Err(err) => {
            tracing::warn!(%err, "the build is not told to OpenLineage");
            return Ok(warehouse.build(observe).await?);
        }
    };
    let (events, waiting) = unbounded_channel();
    let sending = tokio::spawn(to.send_all(waiting));
    let built = warehouse
        .build(&|event| {
            pass(&events, told(&teller, |it| it.observe(&event, Utc::now())));
            observe(event);
        })
        .await;
    let last = match &built {
        Ok(report) => {
            let publication = match report.published {
                Some(_) => warehouse.publication().await.ok().flatten(),
                None => None,
            };
            told(&teller, |it| {
                it.end(report, publication.as_ref(), Utc::now())
            })
        }
        Err(err) => told(&teller, |it| it.broken(&err.to_string(), Utc::now())),
    };
    pass(&events, last);
    drop(events);
    if let Err(err) = sending.await {
        tracing::warn!(%err, "OpenLineage events were not sent to the end");
    }
    Ok(built?)
}

fn told(teller: &Mutex<Teller>, tell: impl FnOnce(&mut Teller) -> Vec<RunEvent>) -> Vec<RunEvent> {
    tell(&mut teller.lock().unwrap_or_else(PoisonError::into_inner))
}

fn pass(events: &UnboundedSender<RunEvent>, told: Vec<RunEvent>) {
    for event in told {
        // The other end goes away only when it panicked, which is told at the end.
        drop(events.send(event));
    }
}

/// Where events go.
struct Destination {
    file: Option<PathBuf>,
    endpoint: Option<Endpoint>,
}

struct Endpoint {
    client: Client,
    address: Address,
    key: Option<Secret>,
}

impl Destination {
    /// `None` when the settings name none.
    fn of(settings: &Openlineage) -> anyhow::Result<Option<Self>> {
        let wrong = |err: fetch::Error| Mistake(format!("[openlineage] url: {err}"));
        let endpoint = if settings.url.is_empty() {
            None
        } else {
            let limits = Limits {
                timeout: PATIENCE,
                max_attempts: 2,
                max_wait: PATIENCE,
                ..Limits::default()
            };
            Some(Endpoint {
                client: Client::new(limits).map_err(wrong)?,
                address: Address::parse(&settings.url).map_err(wrong)?,
                key: settings.key.clone(),
            })
        };
        let file = settings.file.clone();
        let is_there = file.is_some() || endpoint.is_some();
        Ok(is_there.then_some(Self { file, endpoint }))
    }

    /// Sends events in their order. After one could not be posted, the others of the build are not tried: each would wait as long.
    async fn send_all(mut self, mut events: UnboundedReceiver<RunEvent>) {
        while let Some(event) = events.recv().await {
            let body = match serde_json::to_value(&event) {
                Ok(body) => body,
                Err(err) => {
                    tracing::warn!(job = event.job(), %err, "an OpenLineage event cannot be written");
                    continue;
                }
            };
            if let Some(file) = &self.file
                && let Err(err) = append(file, &body).await
            {
                let file = file.display();
                tracing::warn!(%file, %err, "an OpenLineage event is not in the file");
            }
            if let Some(endpoint) = &self.endpoint
                && let Err(err) = endpoint.post(&body).await
            {
                tracing::warn!(job = event.job(), %err, "OpenLineage events of this build are not sent");
                self.endpoint = None;
            }
        }
    }
}

impl Endpoint {
    async fn post(&self, body: &serde_json::Value) -> fetch::Result<()> {
        let mut request = Request::new(Method::Post, self.address.clone()).json(body);
        if let Some(Secret(key)) = &self.key {
            request = request.header("Authorization", &format!("Bearer {key}"));
        }
        self.client.send(&request).await?;
        Ok(())
    }
}

async fn append(file: &Path, body: &serde_json::Value) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(file).await?;
    file.write_all(format!("{body}\n").as_bytes()).await?;
    file.flush().await
}
