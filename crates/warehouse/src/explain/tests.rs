//! Explanations over a small warehouse whose every row is known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::HashMap, fs, io::Cursor, sync::Arc};

use arrow::json::ReaderBuilder;
use lake::{Lake, Txn};
use serde_json::{Value, json};

use super::*;
use crate::{Error, Warehouse, WarehouseSettings};

const OFFER_ROLL: &str = "\
-- doc: Participations of each offer with who is in them.
-- grain: offer_id, target_group
with numbered as (
    select p.*, c.birth_year,
        row_number() over (partition by p.municipality_code order by p.start_date, p.participation_id) as nth
    from core.participation as p
    left join core.citizen as c on c.citizen_id = p.citizen_id
    where p.end_reason is distinct from 'cancelled'
),
spread as (
    select offer_id, target_group, citizen_id, birth_year, nth, unnest([1, 2]) as part from numbered
)
select
    s.offer_id,  -- The offer.
    coalesce(s.target_group, 'all') as target_group,  -- Target group, or all of them.
    count(distinct n.participation_id) as running,  -- Participations.
    min(n.birth_year) as oldest,  -- Birth year of the oldest.
    max(o.name) as offer_name  -- Name.
from spread as s
join numbered as n on n.nth = s.nth and n.municipality_code = 101
left join core.offer as o on o.offer_id = s.offer_id
group by grouping sets ((s.offer_id, s.target_group), (s.offer_id))
";

const ROLL: &str = "\
-- doc: Who is in which offer.
-- grain: participation_id
-- definition: in_offer@1
select
    participation_id,  -- The participation.
    citizen_id,  -- Who.
    offer_id  -- The offer.
from core.participation
union all
select concat(order_id, '/order'), null, null from core.single_order
";

const PUBLISHED: &str = "\
-- doc: Participations of each offer, small cells hidden.
-- grain: offer_id, target_group
select
    offer_id,  -- The offer.
    target_group,  -- Target group, or all of them.
    case when running >= 3 then running end as running,  -- Participations.
    running < 3 as suppressed  -- Whether they are hidden.
from core.offer_roll
";

/// Hides without a mark; the complete twin tells.
const UNMARKED: &str = "\
-- doc: Which offer is run, but for the first.
-- grain: participation_id
select
    participation_id,  -- The participation.
    case when offer_id <> 'o1' then offer_id end as offer_id  -- The offer.
from core.roll
";

/// Neither mark nor twin.
const ALONE: &str = "\
-- doc: Offers.
-- grain: offer_id
select
    offer_id,  -- The offer.
    count(*) as groups  -- How many groups.
from core.offer_roll group by offer_id
";

const DEFINITION: &str = "\
definition_id: in_offer
version: 1
title_da: I tilbud
title_en: In the offer
text_da: Borgere i tilbuddet.
text_en: Citizens in the offer.
seed: S0
quote: antal borgere
parameters: {}
valid_from: 2007-01-01
";

struct World {
    folder: tempfile::TempDir,
    lake: Lake,
    warehouse: Warehouse,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        for (path, text) in [
            ("core/offer_roll.sql", OFFER_ROLL),
            ("core/roll.sql", ROLL),
            ("mart/offer_roll.sql", PUBLISHED),
            ("mart/roll.sql", UNMARKED),
            ("mart/alone.sql", ALONE),
        ] {
            let file = models.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let definitions = folder.path().join("definitions");
        fs::create_dir_all(&definitions).unwrap();
        fs::write(definitions.join("in_offer.yaml"), DEFINITION).unwrap();
        let lake = Lake::open("memory:///", HashMap::new()).unwrap();
        let settings = WarehouseSettings::default();
        let warehouse = Warehouse::open(lake.clone(), &models, settings)
            .await
            .unwrap();
        Self {
            folder,
            lake,
            warehouse,
        }
    }

