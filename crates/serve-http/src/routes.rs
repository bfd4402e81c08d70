//! Everything that can be asked: one list, of which the server and the table in `docs/operating.md` are made.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    handler::Handler,
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Parts, Question, Refusal, quarantine, sources};

pub(crate) type Shared = State<Arc<Parts>>;

#[rustfmt::skip]
fn all() -> Vec<Route> {
    vec![
        reads("/", "this list", list),
        reads("/healthz", "200 while the process lives", healthz),
        reads("/readyz", "200 when every role of the process works; else 503 with each `role` that does not, `why`, and the `step` to take", readyz),
        reads("/metrics", "what is measured, for Prometheus", metrics),
        reads("/status", "what `pejl status` shows, as far as this process has it: sources, topics with what is still to be landed, the publication", status),
        does("/verify", "runs `pejl verify` and answers as its `--format json` does; one at a time", verify),
        does("/quarantine/retry", "`{\"filter\": {…}, \"by\": …, \"dry_run\": …}`: retries rows that were set aside; answers what came of each", quarantine::retry),
        does("/quarantine/discard", "`{\"filter\": {…}, \"by\": …, \"note\": …}`: discards them", quarantine::discard),
        reads("/sources", "what every source does", sources::list),
        reads("/sources/{name}", "what one does", sources::show),
        does("/sources/{name}/pause", "has it rest; answers what it does", sources::pause),
        does("/sources/{name}/resume", "has it work, also one whose file says `enabled: false`", sources::resume),
        does("/sources/{name}/restart", "has it read at once, its failures forgotten", sources::restart),
        reads("/sources/{name}/position", "where it goes on from; null: from its start", sources::position).guarded(),
        puts("/sources/{name}/position", "puts it elsewhere while no worker reads it; null: at its start", sources::set_position),
    ]
}

/// What can be asked.
struct Route {
    method: &'static str,
    path: &'static str,
    /// Whether the token must be shown.
    guarded: bool,
    answer: &'static str,
    handler: MethodRouter<Arc<Parts>>,
}

impl Route {
    fn guarded(self) -> Self {
        let guarded = true;
        Self { guarded, ..self }
    }
}

fn reads<T: 'static>(
    path: &'static str,
    answer: &'static str,
    handler: impl Handler<T, Arc<Parts>>,
) -> Route {
    Route {
        method: "GET",
        path,
        guarded: false,
        answer,
        handler: get(handler),
    }
}

/// What does something always needs the token.
fn does<T: 'static>(
    path: &'static str,
    answer: &'static str,
    handler: impl Handler<T, Arc<Parts>>,
) -> Route {
    Route {
        method: "POST",
        path,
        guarded: true,
        answer,
        handler: post(handler),
    }
}

fn puts<T: 'static>(
    path: &'static str,
    answer: &'static str,
    handler: impl Handler<T, Arc<Parts>>,
) -> Route {
    Route {
        method: "PUT",
        path,
        guarded: true,
        answer,
        handler: put(handler),
    }
}

pub(crate) fn router(parts: Arc<Parts>) -> Router {
    let mut router = Router::new();
    for route in all() {
        let handler = if route.guarded {
            let guard = middleware::from_fn_with_state(Arc::clone(&parts), guard);
            route.handler.route_layer(guard)
        } else {
            route.handler
        };
        router = router.route(route.path, handler);
    }
    router
        .fallback(|| async { nowhere(StatusCode::NOT_FOUND, "there is nothing by this name") })
        .method_not_allowed_fallback(|| async {
            nowhere(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .with_state(parts)
}

/// The list as Markdown.
async fn list() -> String {
    let mut table = "| request | token | answer |\n|---|---|---|\n".to_owned();
    for route in all() {
        let Route {
            method,
            path,
            guarded,
            answer,
            ..
        } = route;
        let token = if guarded { "yes" } else { "" };
        table += &format!("| `{method} {path}` | {token} | {answer} |\n");
    }
    table
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// Lets in whoever shows a token.
async fn guard(State(parts): Shared, request: Request, next: Next) -> Response {
    if parts.tokens.is_empty() {
        let step = "set [http] token in pejl.toml, or PEJL_HTTP__TOKEN, and start it again";
        return Refusal::of(StatusCode::FORBIDDEN, "nobody may do that here", step).into_response();
    }
    let header = request.headers().get(AUTHORIZATION);
    let shown = header.and_then(|it| it.to_str().ok()).unwrap_or_default();
    if parts.tokens.iter().any(|it| it.is_shown_by(shown)) {
        return next.run(request).await;
    }
    let step = "show the [http] token of this process as `Authorization: Bearer …`";
    Refusal::of(
        StatusCode::UNAUTHORIZED,
        "the token is missing or wrong",
        step,
    )
    .into_response()
}

fn nowhere(status: StatusCode, error: &str) -> Refusal {
    Refusal::of(status, error, "GET / lists all requests")
}

async fn readyz(State(parts): Shared) -> (StatusCode, Json<Value>) {
    let waiting = parts.readiness.waiting();
    let status = if waiting.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let answer = json!({ "ready": waiting.is_empty(), "waiting_for": waiting });
    (status, Json(answer))
}

async fn metrics(State(parts): Shared) -> String {
    parts.metrics.text()
}

async fn status(State(parts): Shared) -> Result<Json<Value>, Refusal> {
    answer(parts.status.as_ref(), Value::Null).await
}

async fn verify(State(parts): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    answer(parts.verify.as_ref(), parsed(&body)?).await
}

async fn answer(question: Option<&Question>, asked: Value) -> Result<Json<Value>, Refusal> {
    let Some(question) = question else {
        let error = "this process has not what that takes";
        let step = "ask `pejl up`, or a process of another role";
        return Err(Refusal::of(StatusCode::NOT_FOUND, error, step));
    };
    Ok(Json(question.ask(asked).await?))
}

/// The body of a request, as JSON; null where there is none.
pub(crate) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|err| {
        let error = format!("the body is not what this takes: {err}");
        let step = "send JSON as docs/operating.md has it";
        Refusal::of(StatusCode::BAD_REQUEST, &error, step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_operators_page_lists_every_request() {
        let page = include_str!("../../../docs/operating.md");
        let table = list().await;
        assert!(
            page.contains(&table),
            "put this into docs/operating.md:\n{table}"
        );
    }
}
