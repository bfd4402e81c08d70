//! A build whose tables would give a hidden count away publishes nothing and says which: the real models, one of them broken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{collections::HashMap, fs, io::Cursor, path::Path, sync::Arc};

use arrow::{json::ReaderBuilder, util::display::array_value_to_string};
use lake::{Lake, Txn};
use warehouse::{BuildReport, Warehouse, WarehouseSettings, read_only_options};

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the models, over a lake in memory with one offer in it.
struct Stage {
    folder: tempfile::TempDir,
    lake: Lake,
}

impl Stage {
    /// Of ten citizens in one target group two are under 30, of twelve in another six.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        for part in ["models", "definitions"] {
            copy(&pipelines.join(part), &folder.path().join(part));
        }
        let stage = Self {
            folder,
            lake: Lake::open("memory:///", HashMap::new()).unwrap(),
        };
        let citizens = || {
            (0..22).map(|at| {
                let group = if at < 10 { 1 } else { 2 };
                let is_young = at < 2 || (10..16).contains(&at);
                (at, group, if is_young { 1990 } else { 1970 })
            })
        };
        let people = citizens().map(|(at, _, year)| {
            format!(
                r#"{{"citizen_id":"c{at}","municipality_code":101,"birth_year":{year},"origin":"unknown""#
            )
        });
        stage.land("citizen", people.collect()).await;
        let participations = citizens().map(|(at, group, _)| {
            format!(
                r#"{{"participation_id":"p{at}","municipality_code":101,"citizen_id":"c{at}","offer_id":"o1","unit_id":"u1","target_group":"cash_benefit_{group}","start_date":"2010-02-01","workplace":"none""#
            )
        });
        stage.land("participation", participations.collect()).await;
        let read = ["participation", "benefit_spell"].map(|entity| {
            format!(
                r#"{{"municipality_code":101,"entity":"{entity}","complete_through":"2010-06-30""#
            )
        });
        stage.land("watermark", read.to_vec()).await;
        stage
    }

    /// Lands records, each the beginning of a JSON object; coordinates are added.
    async fn land(&self, entity: &str, records: Vec<String>) {
        let schema = contract::raw_schema(contract::entity(entity).unwrap());
        let lines = records.iter().enumerate().map(|(offset, fields)| {
            format!("{fields},\"updated_at\":\"2010-07-01T00:00:00Z\",\"_source\":\"test\",\"_timestamp\":\"2010-07-01T00:00:00Z\",\"_topic\":\"pejl.{entity}\",\"_partition\":0,\"_offset\":{offset},\"_deleted\":false}}\n")
        });
        let text: String = lines.collect();
        let reader = ReaderBuilder::new(Arc::clone(&schema))
            .build(Cursor::new(text))
            .unwrap();
        let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
        let no_txns: [Txn; 0] = [];
        self.lake
            .append(&format!("raw.{entity}"), &schema, batches, &no_txns)
            .await
            .unwrap();
    }

    /// Changes a model and builds.
    async fn build_with(&self, changes: &[(&str, &str, &str)]) -> (Warehouse, BuildReport) {
        let models = self.folder.path().join("models");
        for (model, from, to) in changes {
            let path = models.join(model);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{model} does not say {from}");
            fs::write(&path, text.replace(from, to)).unwrap();
        }
        let warehouse = Warehouse::open(self.lake.clone(), &models, WarehouseSettings::default())
            .await
            .unwrap();
        let report = warehouse.build(&|_| {}).await.unwrap();
        (warehouse, report)
    }
}

async fn published(warehouse: &Warehouse) -> Vec<String> {
    let session = warehouse.session().await.unwrap();
    let sql = "select target_group, in_offer, under_30, aged_30_plus from mart.offer_overview \
               where period = '2010H1' order by target_group";
    let answer = session.sql_with_options(sql, read_only_options()).await;
    let mut rows = Vec::new();
    for batch in answer.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            let cells = batch
                .columns()
                .iter()
                .map(|it| array_value_to_string(it, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

const HIDDEN: [&str; 3] = ["all 22 8 14", "cash_benefit_1 10  ", "cash_benefit_2 12  "];

#[tokio::test]
async fn a_table_that_shows_what_must_be_hidden_is_not_published() {
    let stage = Stage::new().await;
    let (warehouse, first) = stage.build_with(&[]).await;
    assert_eq!(first.failures(), []);
    assert_eq!(published(&warehouse).await, HIDDEN);

    // Six and eight are no small counts, so nothing but the attack can see what they tell.
    let (warehouse, second) = stage
        .build_with(&[(
            "mart/offer_overview.sql",
            "case when not hide_aged_30_plus then aged_30_plus end as aged_30_plus",
            "aged_30_plus",
        )])
        .await;
    assert_eq!(second.published, None);
    let failures: Vec<String> = second.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let failure = &failures[0];
    for part in [
        "core.small_cell_attack: check `nothing_is_given_away` failed for 2 rows",
        "municipality_code=101",
        "block=2010H1 o1",
        "part=cash_benefit_1",
        "measure=aged_30_plus",
    ] {
        assert!(failure.contains(part), "{failure}");
    }
    assert_eq!(published(&warehouse).await, HIDDEN, "as it was");
}

#[tokio::test]
async fn hiding_that_does_not_hold_is_not_published() {
    let stage = Stage::new().await;
    let (warehouse, report) = stage
        .build_with(&[(
            "core/offer_small_cell.sql",
            "suppressed_across(hidden, n, 1, lines, [n, n, priority_3, n, n], position) over (
            partition by municipality_code, block_number
        ) as closed",
            "hidden as closed",
        )])
        .await;
    assert_eq!(report.published, None);
    assert_eq!(warehouse.publication().await.unwrap(), None);
    let failures: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    let expected = "core.offer_small_cell: check `nothing_can_be_worked_out` failed for 2 rows";
    assert!(
        failures.iter().any(|it| it.starts_with(expected)
            && it.contains("part=cash_benefit_1, measure=under_30")
            && it.contains("part=cash_benefit_2, measure=under_30")),
        "{failures:?}"
    );
}