    /// Lands records, which get offsets in the order given, from `offset` on.
    async fn land(&self, entity: &str, offset: usize, records: Vec<Value>) {
        let schema = contract::raw_schema(contract::entity(entity).unwrap());
        let lines = records.into_iter().enumerate().map(|(at, mut record)| {
            record["_topic"] = format!("pejl.{entity}").into();
            record["_partition"] = 0.into();
            record["_offset"] = (offset + at).into();
            record["_timestamp"] = "2010-01-01T00:00:00Z".into();
            record["_deleted"] = false.into();
            format!("{record}\n")
        });
        let text: String = lines.collect();
        let reader = ReaderBuilder::new(Arc::clone(&schema));
        let reader = reader.build(Cursor::new(text)).unwrap();
        let batches = reader.collect::<std::result::Result<Vec<_>, _>>().unwrap();
        let no_txns: [Txn; 0] = [];
        let table = format!("raw.{entity}");
        self.lake
            .append(&table, &schema, batches, &no_txns)
            .await
            .unwrap();
    }

    async fn build(&self) {
        let report = self.warehouse.build(&|_| {}).await.unwrap();
        assert!(report.is_publishable(), "{:?}", report.failures());
    }

    async fn ask(&self, table: &str, predicate: &str, columns: &[&str]) -> Result<Explanation> {
        let question = Question {
            table: table.to_owned(),
            predicate: predicate.to_owned(),
            columns: columns.iter().map(|it| (*it).to_owned()).collect(),
            limit: 10,
        };
        self.warehouse.explain(&question).await
    }
}

fn participation(id: &str, citizen: &str, offer: &str, group: &str, file: &str, row: u32) -> Value {
    json!({
        "participation_id": id, "municipality_code": 101, "citizen_id": citizen, "offer_id": offer,
        "unit_id": "u", "target_group": group, "start_date": "2010-01-01", "workplace": "none",
        "updated_at": "2010-01-01T00:00:00Z",
        "_source": "drops", "_trace_id": format!("trace-of-{file}"), "_source_position": format!("{file}:{row}"),
    })
}

fn citizen(id: &str, birth_year: i32) -> Value {
    json!({
        "citizen_id": id, "municipality_code": 101, "birth_year": birth_year, "origin": "danish",
        "updated_at": "2010-01-01T00:00:00Z", "_source": "service", "_source_position": "page 1 record 1",
    })
}

/// p1 was landed twice, p4 was cancelled, c5 is of another offer.
async fn world() -> World {
    let world = World::new().await;
    let mut cancelled = participation("p4", "c4", "o1", "sickness_benefit", "a.csv", 5);
    cancelled["end_reason"] = "cancelled".into();
    let rows = vec![
        participation("p1", "c1", "o2", "sickness_benefit", "a.csv", 1),
        participation("p2", "c2", "o1", "rehabilitation", "a.csv", 2),
        participation("p3", "c3", "o1", "sickness_benefit", "a.csv", 3),
        cancelled,
        participation("p5", "c5", "o2", "sickness_benefit", "a.csv", 6),
    ];
    world.land("participation", 0, rows).await;
    let again = participation("p1", "c1", "o1", "sickness_benefit", "b.csv", 1);
    world.land("participation", 100, vec![again]).await;
    let citizens = (1..=5).map(|it| citizen(&format!("c{it}"), 1960 + it));
    world.land("citizen", 0, citizens.collect()).await;
    let offers = ["o1", "o2"].map(|id| {
        json!({"offer_id": id, "municipality_code": 101, "name": format!("Tilbud {id}"), "description": "fri tekst"})
    });
    world.land("offer", 0, offers.to_vec()).await;
    let deliveries = ["a.csv", "b.csv"].map(|file| {
        json!({
            "delivery_id": format!("drops/{file}"), "municipality_code": 101, "sender": "KMD", "entity": "participation",
            "period": "unknown", "file_name": file, "sha256": "0123456789abcdef", "rows_read": 5, "rows_accepted": 5,
            "rows_quarantined": 0, "received_at": "2010-02-01T08:00:00Z", "updated_at": "2010-02-01T08:00:00Z",
            "_source": "drops", "_trace_id": format!("trace-of-{file}"),
        })
    });
    world.land("delivery", 0, deliveries.to_vec()).await;
    world.build().await;
    world
}

