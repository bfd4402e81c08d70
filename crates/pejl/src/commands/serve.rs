//! Serving SQL: the PostgreSQL wire over the warehouse.

use std::{sync::Arc, time::Duration};

use serve_pg::{Serving, User};
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use crate::settings::Settings;

/// How to make a user, for whoever has none.
pub(crate) const NO_USERS: &str = "no users, so SQL is not served; set one under [serve.users] in pejl.toml or as PEJL_SERVE__USERS__NAME";

/// Starts the server. There must be users: one that nobody can log in to helps nobody.
pub(crate) async fn start(
    settings: &Settings,
    warehouse: &Warehouse,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let serve = &settings.serve;
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
