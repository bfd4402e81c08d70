//! `ops.delivery_calendar` over a real lake: what is landed and published, held against a calendar on a fixed day.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::HashMap, fs, io::Cursor, path::Path, sync::Arc};

use arrow::{json::ReaderBuilder, util::display::array_value_to_string};
use chrono::{DateTime, NaiveDate, Utc};
use lake::{Lake, Txn};
use warehouse::{Warehouse, WarehouseSettings, deliveries::Status, read_only_options};

const CALENDAR: &str = "
- name: attendance
  sender: providers
  contact: contract manager
  entity: attendance
  municipality_code: [101, 630]
  proof: file
  period: quarter
  due: 20 days after the period
  from: 2010-07-01
- name: interviews
  sender: case system
  contact: system owner
  entity: interview
  municipality_code: 101
  proof: watermark
  period: half-year
  due: 1 month after the period
  from: 2010-01-01
  until: 2010-12-31
";

struct Stage {
    folder: tempfile::TempDir,
    lake: Lake,
}

impl Stage {
    fn new(calendar: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let core = folder.path().join("models/core");
        fs::create_dir_all(&core).unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/models/core");
        for name in ["delivery_coverage.sql", "watermark_step.sql"] {
            fs::copy(models.join(name), core.join(name)).unwrap();
        }
        fs::write(folder.path().join("calendar.yaml"), calendar).unwrap();
        Self {
            folder,
            lake: Lake::open("memory:///", HashMap::new()).unwrap(),
        }
    }

    async fn open(&self) -> warehouse::Result<Warehouse> {
        let settings = WarehouseSettings {
            now: || {
                DateTime::parse_from_rfc3339("2011-04-30T21:59:00Z")
                    .unwrap()
                    .into()
            },
            ..WarehouseSettings::default()
        };
        Warehouse::open(
            self.lake.clone(),
            &self.folder.path().join("models"),
            settings,
        )
        .await
    }

    /// Lands records, each a JSON object a line; coordinates are added.
    async fn land(&self, entity: &str, records: &[String]) {
        let schema = contract::raw_schema(contract::entity(entity).unwrap());
        let lines = records.iter().enumerate().map(|(offset, record)| {
            let fields = record.trim_end_matches('}');
            format!("{fields},\"_topic\":\"pejl.{entity}\",\"_partition\":0,\"_offset\":{offset},\"_deleted\":false}}\n")
        });
        let text: String = lines.collect();
        let reader = ReaderBuilder::new(Arc::clone(&schema))
            .build(Cursor::new(text))
            .unwrap();
        let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
        let no_txns: [Txn; 0] = [];
        let table = format!("raw.{entity}");
        self.lake
            .append(&table, &schema, batches, &no_txns)
            .await
            .unwrap();
    }
}

fn delivery(id: &str, period: &str, rows: i64, received: &str) -> String {
    format!(
        r#"{{"delivery_id":"{id}","municipality_code":101,"entity":"attendance","period":"{period}","file_name":"{id}.csv","rows_read":{rows},"rows_accepted":{rows},"rows_quarantined":0,"received_at":"{received}","_source":"drops","_timestamp":"{received}"}}"#
    )
}

fn watermark(through: &str, said: &str) -> String {
    format!(
        r#"{{"municipality_code":101,"entity":"interview","complete_through":"{through}","_source":"case","_timestamp":"{said}"}}"#
    )
}

