//! What an operator and a monitor ask a running Pejl over HTTP: health, metrics, status, and what its sources do.
//!
//! The requests are listed in `routes.rs` and, made from that list, in `docs/operating.md`. A request that is not done is answered with
//! `{"error": …, "fix_by": …, "step": …}`.

mod metrics;
mod quarantine;
mod question;
mod ready;
mod refusal;
mod routes;
mod sources;
mod token;

use std::{io, net::SocketAddr, sync::Arc};

use ::quarantine::Settle;
use ingest::Control;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use quarantine::{Discard, Retry};
pub use question::Question;
pub use ready::{Obstacle, Readiness};
pub use refusal::Refusal;
pub use token::Token;

/// What is served.
#[derive(Debug)]
pub struct Parts {
    /// What is measured.
    pub metrics: Metrics,
    /// Whether the roles of the process work.
    pub readiness: Readiness,
    /// Steers sources; `None` in a process that has no log.
    pub control: Option<Control>,
    /// Settles rows that were set aside; `None` in a process that has no log, or no tables.
    pub settle: Option<Settle>,
    /// Tells how sources, topics and tables stand.
    pub status: Option<Question>,
    /// Audits topics against tables; `None` in a process that has not both.
    pub verify: Option<Question>,
    /// One of them must be shown to steer; without any, nobody may.
    pub tokens: Vec<Token>,
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
    let routes = routes::router(Arc::new(parts));
    let task = tokio::spawn(async move {
        axum::serve(listener, routes)
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .await
    });
    Ok(Serving { addr, task })
}
