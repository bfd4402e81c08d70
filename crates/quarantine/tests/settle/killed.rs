//! A retry that is killed, or put to sleep and woken, at every point it can be.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use quarantine::{Filter, State};

use crate::{
    BAD,
    stage::{MENDED, Stage, WRONG},
};

/// Ends after its future has been polled so often; the future stays where it is.
struct Polled<'a, F> {
    left: usize,
    future: Pin<&'a mut F>,
}

impl<F: Future> Future for Polled<'_, F> {
    /// `None` when it was not done by then.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.future.as_mut().poll(cx).map(Some)
    }
}

async fn assert_once(stage: &Stage, at: usize) {
    stage.land().await;
    stage.assert_complete().await;
    let rows = stage
        .ask("select count(*) as n, count(distinct citizen_id) as d from raw.citizen")
        .await;
    assert!(rows.contains("| 3 | 3 |"), "killed at poll {at}:\n{rows}");
    let open = stage.rows(State::Open).await;
    let open: Vec<&str> = open.iter().map(|it| it.origin.as_str()).collect();
    assert_eq!(open, ["c.csv:99"], "killed at poll {at}");
}

#[tokio::test]
async fn a_retry_killed_anywhere_is_finished_by_the_next() {
    let before = Stage::new().await;
    before.read("citizens", &BAD, WRONG).await;
    let mut whole = 0;
    for polls in 1.. {
        let stage = before.copy().await;
        let settle = stage.settle(MENDED, "true").await;
        let finished = {
            let everything = Filter::default();
            let mut retry = Box::pin(settle.retry(&everything, "first", false, &|_| {}));
            let killed = Polled {
                left: polls,
                future: retry.as_mut(),
            };
            killed.await.is_some()
        };
        stage.retry(MENDED).await;
        assert_once(&stage, polls).await;
        if finished {
            whole = polls;
            break;
        }
    }
    assert!(whole > 3, "a retry has more points than {whole}");
}

#[tokio::test]
async fn a_retry_that_slept_while_another_finished_writes_nothing() {
    let before = Stage::new().await;
    before.read("citizens", &BAD, WRONG).await;
    let mut refused = 0;
    for polls in 1.. {
        let stage = before.copy().await;
        let settle = stage.settle(MENDED, "true").await;
        let everything = Filter::default();
        let mut first = Box::pin(settle.retry(&everything, "first", false, &|_| {}));
        let asleep = Polled {
            left: polls,
            future: first.as_mut(),
        };
        if asleep.await.is_some() {
            break;
        }
        stage.retry(MENDED).await;
        // Awake again: it is told that it was replaced, or finds nothing left to do.
        if let Err(err) = first.await {
            assert!(err.to_string().contains("fenced"), "{err}");
            refused += 1;
        }
        assert_once(&stage, polls).await;
    }
    assert!(refused > 0, "nobody was ever fenced");
}