async fn ask(warehouse: &Warehouse, sql: &str) -> Result<Vec<String>, String> {
    let session = warehouse.session().await.unwrap();
    let answer = session.sql_with_options(sql, read_only_options()).await;
    let batches = answer.map_err(|err| err.to_string())?.collect().await;
    let mut rows = Vec::new();
    for batch in batches.map_err(|err| err.to_string())? {
        for row in 0..batch.num_rows() {
            let cells = batch
                .columns()
                .iter()
                .map(|it| array_value_to_string(it, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows)
}

#[tokio::test]
async fn the_calendar_is_worked_out_from_what_is_published() {
    let stage = Stage::new(CALENDAR);
    stage
        .land(
            "delivery",
            &[
                delivery("jul", "2010-07", 3, "2010-08-05T08:00:00Z"),
                delivery("aug", "2010-08", 0, "2010-09-05T08:00:00Z"),
                delivery("sep", "2010-09", 4, "2010-10-25T08:00:00Z"),
                delivery("oct", "2010-10", 5, "2010-11-05T08:00:00Z"),
                // Read again after its position was set back: it came when it came first.
                delivery("jul", "2010-07", 3, "2011-02-05T08:00:00Z"),
            ],
        )
        .await;
    stage
        .land(
            "watermark",
            &[
                watermark("2010-07-15", "2010-07-16T05:00:00Z"),
                watermark("2010-06-30", "2010-07-17T05:00:00Z"),
            ],
        )
        .await;
    let warehouse = stage.open().await.unwrap();
    let sql = "select obligation, municipality_code, period, status, days_late, covered_through, rows, source \
               from ops.delivery_calendar order by obligation, municipality_code, period";
    let early = ask(&warehouse, sql).await.unwrap_err();
    assert!(
        early.contains("core.delivery_coverage is not published yet; run `pejl build`"),
        "{early}"
    );

    let built = warehouse.build(&|_| {}).await.unwrap();
    assert_eq!(built.failures(), []);
    assert_eq!(
        ask(&warehouse, sql).await.unwrap(),
        [
            "attendance 101 2010Q3 late 5 2010-09-30 7 drops",
            "attendance 101 2010Q4 partial 100 2010-10-31 5 ",
            "attendance 101 2011Q1 overdue 10   ",
            "attendance 101 2011Q2 not_due    ",
            "attendance 630 2010Q3 overdue 192   ",
            "attendance 630 2010Q4 overdue 100   ",
            "attendance 630 2011Q1 overdue 10   ",
            "attendance 630 2011Q2 not_due    ",
            "interviews 101 2010H1 on_time  2010-06-30  case",
            "interviews 101 2010H2 partial 89 2010-07-15  ",
        ]
    );
    let columns = "select due, received_at, first_day, last_day, sender, entity, contact \
                   from ops.delivery_calendar where period = '2010Q3' and municipality_code = 101";
    assert_eq!(
        ask(&warehouse, columns).await.unwrap(),
        [
            "2010-10-20 2010-10-25T08:00:00Z 2010-07-01 2010-09-30 providers attendance contract manager"
        ]
    );
}

#[tokio::test]
async fn another_day_sees_what_was_known_then() {
    let stage = Stage::new(CALENDAR);
    stage
        .land(
            "delivery",
            &[delivery("q3", "2010Q3", 3, "2010-10-25T08:00:00Z")],
        )
        .await;
    let warehouse = stage.open().await.unwrap();
    let built = warehouse.build(&|_| {}).await.unwrap();
    assert_eq!(built.failures(), []);
    for (as_of, expected) in [
        ("2010-10-20", Status::NotDue),
        ("2010-10-24", Status::Overdue),
        ("2010-10-25", Status::Late),
    ] {
        let as_of: NaiveDate = as_of.parse().unwrap();
        let owed = warehouse.delivery_calendar(Some(as_of)).await.unwrap();
        let found = owed
            .iter()
            .find(|it| it.obligation == "attendance" && it.municipality_code == 101);
        assert_eq!(found.unwrap().status, expected, "{as_of}");
    }
    let today: DateTime<Utc> = "2011-04-30T21:59:00Z".parse().unwrap();
    assert_eq!(
        warehouse.delivery_calendar(None).await.unwrap(),
        warehouse
            .delivery_calendar(Some(contract::civil_day(today)))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn without_a_calendar_nothing_is_owed_and_a_wrong_one_is_told() {
    let stage = Stage::new("# Nothing yet.\n");
    let warehouse = stage.open().await.unwrap();
    assert!(
        ask(&warehouse, "select * from ops.delivery_calendar")
            .await
            .unwrap()
            .is_empty()
    );
    fs::remove_file(stage.folder.path().join("calendar.yaml")).unwrap();
    assert!(
        stage
            .open()
            .await
            .unwrap()
            .delivery_calendar(None)
            .await
            .unwrap()
            .is_empty()
    );

    let by_rows = CALENDAR.replace("proof: file", "proof: rows");
    fs::write(stage.folder.path().join("calendar.yaml"), by_rows).unwrap();
    let wrong = stage.open().await.unwrap_err().to_string();
    assert!(
        wrong.contains("calendar.yaml:2: `attendance`: proof: core.delivery_coverage does not look into rows of `attendance`")
            && wrong.contains("beside benchmark, case_review, labour_force, survey_response"),
        "{wrong}"
    );
    fs::write(stage.folder.path().join("calendar.yaml"), CALENDAR).unwrap();
    fs::remove_file(
        stage
            .folder
            .path()
            .join("models/core/delivery_coverage.sql"),
    )
    .unwrap();
    let wrong = stage.open().await.unwrap_err().to_string();
    assert!(
        wrong.contains("without the model core.delivery_coverage"),
        "{wrong}"
    );
}
