//! Serving SQL: the PostgreSQL wire over the warehouse.

use std::{sync::Arc, time::Duration};

use serve_pg::{Serving, User};
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use crate::settings::Settings;

/// Starts the server and says where it listens.
pub(crate) async fn start(
    settings: &Settings,
    warehouse: &Warehouse,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let serve = &settings.serve;
    if serve.users.is_empty() {
        tracing::warn!("no users: nobody can connect; set one under [serve.users] in pejl.toml or as PEJL_SERVE__USERS__NAME");
    }
    let users = serve
        .users
        .iter()
        .map(|(name, password)| User {
            name: name.clone(),
            password: serve_pg::Secret::new(&password.0),
        })
        .collect();
    let serving = serve_pg::serve(
        Arc::new(warehouse.clone()),
        serve_pg::Settings {
            listen: serve.listen,
            users,
            statement_timeout: Some(Duration::from_secs(serve.statement_timeout_seconds)),
            max_connections: serve.max_connections,
        },
        stop,
    )
    .await?;
    tracing::info!(address = %serving.addr, "serving SQL");
    Ok(serving)
}
