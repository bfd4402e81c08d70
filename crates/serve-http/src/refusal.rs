//! Why something is not done, for whoever asked and for their program.

use std::fmt;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use contract::FixBy;
use serde_json::json;

/// An answer that is a refusal: `{"error": …, "fix_by": …, "step": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    error: String,
    fix_by: FixBy,
    step: String,
}

impl Refusal {
    /// Something that failed, by who can fix it. `step` is what they do.
    pub fn failed(fix_by: FixBy, error: &dyn fmt::Display, step: &str) -> Self {
        let status = match fix_by {
            FixBy::Settings | FixBy::Record => StatusCode::CONFLICT,
            FixBy::Source => StatusCode::SERVICE_UNAVAILABLE,
            FixBy::Us => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            fix_by,
            ..Self::of(status, &error.to_string(), step)
        }
    }

    /// Something that failed and says itself what is wrong.
    pub fn by(fix_by: FixBy, error: &dyn fmt::Display) -> Self {
        let step = match fix_by {
            FixBy::Settings | FixBy::Record => "correct what it says, and ask again",
            FixBy::Source => {
                "ask again later; GET /readyz says what does not work, and the log of this process says more"
            }
            FixBy::Us => "report it with this text and the log around it",
        };
        Self::failed(fix_by, error, step)
    }

    /// A refusal that whoever asked can do something about.
    pub(crate) fn of(status: StatusCode, error: &str, step: &str) -> Self {
        Self {
            status,
            error: error.to_owned(),
            fix_by: FixBy::Settings,
            step: step.to_owned(),
        }
    }

    /// What steering `source` failed at.
    pub(crate) fn steering(source: &str, err: &ingest::Error) -> Self {
        let refusal = Self::failed(err.fix_by(), err, &err.step(source));
        let status = match err {
            ingest::Error::NoSource { .. } => StatusCode::NOT_FOUND,
            ingest::Error::Position { .. } => StatusCode::BAD_REQUEST,
            _ => refusal.status,
        };
        Self { status, ..refusal }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "error": self.error,
            "fix_by": self.fix_by.to_string(),
            "step": self.step,
        });
        (self.status, Json(body)).into_response()
    }
}
