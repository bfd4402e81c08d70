//! Whatever is delivered, corrected and deleted: what a build has worked in is what a build from nothing makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

#[path = "incremental/deliveries.rs"]
mod deliveries;
#[path = "incremental/tables.rs"]
mod tables;

use std::path::Path;

use lake::Lake;
use proptest::{collection::vec, prelude::*, test_runner::Config};
use warehouse::{BuildReport, Extent, Planned, Reason, Warehouse, WarehouseSettings, Work};

use deliveries::{Deliveries, Step};

/// Opens a warehouse with the real models over a lake.
async fn open(lake: &Lake) -> Warehouse {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/models");
    Warehouse::open(lake.clone(), &models, WarehouseSettings::default())
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

async fn incremental_is_full(steps: &[Vec<Step>]) {
    let mut world = Deliveries::new().await;
    let warehouse = open(&world.lake).await;
    build(&warehouse).await;
    let mut parts = 0;
    for step in steps {
        for change in step {
            world.deliver(change).await;
        }
        let planned = warehouse.plan().await.unwrap();
        let report = build(&warehouse).await;
        assert_as_planned(&planned, &report);
        parts += in_parts(&report);
    }
    assert!(parts > 0, "nothing was worked in");
    let full = open(&world.landed_anew().await).await;
    build(&full).await;
    tables::assert_same(&warehouse, &full).await;
}

proptest! {
    #![proptest_config(Config { cases: 2, max_shrink_iters: 5, failure_persistence: None, ..Config::default() })]

    #[test]
    fn after_any_deliveries_incremental_is_full(
        steps in vec(vec(deliveries::step(), 2..7), 2..5)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(incremental_is_full(&steps));
    }
}
