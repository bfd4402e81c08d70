//! What only the process that is asked can answer, such as how far its tables are.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use axum::http::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::Refusal;

type Answer = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>>;

/// A question that a process answers in JSON. Clones share it.
#[derive(Clone)]
pub struct Question {
    answer: Arc<dyn Fn(Value) -> Answer + Send + Sync>,
    /// Held by whoever is being answered, where one at a time is.
    turn: Option<Arc<Mutex<()>>>,
}

impl Question {
    /// `answer` is given the body of the request: JSON, null where there was none.
    pub fn new<A>(answer: impl Fn(Value) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Value, Refusal>> + Send + 'static,
    {
        Self {
            answer: Arc::new(move |asked| Box::pin(answer(asked))),
            turn: None,
        }
    }

    /// For an answer that is much work: one at a time.
    #[must_use]
    pub fn one_at_a_time(self) -> Self {
        let turn = Some(Arc::default());
        Self { turn, ..self }
    }

    pub(crate) async fn ask(&self, asked: Value) -> Result<Value, Refusal> {
        let turn = self.turn.as_ref().map(|turn| turn.try_lock());
        if let Some(Err(_)) = turn {
            let error = "somebody else is being answered";
            return Err(Refusal::of(
                StatusCode::CONFLICT,
                error,
                "wait until that has ended",
            ));
        }
        (self.answer)(asked).await
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}