/// The values of a column in what is shown of a table; of the published one, in the rows that are followed.
fn sample(told: &Explanation, table: &str, column: &str) -> Vec<String> {
    let steps = told.steps.iter().filter(|it| it.table == table);
    let rows = steps.flat_map(|it| &it.into).flat_map(|it| &it.sample);
    let values = rows.filter_map(|it| it.get(column));
    values
        .map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned))
        .collect()
}

#[tokio::test]
async fn exactly_the_rows_that_went_in_are_told_down_to_offsets_and_files() {
    let world = world().await;
    let told = world
        .ask(
            "core.offer_roll",
            "offer_id = 'o1' and target_group = 'sickness_benefit'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((told.found.rows, told.found.suppressed), (1, 0));
    assert_eq!(told.found.sample[0].get("running"), Some(&json!(2)));
    // p4 is cancelled, p2 of another group, p5 of another offer.
    assert_eq!(
        sample(&told, "core.participation", "participation_id"),
        ["p1", "p3"]
    );
    assert_eq!(sample(&told, "core.citizen", "citizen_id"), ["c1", "c3"]);
    assert_eq!(sample(&told, "core.offer", "offer_id"), ["o1"]);
    // The first version of p1 was of another offer; what counts is the last.
    assert_eq!(
        sample(&told, "raw.participation", contract::OFFSET),
        ["2", "100"]
    );
    assert_eq!(
        sample(&told, "raw.participation", contract::SOURCE_POSITION),
        ["a.csv:3", "b.csv:1"]
    );
    let files: Vec<(&str, u64)> = told
        .files
        .iter()
        .map(|it| (it.file_name.as_str(), it.rows))
        .collect();
    assert_eq!(files, [("a.csv", 1), ("b.csv", 1)]);
    // Two citizens from a service, and an offer that says nothing of where it came from.
    assert_eq!(told.rows_without_file, 3);
    assert_eq!(told.publication.id, 1);
    assert!(
        told.model
            .file
            .as_deref()
            .unwrap()
            .ends_with("core/offer_roll.sql")
    );
    assert!(!told.model.is_changed);
}

#[tokio::test]
async fn all_groups_together_come_from_the_rows_of_all_groups() {
    let world = world().await;
    let told = world
        .ask(
            "core.offer_roll",
            "offer_id = 'o1' and target_group = 'all'",
            &["running"],
        )
        .await
        .unwrap();
    assert_eq!(told.found.sample[0].get("running"), Some(&json!(3)));
    assert_eq!(
        sample(&told, "core.participation", "participation_id"),
        ["p1", "p2", "p3"]
    );
    // The number of participations says nothing of citizens or names.
    let tables: Vec<&str> = told.steps.iter().map(|it| it.table.as_str()).collect();
    assert!(!tables.contains(&"core.offer"), "{tables:?}");
    assert_eq!(told.lineage.len(), 1);
}

#[tokio::test]
async fn what_is_suppressed_is_named_and_not_followed() {
    let world = world().await;
    let told = world
        .ask(
            "mart.offer_roll",
            "offer_id = 'o1' and target_group = 'sickness_benefit'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        (told.found.rows, told.found.suppressed, told.found.walked),
        (1, 1, 0)
    );
    assert!(
        told.steps.is_empty() && told.files.is_empty(),
        "{:?}",
        told.steps
    );
    // Where nothing marks it, the complete twin tells; where there is none, nobody knows.
    let told = world.ask("mart.roll", "true", &[]).await.unwrap();
    assert_eq!((told.found.rows, told.found.walked), (5, 1));
    assert_eq!(told.steps[1].table, "core.roll");
    assert_eq!(sample(&told, "raw.participation", contract::OFFSET), ["4"]);
    let told = world.ask("mart.alone", "true", &[]).await.unwrap();
    assert_eq!((told.found.rows, told.found.suppressed), (2, 2));
    let none = world.ask("mart.roll", "false", &[]).await.unwrap();
    assert_eq!((none.found.rows, none.found.suppressed), (0, 0));
    // Together with one that is not, only that is followed.
    let told = world
        .ask("mart.offer_roll", "offer_id = 'o1'", &[])
        .await
        .unwrap();
    assert_eq!(
        (told.found.rows, told.found.suppressed, told.found.walked),
        (3, 2, 1)
    );
    let step = told.steps.iter().find(|it| it.table == "core.offer_roll");
    assert_eq!(step.map(|it| it.rows), Some(1));
}

#[tokio::test]
async fn what_is_known_of_people_is_shown_for_core_and_not_below_what_is_published() {
    let world = world().await;
    let all = "offer_id = 'o1' and target_group = 'all'";
    let published = world.ask("mart.offer_roll", all, &[]).await.unwrap();
    assert_eq!(
        sample(&published, "core.participation", "participation_id").len(),
        3
    );
    let text = serde_json::to_string(&published).unwrap();
    for hidden in [
        "\"c1\"",
        "\"c2\"",
        "\"p1\"",
        "sickness_benefit",
        "1961",
        "fri tekst",
    ] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let core = world
        .ask("core.roll", "participation_id = 'p2'", &[])
        .await
        .unwrap();
    assert_eq!(core.found.sample[0].get("citizen_id"), Some(&json!("c2")));
    assert_eq!(sample(&core, "raw.participation", contract::OFFSET), ["1"]);
    assert_eq!(core.definitions[0].definition, "in_offer@1");
    assert_eq!(core.definitions[0].quote.as_deref(), Some("antal borgere"));
    // Free text is for nobody.
    let offer = world
        .ask("core.offer", "offer_id = 'o1'", &[])
        .await
        .unwrap();
    assert!(!serde_json::to_string(&offer).unwrap().contains("fri tekst"));
}

#[tokio::test]
async fn what_landed_after_the_publication_plays_no_part() {
    let world = world().await;
    let moved = participation("p3", "c3", "o2", "sickness_benefit", "c.csv", 1);
    world.land("participation", 200, vec![moved]).await;
    let cell = "offer_id = 'o1' and target_group = 'sickness_benefit'";
    let told = world
        .ask("core.offer_roll", cell, &["running"])
        .await
        .unwrap();
    assert_eq!(
        sample(&told, "raw.participation", contract::OFFSET),
        ["2", "100"]
    );
    world.build().await;
    let told = world
        .ask("core.offer_roll", cell, &["running"])
        .await
        .unwrap();
    assert_eq!(told.publication.id, 2);
    assert_eq!(
        sample(&told, "raw.participation", contract::OFFSET),
        ["100"]
    );
}

#[tokio::test]
async fn a_changed_model_is_told() {
    let world = world().await;
    let models = world.folder.path().join("models");
    fs::write(
        models.join("core/roll.sql"),
        ROLL.replace("'/order'", "'/one'"),
    )
    .unwrap();
    let settings = WarehouseSettings::default();
    let changed = Warehouse::open(world.lake.clone(), &models, settings)
        .await
        .unwrap();
    let question = Question {
        table: "core.roll".to_owned(),
        predicate: "participation_id = 'p2'".to_owned(),
        columns: Vec::new(),
        limit: 1,
    };
    let told = changed.explain(&question).await.unwrap();
    assert!(told.model.is_changed);
}

#[tokio::test]
async fn a_question_that_cannot_be_understood_says_why() {
    let world = world().await;
    for (table, predicate, columns, expected) in [
        ("mart.nothing", "true", &[][..], "mart.offer_roll"),
        ("raw.offer", "true", &[], "no published table"),
        ("core.roll", "nobody = 1", &[], "nobody"),
        ("core.roll", "offer_id = ", &[], "--where"),
        ("core.roll", "true; drop table x", &[], "--where"),
        ("core.roll", "true", &["nobody"], "no column `nobody`"),
    ] {
        match world.ask(table, predicate, columns).await {
            Err(Error::Question(said)) => assert!(said.contains(expected), "{said}"),
            other => panic!("{table} {predicate}: {other:?}"),
        }
    }
}
