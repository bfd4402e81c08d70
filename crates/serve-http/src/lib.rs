//! What an operator and a monitor ask a running Pejl over HTTP: health, metrics, and what its sources do.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 when every role of the process works, else 503 and what is waited for |
//! | `GET /metrics` | Prometheus text |
//! | `GET /sources`, `GET /sources/{name}` | what sources do |
//! | `POST /sources/{name}/pause`, `resume`, `restart` | steers a source; needs the token |
//! | `GET`, `PUT /sources/{name}/position` | where a source stands, as JSON; needs the token |
//! | `POST /quarantine/retry`, `/quarantine/discard` | settles rows that were set aside; needs the token |
//!
//! Errors are JSON: `{"error": …, "fix_by": …}`.

mod metrics;
mod quarantine;
mod ready;
mod sources;
mod token;

use std::{io, net::SocketAddr, sync::Arc};

use ::quarantine::Settle;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use ingest::Control;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use quarantine::{Discard, Retry};
pub use ready::Readiness;
pub use token::Token;

/// What is served.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is measured.
    pub metrics: Metrics,
    /// What the process waits for before it works.
    pub readiness: Readiness,
    /// Steers sources; `None` in a process that has no log.
    pub control: Option<Control>,
    /// Settles rows that were set aside; `None` in a process that has no log, or no tables.
    pub settle: Option<Settle>,
    /// What must be shown to steer; `None`: nobody may.
    pub token: Option<Token>,
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens, also when asked for port 0.
    pub addr: SocketAddr,
    /// Ends after `stop`.
    pub task: JoinHandle<io::Result<()>>,
}

/// Listens on `listen` until `stop`.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    listen: SocketAddr,
    parts: Parts,
    stop: CancellationToken,
) -> io::Result<Serving> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let routes = routes(Arc::new(parts));
    let task = tokio::spawn(async move {
        axum::serve(listener, routes)
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .await
    });
    Ok(Serving { addr, task })
}

fn routes(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(sources::routes())
        .merge(quarantine::routes())
        .with_state(parts)
}

async fn readyz(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    let waiting = parts.readiness.waiting_for();
    if waiting.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let text = format!("waiting for {}\n", waiting.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn metrics(State(parts): State<Arc<Parts>>) -> String {
    parts.metrics.text()
}
