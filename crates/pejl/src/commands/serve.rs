//! Serving SQL: the PostgreSQL wire over the warehouse.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use datafusion::prelude::SessionContext;
use serve_pg::{ServeError, Serving, Sessions, User};
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use crate::settings::{Mistake, Settings};

/// How to make a user, for whoever has none.
pub(crate) const NO_USERS: &str = "no users, so SQL is not served; set one under [serve.users] in pejl.toml or as PEJL_SERVE__USERS__NAME";

/// Starts the server. There must be users: one that nobody can log in to helps nobody.
pub(crate) async fn start(
    settings: &Settings,
    warehouse: &Warehouse,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let serve = &settings.serve;
    check(settings, warehouse)?;
    let users = serve
        .users
        .iter()
        .map(|(name, password)| User {
            name: name.clone(),
            password: serve_pg::Secret::new(&password.0),
        })
        .collect();
    let serving = serve_pg::serve(
        Arc::new(Doors {
            warehouse: warehouse.clone(),
            audiences: serve.audiences.clone(),
        }),
        serve_pg::Settings {
            listen: serve.listen,
            users,
            statement_timeout: Some(Duration::from_secs(serve.statement_timeout_seconds)),
            max_connections: serve.max_connections,
            query_log: Some(warehouse.start_query_log()),
        },
        stop,
    )
    .await?;
    tracing::info!(address = %serving.addr, "serving SQL");
    Ok(serving)
}

/// What each user sees.
struct Doors {
    warehouse: Warehouse,
    audiences: BTreeMap<String, String>,
}

#[async_trait::async_trait]
impl Sessions for Doors {
    async fn open(&self, user: &str) -> Result<SessionContext, ServeError> {
        match self.audiences.get(user) {
            Some(audience) => self
                .warehouse
                .session_of(audience)
                .map_err(|err| ServeError::Session(err.to_string())),
            None => self.warehouse.open(user).await,
        }
    }
}

/// A user that is misspelt would see everything under the other name, and an audience that is not there nothing.
fn check(settings: &Settings, warehouse: &Warehouse) -> Result<(), Mistake> {
    for (user, audience) in &settings.serve.audiences {
        if !settings.serve.users.contains_key(user) {
            return Err(Mistake(format!(
                "[serve.audiences] {user}: there is no such user; add it to [serve.users], or take it out here"
            )));
        }
        if !warehouse.audiences().any(|it| it == audience) {
            let mut known: Vec<&str> = warehouse.audiences().collect();
            known.sort_unstable();
            known.dedup();
            return Err(Mistake(format!(
                "[serve.audiences] {user}: there is no audience `{audience}`; releases.yaml has: {}",
                known.join(", ")
            )));
        }
    }
    Ok(())
}
