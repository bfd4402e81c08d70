//! The warehouse as PostgreSQL: psql, DBeaver, Python, Power BI and Excel read the same published tables.
//!
//! One connection is one session: its own DataFusion context, variables, cursors and transaction state, all gone
//! when the socket closes. The protocol is pgwire's, the encoders and the static catalogue are datafusion-postgres';
//! everything that decides who may connect, what may run and for how long is here.

mod catalog;
mod command;
mod control;
mod copy;
mod cursor;
mod dialect;
mod error;
mod execute;
mod extended;
mod noting;
mod parameters;
mod plan;
mod rows;
mod script;
mod session;
mod sessions;
mod shape;
mod simple;
mod sqlstate;
mod startup;
mod users;
mod variables;
mod wire;

pub use error::ServeError;
pub use sessions::Sessions;
pub use users::{Secret, User};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warehouse::QueryLog;

use crate::control::Switchboard;
use crate::users::Verifiers;
use crate::wire::Server;

/// What the server is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address and port to listen on; port 0 takes a free one, told by [`Serving::addr`].
    pub listen: SocketAddr,
    /// Who may connect. Nobody else can, and nobody without a password.
    pub users: Vec<User>,
    /// How long one statement may plan, run and send; a session may lower or raise it with `SET statement_timeout`.
    /// `None` means no limit.
    pub statement_timeout: Option<Duration>,
    /// How many sessions may be open at once; the next one is told `53300`.
    pub max_connections: usize,
    /// Where it is noted who read what; `None` notes nothing.
    pub query_log: Option<QueryLog>,
}

/// How long the last statements may take to be written when the server stops.
const LAST_NOTES_TIME: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct Serving {
    /// The address it really listens on.
    pub addr: SocketAddr,
    /// Ends after `stop` is cancelled, every connection has been closed, and what they read is in the query log.
    pub task: JoinHandle<()>,
}

/// Starts serving and returns as soon as the port is open.
///
/// # Errors
/// [`ServeError::Listen`] when the address cannot be bound, [`ServeError::Users`] when a user has no name or no
/// password or is named twice, [`ServeError::Catalogue`] when the static catalogue cannot be read.
pub async fn serve(
    sessions: Arc<dyn Sessions>,
    settings: Settings,
    stop: CancellationToken,
) -> Result<Serving, ServeError> {
    let verifiers = Verifiers::new(&settings.users)?;
    let names = settings
        .users
        .iter()
        .map(|user| user.name.clone())
        .collect();
    let server = Arc::new(Server {
        sessions,
        verifiers: Arc::new(verifiers),
        roles: names,
        statement_timeout: settings.statement_timeout,
        seats: Arc::new(tokio::sync::Semaphore::new(settings.max_connections)),
        switchboard: Arc::new(Switchboard::default()),
        library: catalog::Library::load()?,
        query_log: settings.query_log.clone(),
    });
    let listener =
        TcpListener::bind(settings.listen)
            .await
            .map_err(|cause| ServeError::Listen {
                address: settings.listen,
                cause,
            })?;
    let addr = listener.local_addr().map_err(|cause| ServeError::Listen {
        address: settings.listen,
        cause,
    })?;
    tracing::info!(%addr, users = settings.users.len(), max_connections = settings.max_connections, "serving postgres");
    let accepting = wire::accept(listener, server, settings.max_connections, stop);
    let task = tokio::spawn(async move {
        accepting.await;
        if let Some(log) = settings.query_log
            && tokio::time::timeout(LAST_NOTES_TIME, log.flush())
                .await
                .is_err()
        {
            tracing::warn!("stopped before the last statements were in ops.query_log");
        }
    });
    Ok(Serving { addr, task })
}
