//! Doing something about rows that were set aside, in the process that holds the log.

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
    let retried = settle(&parts)?.retry(&asked.filter, &asked.by, asked.dry_run, &|_| {});
    answer(retried.await)
}

pub(crate) async fn discard(
    State(parts): Shared,
    body: Bytes,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    let asked: Discard = parsed(&body)?;
    let discarded = settle(&parts)?.discard(&asked.filter, &asked.by, &asked.note, &|_| {});
    answer(discarded.await)
}

fn answer(settled: ::quarantine::Result<Vec<Outcome>>) -> Result<Json<Vec<Outcome>>, Refusal> {
    settled
        .map(Json)
        .map_err(|err| Refusal::by(err.fix_by(), &err))
}

fn settle(parts: &Parts) -> Result<&Settle, Refusal> {
    parts.settle.as_ref().ok_or_else(|| {
        let step = "ask `pejl up`, or use `pejl quarantine` with the log's own settings";
        Refusal::of(StatusCode::NOT_FOUND, "this process settles no rows", step)
    })
}
