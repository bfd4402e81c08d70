//! Whatever is delivered, corrected and deleted, and however models and definitions are edited: what a build has worked in is what a build from nothing makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

#[path = "incremental/deliveries.rs"]
mod deliveries;
#[path = "incremental/edits.rs"]
mod edits;
#[path = "incremental/tables.rs"]
mod tables;

use lake::Lake;
use proptest::{collection::vec, prelude::*, test_runner::Config};
use warehouse::{BuildReport, Extent, Planned, Reason, Warehouse, WarehouseSettings, Work};

use deliveries::{Deliveries, Step};
use edits::Pipelines;

/// Opens a warehouse over a lake.
async fn open(lake: &Lake, pipelines: &Pipelines) -> Warehouse {
    let settings = WarehouseSettings::default();
    Warehouse::open(lake.clone(), &pipelines.models(), settings)
        .await
        .unwrap()
}

async fn build(warehouse: &Warehouse) -> BuildReport {
    let report = warehouse.build(&|_| {}).await.unwrap();
    assert!(report.is_publishable(), "{:?}", report.failures());
    report
}

/// How many of the models that a build computed it did not compute whole.
fn in_parts(report: &BuildReport) -> usize {
    let is_part = |it: &&warehouse::BuiltModel| matches!(it.extent, Extent::Parts(..));
    report.built.iter().filter(is_part).count()
}

/// A build does what was planned or less: what comes out as it was leads no further.
fn assert_as_planned(planned: &[Planned], report: &BuildReport) {
    for built in &report.built {
        let plan = planned.iter().find(|it| it.model == built.model).unwrap();
        let within = match (&plan.work, &built.extent) {
            (Work::Nothing, _) => false,
            (Work::Whole(_) | Work::Through(_), _) => true,
            // A municipality that loses a thing to another is not known before it is looked for.
            (Work::Parts(planned), Extent::Parts(parts, _)) => {
                !planned.is_empty() || parts.is_empty()
            }
            (Work::Parts(_), Extent::Whole(reason)) => *reason == Reason::Most,
        };
        assert!(within, "{plan:?}, but {:?}", built.extent);
    }
}

/// What happens between two builds: deliveries, and perhaps an edit of the pipelines.
type Round = (Vec<Step>, Option<prop::sample::Index>);

async fn incremental_is_full(rounds: &[Round]) {
    let mut world = Deliveries::new().await;
    let mut pipelines = Pipelines::copied();
    let mut warehouse = open(&world.lake, &pipelines).await;
    build(&warehouse).await;
    let mut parts = 0;
    for (steps, edit) in rounds {
        for change in steps {
            world.deliver(change).await;
        }
        if let Some(edit) = edit {
            pipelines.edit(edit);
            warehouse = open(&world.lake, &pipelines).await;
        }
        let planned = warehouse.plan().await.unwrap();
        let report = build(&warehouse).await;
        assert_as_planned(&planned, &report);
        parts += in_parts(&report);
    }
    assert!(parts > 0, "nothing was worked in");
    let full = open(&world.landed_anew().await, &pipelines).await;
    build(&full).await;
    tables::assert_same(&warehouse, &full).await;
}

proptest! {
    #![proptest_config(Config { cases: 2, max_shrink_iters: 5, failure_persistence: None, ..Config::default() })]

    #[test]
    fn after_any_deliveries_incremental_is_full(
        rounds in vec((vec(deliveries::step(), 2..7), prop::option::weighted(0.4, any::<prop::sample::Index>())), 2..5)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(incremental_is_full(&rounds));
    }
}

/// Each edit by itself: what it can reach is computed again, what it cannot is left alone.
#[test]
fn an_edited_model_or_definition_is_worked_in() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = Deliveries::new().await;
        let mut pipelines = Pipelines::copied();
        build(&open(&world.lake, &pipelines).await).await;
        for edit in &edits::EDITS {
            pipelines.toggle(edit);
            let warehouse = open(&world.lake, &pipelines).await;
            let report = build(&warehouse).await;
            let built: Vec<&str> = report.built.iter().map(|it| it.model.as_str()).collect();
            assert_eq!(
                built.contains(&edit.reaches),
                edit.moves,
                "{edit:?}: {built:?}"
            );
            assert!(built.contains(&edit.first), "{edit:?}: {built:?}");
            assert!(!built.contains(&"core.provider"), "{edit:?}: {built:?}");
        }
        let full = open(&world.landed_anew().await, &pipelines).await;
        build(&full).await;
        let warehouse = open(&world.lake, &pipelines).await;
        tables::assert_same(&warehouse, &full).await;
    });
}
