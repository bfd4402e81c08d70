//! Seeing and steering sources.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::{FixBy, Position};
use ingest::{Control, Status};
use serde_json::{Value, json};

use crate::Parts;

type Shared = State<Arc<Parts>>;

pub(crate) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/sources", get(list))
        .route("/sources/{name}", get(show))
        .route("/sources/{name}/position", get(position).put(set_position))
        .route("/sources/{name}/{order}", post(order))
}

async fn list(State(parts): Shared) -> Result<Json<Vec<Status>>, Refusal> {
    Ok(Json(control(&parts)?.list().await?))
}

async fn show(State(parts): Shared, Path(name): Path<String>) -> Result<Json<Status>, Refusal> {
    Ok(Json(control(&parts)?.show(&name).await?))
}

async fn order(
    State(parts): Shared,
    Path((name, order)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Status>, Refusal> {
    let control = allowed(&parts, &headers)?;
    match order.as_str() {
        "pause" => control.pause(&name).await?,
        "resume" => control.resume(&name).await?,
        "restart" => control.restart(&name).await?,
        _ => {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "a source can be told to pause, resume or restart",
            ));
        }
    }
    Ok(Json(control.show(&name).await?))
}

async fn position(
    State(parts): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let position = allowed(&parts, &headers)?.position(&name).await?;
    Ok(Json(position.map_or(Value::Null, |it| it.0)))
}

async fn set_position(
    State(parts): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(position): Json<Value>,
) -> Result<Json<Value>, Refusal> {
    let control = allowed(&parts, &headers)?;
    let position = Position(position);
    control.set_position(&name, Some(position.clone())).await?;
    Ok(Json(position.0))
}

fn control(parts: &Parts) -> Result<&Control, Refusal> {
    let nowhere = "this process runs no sources; ask a worker or `pejl up`";
    parts
        .control
        .as_ref()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, nowhere))
}

fn allowed<'a>(parts: &'a Parts, headers: &HeaderMap) -> Result<&'a Control, Refusal> {
    check_token(parts, headers)?;
    control(parts)
}

/// Whether whoever asks may do something here.
pub(crate) fn check_token(parts: &Parts, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &parts.token else {
        let how = "nobody may steer here: set [http] token in pejl.toml, or PEJL_HTTP__TOKEN";
        return Err(Refusal::new(StatusCode::FORBIDDEN, how));
    };
    let header = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    if !header.is_some_and(|it| token.is_shown_by(it)) {
        let how = "show the token of [http] as `Authorization: Bearer …`";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, how));
    }
    Ok(())
}

/// Why something is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: String,
    fix_by: FixBy,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: &str) -> Self {
        Self {
            status,
            error: error.to_owned(),
            fix_by: FixBy::Settings,
        }
    }
}

impl From<ingest::Error> for Refusal {
    fn from(err: ingest::Error) -> Self {
        Self::of(err.fix_by(), &err)
    }
}

impl From<quarantine::Error> for Refusal {
    fn from(err: quarantine::Error) -> Self {
        Self::of(err.fix_by(), &err)
    }
}

impl Refusal {
    fn of(fix_by: FixBy, err: &dyn std::error::Error) -> Self {
        let status = match fix_by {
            FixBy::Settings | FixBy::Record => StatusCode::CONFLICT,
            FixBy::Source => StatusCode::BAD_GATEWAY,
            FixBy::Us => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            error: err.to_string(),
            fix_by,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "fix_by": self.fix_by.to_string() });
        (self.status, Json(body)).into_response()
    }
}
