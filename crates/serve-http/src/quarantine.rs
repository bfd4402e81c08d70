//! Doing something about rows that were set aside, in the process that holds the log.

use std::sync::{Mutex, PoisonError};

use ::quarantine::{Filter, Outcome, Settle};
use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    Parts, Refusal,
    routes::{Shared, parsed},
};

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

pub(crate) async fn retry(
    State(parts): Shared,
    body: Bytes,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    let asked: Retry = parsed(&body)?;
    let told = Told::default();
    let observe = told.observe();
    let retried = settle(&parts)?.retry(&asked.filter, &asked.by, asked.dry_run, &observe);
    let retried = retried.await;
    drop(observe);
    retried.map_err(|err| Refusal::by(err.fix_by(), &err))?;
    Ok(Json(told.all()))
}

pub(crate) async fn discard(
    State(parts): Shared,
    body: Bytes,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    let asked: Discard = parsed(&body)?;
    let told = Told::default();
    let observe = told.observe();
    let discarded = settle(&parts)?.discard(&asked.filter, &asked.by, &asked.note, &observe);
    let discarded = discarded.await;
    drop(observe);
    discarded.map_err(|err| Refusal::by(err.fix_by(), &err))?;
    Ok(Json(told.all()))
}

fn settle(parts: &Parts) -> Result<&Settle, Refusal> {
    parts.settle.as_ref().ok_or_else(|| {
        let step = "ask `pejl up`, or use `pejl quarantine` with the log's own settings";
        Refusal::of(StatusCode::NOT_FOUND, "this process settles no rows", step)
    })
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
