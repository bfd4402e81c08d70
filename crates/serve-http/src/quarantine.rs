//! Doing something about rows that were set aside, in the process that holds the log.

use std::sync::{Arc, Mutex, PoisonError};

use ::quarantine::{Filter, Outcome, Settle};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde::{Deserialize, Serialize};

use crate::{
    Parts,
    sources::{Refusal, check_token},
};

type Shared = State<Arc<Parts>>;

/// The body of `POST /quarantine/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Which rows.
    pub filter: Filter,
    /// Who asks for it.
    pub by: String,
    /// Only say what would come of them.
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of `POST /quarantine/discard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// Which rows.
    pub filter: Filter,
    /// Who discards them.
    pub by: String,
    /// Why.
    pub note: String,
}

pub(crate) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/quarantine/retry", post(retry))
        .route("/quarantine/discard", post(discard))
}

async fn retry(
    State(parts): Shared,
    headers: HeaderMap,
    Json(asked): Json<Retry>,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    let settle = settle(&parts, &headers)?;
    let told = Told::default();
    settle
        .retry(&asked.filter, &asked.by, asked.dry_run, &told.observe())
        .await?;
    Ok(Json(told.all()))
}

async fn discard(
    State(parts): Shared,
    headers: HeaderMap,
    Json(asked): Json<Discard>,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    let settle = settle(&parts, &headers)?;
    let told = Told::default();
    settle
        .discard(&asked.filter, &asked.by, &asked.note, &told.observe())
        .await?;
    Ok(Json(told.all()))
}

fn settle<'a>(parts: &'a Parts, headers: &HeaderMap) -> Result<&'a Settle, Refusal> {
    check_token(parts, headers)?;
    let nowhere = "this process settles no rows; ask `pejl up`, or use `pejl quarantine` with the log's own settings";
    parts
        .settle
        .as_ref()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, nowhere))
}

/// Outcomes as they are told.
#[derive(Default)]
struct Told(Mutex<Vec<Outcome>>);

impl Told {
    fn observe(&self) -> impl Fn(&[Outcome]) + Send + Sync + '_ {
        |outcomes| {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend_from_slice(outcomes);
        }
    }

    fn all(self) -> Vec<Outcome> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
