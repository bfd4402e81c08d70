//! A warehouse of one model that hides, on a fixed day, and the words the tests are told in.

use std::{collections::HashMap, fmt::Write as _, fs, io::Cursor, sync::Arc};

use arrow::{json::ReaderBuilder, util::display::array_value_to_string};
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::prelude::SessionContext;
use lake::{Lake, Txn};
use tokio::sync::Mutex;
use warehouse::{Draft, Made, Warehouse, WarehouseSettings, read_only_options};

pub(crate) const KINDS: &str = "
- kind: groups
  tables:
  - table: mart.group_size
    period: period
    counts: [n]
    totals: [{column: target_group, value: all}]
  audiences:
  - {name: centre_managers, from: 20 days after the period}
  - {name: committee, from: 36 days after the period}
  - {name: providers}
";

pub(crate) const DEFINITION: &str = "
definition_id: group_size
version: 1
title_da: Gruppens størrelse
title_en: Size of the group
text_da: Antal forløb.
text_en: Participations.
valid_from: 2007-01-01
";

pub(crate) const MODEL: &str = "\
-- doc: Participations begun by target group, small ones hidden.
-- grain: municipality_code, period, offer_id, target_group
-- definition: group_size@1
with known as (
    select p.*, half_year(p.start_date) as period, h.horizon
    from core.participation as p
    cross join (select max(complete_through) as horizon from core.watermark) as h
    where h.horizon is null or p.start_date <= h.horizon
),
counted as (
    select municipality_code, period, offer_id, target_group, horizon, count(*) as n
    from known
    group by municipality_code, period, offer_id, target_group, horizon
    union all
    select municipality_code, period, offer_id, 'all' as target_group, horizon, count(*) as n
    from known
    group by municipality_code, period, offer_id, horizon
),
marked as (
    select *, suppressed(n, target_group, target_group = 'all') over (partition by municipality_code, period, offer_id) as hidden
    from counted
)
select
    municipality_code,  -- Municipality.
    period,  -- Half-year of the start.
    offer_id,  -- The offer.
    target_group,  -- Target group, or all of them together.
    case when not hidden then n end as n,  -- Participations.
    hidden as suppressed,  -- Whether it is hidden.
    'group_size@1' as definition_version,  -- Definition.
    horizon as data_through  -- Horizon.
from marked
";

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) lake: Lake,
    offsets: Mutex<HashMap<String, usize>>,
}

/// 10 January 2011, before anybody may see the second half-year of 2010.
pub(crate) fn january() -> DateTime<Utc> {
    "2011-01-10T08:00:00Z".parse().unwrap()
}

/// 6 February 2011, when the committee may, and providers may not.
pub(crate) fn february() -> DateTime<Utc> {
    "2011-02-06T08:00:00Z".parse().unwrap()
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("models/mart/group_size.sql", MODEL),
            ("definitions/group_size.yaml", DEFINITION),
            ("releases.yaml", KINDS),
        ] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self {
            folder,
            lake: Lake::open("memory:///", HashMap::new()).unwrap(),
            offsets: Mutex::default(),
        }
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    pub(crate) async fn try_open(
        &self,
        now: fn() -> DateTime<Utc>,
    ) -> warehouse::Result<Warehouse> {
        let settings = WarehouseSettings {
            now,
            ..WarehouseSettings::default()
        };
        Warehouse::open(
            self.lake.clone(),
            &self.folder.path().join("models"),
            settings,
        )
        .await
    }

    pub(crate) async fn open(&self) -> Warehouse {
        self.try_open(january).await.unwrap()
    }

    /// Lands records, each the fields of a JSON object; coordinates are added.
    pub(crate) async fn land(&self, entity: &str, records: &[String]) {
        let mut offsets = self.offsets.lock().await;
        let offset = offsets.entry(entity.to_owned()).or_default();
        let mut text = String::new();
        for record in records {
            let deleted = !record.contains("updated_at");
            writeln!(
                text,
                r#"{{{record},"_topic":"pejl.{entity}","_partition":0,"_offset":{offset},"_timestamp":"2011-01-05T08:00:00Z","_deleted":{deleted}}}"#
            )
            .unwrap();
            *offset += 1;
        }
        let schema = contract::raw_schema(contract::entity(entity).unwrap());
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

    /// Participations of an offer and target group, numbered from `first`.
    pub(crate) async fn participations(
        &self,
        offer: &str,
        group: &str,
        first: usize,
        count: usize,
    ) {
        let records: Vec<String> = (first..first + count)
            .map(|it| participation(&format!("{offer}-{group}-{it}"), offer, group))
            .collect();
        self.land("participation", &records).await;
    }

    pub(crate) async fn horizon(&self, through: &str) {
        let record = format!(
            r#""municipality_code":101,"entity":"participation","complete_through":"{through}","updated_at":"2011-01-05T08:00:00Z""#
        );
        self.land("watermark", &[record]).await;
    }

    /// A: 9 and 12, shown. B: 3 and 20, both hidden.
    pub(crate) async fn first_delivery(&self) {
        self.participations("A", "cash_benefit_1", 0, 9).await;
        self.participations("A", "rehabilitation", 0, 12).await;
        self.participations("B", "cash_benefit_1", 0, 3).await;
        self.participations("B", "rehabilitation", 0, 20).await;
    }
}

pub(crate) fn participation(id: &str, offer: &str, group: &str) -> String {
    format!(
        r#""participation_id":"{id}","municipality_code":101,"citizen_id":"c-{id}","offer_id":"{offer}","unit_id":"U","target_group":"{group}","start_date":"2010-09-01","workplace":"none","updated_at":"2011-01-05T08:00:00Z""#
    )
}

pub(crate) async fn built(warehouse: &Warehouse) {
    let report = warehouse.build(&|_| {}).await.unwrap();
    assert_eq!(report.failures(), []);
}

pub(crate) fn draft(name: &str) -> Draft {
    Draft {
        name: name.to_owned(),
        by: "quality manager".to_owned(),
        ..Draft::default()
    }
}

pub(crate) async fn release(warehouse: &Warehouse, name: &str) -> Made {
    warehouse.create_release(draft(name)).await.unwrap()
}

/// A correction, seen by the committee from 1 March 2011.
pub(crate) fn correction(name: &str) -> Draft {
    let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
    Draft {
        audiences: vec![
            ("centre_managers".to_owned(), day("2011-02-20")),
            ("committee".to_owned(), day("2011-03-01")),
        ],
        ..draft(name)
    }
}

pub(crate) async fn ask(warehouse: &Warehouse, sql: &str) -> Vec<String> {
    answer(&warehouse.session().await.unwrap(), sql)
        .await
        .unwrap()
}

pub(crate) async fn answer(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let answer = session.sql_with_options(sql, read_only_options()).await;
    let batches = answer.map_err(|err| err.to_string())?.collect().await;
    let mut rows = Vec::new();
    for batch in batches.map_err(|err| err.to_string())? {
        for row in 0..batch.num_rows() {
            let cells = batch
                .columns()
                .iter()
                .map(|it| array_value_to_string(it, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(rows)
}

pub(crate) const FROZEN: &str = "select * from release.group_size where release = 'groups-2010H2' order by offer_id, target_group";
pub(crate) const OPEN: &str = "select cell, column_name, old, new, why, since_publication from mart.revision where until_publication is null order by cell";
