//! Seeing and steering sources.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use contract::Position;
use ingest::{Control, Status};
use serde_json::Value;

use crate::{
    Parts, Refusal,
    routes::{Shared, parsed},
};

pub(crate) async fn list(State(parts): Shared) -> Result<Json<Vec<Status>>, Refusal> {
    let listed = control(&parts)?.list().await;
    listed
        .map(Json)
        .map_err(|err| Refusal::steering("NAME", &err))
}

pub(crate) async fn show(
    State(parts): Shared,
    Path(name): Path<String>,
) -> Result<Json<Status>, Refusal> {
    shown(&parts, &name, Ok(())).await
}

pub(crate) async fn pause(
    State(parts): Shared,
    Path(name): Path<String>,
) -> Result<Json<Status>, Refusal> {
    let done = control(&parts)?.pause(&name).await;
    shown(&parts, &name, done).await
}

pub(crate) async fn resume(
    State(parts): Shared,
    Path(name): Path<String>,
) -> Result<Json<Status>, Refusal> {
    let done = control(&parts)?.resume(&name).await;
    shown(&parts, &name, done).await
}

pub(crate) async fn restart(
    State(parts): Shared,
    Path(name): Path<String>,
) -> Result<Json<Status>, Refusal> {
    let done = control(&parts)?.restart(&name).await;
    shown(&parts, &name, done).await
}

pub(crate) async fn position(
    State(parts): Shared,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let position = control(&parts)?.position(&name).await;
    let position = position.map_err(|err| Refusal::steering(&name, &err))?;
    Ok(Json(position.map_or(Value::Null, |it| it.0)))
}

/// A body must be there: what an empty one means nobody can know.
pub(crate) async fn set_position(
    State(parts): Shared,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let control = control(&parts)?;
    if body.is_empty() {
        let step =
            format!("send one like that of GET /sources/{name}/position, or null for its start");
        return Err(Refusal::of(
            StatusCode::BAD_REQUEST,
            "no position in the body",
            &step,
        ));
    }
    let position: Value = parsed(&body)?;
    let done = control
        .set_position(&name, Some(Position(position.clone())))
        .await;
    done.map_err(|err| Refusal::steering(&name, &err))?;
    Ok(Json(position))
}

/// What a source does once something was `done` with it.
async fn shown(
    parts: &Parts,
    name: &str,
    done: ingest::Result<()>,
) -> Result<Json<Status>, Refusal> {
    let control = control(parts)?;
    let shown = async {
        done?;
        control.show(name).await
    };
    shown
        .await
        .map(Json)
        .map_err(|err| Refusal::steering(name, &err))
}

fn control(parts: &Parts) -> Result<&Control, Refusal> {
    parts.control.as_ref().ok_or_else(|| {
        let error = "this process runs no sources";
        Refusal::of(StatusCode::NOT_FOUND, error, "ask a worker or `pejl up`")
    })
}
