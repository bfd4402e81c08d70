//! Pipeline files that change, come and go under a running worker, and sources that nobody runs.

use bus::Board;
use chrono::{DateTime, Duration, Utc};
use connector_api::Error;
use contract::Position;
use ingest::{Report, State};
use serde_json::json;
use spec::Pipeline;

use crate::{numbers::Script, stage::Stage};

/// The pipeline of `name`, with its settings naming another script.
fn of_script(stage: &Stage, name: &str, script: &str) -> Pipeline {
    Pipeline {
        name: name.to_owned(),
        ..stage.pipeline(script)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_needed_a_human_goes_on_once_its_file_is_mended() {
    let stage = Stage::new().await;
    let (wrong, right) = (Script::named("wrong", 5), Script::named("right", 7));
    wrong.fail_next(Error::Settings("no such place".to_owned()));
    let worker = stage.worker_alone("one", &["wrong"]);
    stage
        .until_report("wrong", |it| it.state == State::NeedsAHuman)
        .await;
    stage.write(of_script(&stage, "wrong", "right"));
    let well = stage
        .until_report("wrong", |it| it.state == State::Waiting && it.rows == 7)
        .await;
    assert_eq!((well.failures, well.trouble), (0, None));
    assert!(right.opened() > 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_mistake_stops_its_source_only_and_only_until_it_is_right() {
    let stage = Stage::new().await;
    let (spoilt, other) = (Script::named("spoilt", 5), Script::named("other", 5));
    let worker = stage.worker_alone("one", &["spoilt", "other"]);
    stage.until_report("spoilt", |it| it.rows == 5).await;
    stage.spoil("spoilt");
    let stuck = stage
        .until_report("spoilt", |it| it.state == State::NeedsAHuman)
        .await;
    let trouble = stuck.trouble.unwrap();
    assert!(trouble.error.contains("numbers.yaml"), "{trouble:?}");
    assert_eq!(trouble.fix_by, "the settings");
    other.grow(5);
    stage
        .until("the other goes on", || other.served() == 10)
        .await;
    spoilt.grow(5);
    stage.write(stage.pipeline("spoilt"));
    stage.until("it goes on", || spoilt.served() == 10).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_takes_its_task_along_and_one_that_comes_brings_one() {
    let stage = Stage::new().await;
    let (leaving, coming) = (Script::named("leaving", 5), Script::named("coming", 5));
    let worker = stage.worker_alone("one", &["leaving"]);
    stage.until_report("leaving", |it| it.rows == 5).await;
    stage.delete("leaving");
    stage.until_off_the_board("leaving").await;
    let tries = leaving.tried();
    stage.write(stage.pipeline("coming"));
    stage.until("it is read", || coming.served() == 5).await;
    assert_eq!(leaving.tried(), tries);
    let control = stage.control();
    let sources: Vec<String> = control
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.source)
        .collect();
    assert_eq!(sources, ["coming"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_worker_is_gone_tells_what_was() {
    let stage = Stage::new().await;
    Script::named("orphan", 5);
    let control = stage.control();
    let worker = stage.worker_alone("one", &["orphan"]);
    let report = stage.until_report("orphan", |it| it.rows == 5).await;
    assert!(control.show("orphan").await.unwrap().attended);
    assert!(
        !control
            .clone()
            .alone()
            .show("orphan")
            .await
            .unwrap()
            .attended
    );
    assert!(report.last_success.is_some());
    worker.stop().await;
    // It has said goodbye.
    let status = control.show("orphan").await.unwrap();
    assert!(!status.attended);
    assert_eq!(status.report.unwrap().worker, None);
    // One that died has not, but is not heard of any more.
    let silent = |since: DateTime<Utc>| Report {
        at: since,
        ..report.clone()
    };
    for (minutes, attended) in [(1, true), (10, false)] {
        let report = silent(Utc::now() - Duration::minutes(minutes));
        let text = serde_json::to_string(&report).unwrap();
        let posted = stage.log.post(Board::Reports, "orphan", Some(&text));
        posted.await.unwrap();
        let status = control.show("orphan").await.unwrap();
        assert_eq!(status.attended, attended, "after {minutes} minutes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_runs_can_be_placed_and_cleared() {
    let stage = Stage::new().await;
    Script::named("placed", 5);
    stage.write(stage.pipeline("placed"));
    let control = stage.control();
    let place = |next: i64| Some(Position(json!({ "next": next })));
    // No worker has run it yet.
    control.set_position("placed", place(3)).await.unwrap();
    assert_eq!(control.position("placed").await.unwrap(), place(3));
    stage.read("placed").await.unwrap();
    assert_eq!(stage.numbers().await, [3, 4]);

    let refused = control
        .set_position("placed", Some(Position(json!({ "nxet": 3 }))))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ingest::Error::Position { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("no number as `next`"),
        "{refused}"
    );

    // From the start again, also for a worker that had it and has stopped.
    let worker = stage.worker_alone("one", &["placed"]);
    stage
        .until_report("placed", |it| it.state == State::Waiting)
        .await;
    worker.stop().await;
    control.set_position("placed", None).await.unwrap();
    assert_eq!(control.position("placed").await.unwrap(), None);
    stage.read("placed").await.unwrap();
    assert_eq!(stage.numbers().await, [0, 1, 2, 3, 3, 4, 4]);
}

/// A worker that nobody has heard of for long may still live. Its next commit must not undo what a person has set.
#[tokio::test(flavor = "multi_thread")]
async fn setting_a_position_fences_whoever_might_still_be_at_it() {
    let stage = Stage::new().await;
    Script::named("silent", 5);
    stage.write(stage.pipeline("silent"));
    let mut silent = stage.log.producer("silent").await.unwrap();
    let place = |next: i64| Position(json!({ "next": next }));
    stage
        .control()
        .set_position("silent", Some(place(3)))
        .await
        .unwrap();
    let late = silent.commit(Some(("silent", &place(5)))).await;
    assert!(matches!(late, Err(bus::Error::Fenced(_))), "{late:?}");
    assert_eq!(
        stage.control().position("silent").await.unwrap(),
        Some(place(3))
    );
}
