//! What a failure of ours does to its own source, and not to others.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ingest::{Observer, State};

use crate::{numbers::Script, stage::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_reading_panics_is_tried_again_and_its_neighbours_do_not_notice() {
    let stage = Stage::new().await;
    let (script, neighbour) = (Script::named("panics", 5), Script::named("neighbour", 5));
    // The pauses last longer than the board goes without being written.
    (0..4).for_each(|_| script.panic_next());
    let worker = stage.worker_alone("one", &["panics", "neighbour"]);
    let degraded = stage
        .until_report("panics", |it| it.state == State::Degraded)
        .await;
    let trouble = degraded.trouble.unwrap();
    assert_eq!(trouble.fix_by, "us (a bug in Pejl)");
    assert!(trouble.error.contains("a bug that quotes"), "{trouble:?}");
    assert!(!trouble.error.contains("010180"), "{trouble:?}");
    neighbour.grow(5);
    let healed = stage
        .until_report("panics", |it| it.state == State::Waiting && it.rows == 5)
        .await;
    assert_eq!((healed.failures, healed.trouble), (0, None));
    let well = stage.until_report("neighbour", |it| it.rows > 0).await;
    assert_eq!((well.failures, well.trouble), (0, None));
    stage
        .until("the neighbour is read on", || neighbour.served() == 10)
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_outside_of_a_read_is_begun_again() {
    let stage = Stage::new().await;
    let (broken, whole) = (Script::named("broken", 5), Script::named("whole", 5));
    let first = AtomicBool::new(true);
    let observe: Observer = Arc::new(move |report| {
        let is_first = report.source == "broken" && first.swap(false, Ordering::Relaxed);
        assert!(!is_first, "a bug in whoever is told");
    });
    let pipelines = vec![stage.pipeline("broken"), stage.pipeline("whole")];
    let shared = stage.shared_alone("one");
    let worker = stage.worker_told("one", &shared, pipelines, observe);
    stage
        .until("both are read", || {
            broken.served() == 5 && whole.served() == 5
        })
        .await;
    worker.stop().await;
}
