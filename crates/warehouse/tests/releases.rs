//! Releases over a real lake: frozen rows, revisions and their causes, audiences by date, and what two releases tell together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::HashMap, fmt::Write as _, fs, io::Cursor, sync::Arc, time::Duration};

use arrow::{json::ReaderBuilder, util::display::array_value_to_string};
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::prelude::SessionContext;
use lake::{Lake, Txn};
use tokio::sync::Mutex;
use warehouse::{
    Danger, Draft, Error, Made, Outcome, Warehouse, WarehouseSettings, read_only_options,
};

const KINDS: &str = "
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

const DEFINITION: &str = "
definition_id: group_size
version: 1
title_da: Gruppens størrelse
title_en: Size of the group
text_da: Antal forløb.
text_en: Participations.
valid_from: 2007-01-01
";

const MODEL: &str = "\
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

struct Stage {
    folder: tempfile::TempDir,
    lake: Lake,
    offsets: Mutex<HashMap<String, usize>>,
}

/// 10 January 2011, before anybody may see the second half-year of 2010.
fn january() -> DateTime<Utc> {
    "2011-01-10T08:00:00Z".parse().unwrap()
}

/// 6 February 2011, when the committee may, and providers may not.
fn february() -> DateTime<Utc> {
    "2011-02-06T08:00:00Z".parse().unwrap()
}

impl Stage {
    fn new() -> Self {
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

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    async fn try_open(&self, now: fn() -> DateTime<Utc>) -> warehouse::Result<Warehouse> {
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

    async fn open(&self) -> Warehouse {
        self.try_open(january).await.unwrap()
    }

    /// Lands records, each the fields of a JSON object; coordinates are added.
    async fn land(&self, entity: &str, records: &[String]) {
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
    async fn participations(&self, offer: &str, group: &str, first: usize, count: usize) {
        let records: Vec<String> = (first..first + count)
            .map(|it| participation(&format!("{offer}-{group}-{it}"), offer, group))
            .collect();
        self.land("participation", &records).await;
    }

    async fn horizon(&self, through: &str) {
        let record = format!(
            r#""municipality_code":101,"entity":"participation","complete_through":"{through}","updated_at":"2011-01-05T08:00:00Z""#
        );
        self.land("watermark", &[record]).await;
    }

    /// A: 9 and 12, shown. B: 3 and 20, both hidden.
    async fn first_delivery(&self) {
        self.participations("A", "cash_benefit_1", 0, 9).await;
        self.participations("A", "rehabilitation", 0, 12).await;
        self.participations("B", "cash_benefit_1", 0, 3).await;
        self.participations("B", "rehabilitation", 0, 20).await;
    }
}

fn participation(id: &str, offer: &str, group: &str) -> String {
    format!(
        r#""participation_id":"{id}","municipality_code":101,"citizen_id":"c-{id}","offer_id":"{offer}","unit_id":"U","target_group":"{group}","start_date":"2010-09-01","workplace":"none","updated_at":"2011-01-05T08:00:00Z""#
    )
}

async fn built(warehouse: &Warehouse) {
    let report = warehouse.build(&|_| {}).await.unwrap();
    assert_eq!(report.failures(), []);
}

fn draft(name: &str) -> Draft {
    Draft {
        name: name.to_owned(),
        by: "quality manager".to_owned(),
        ..Draft::default()
    }
}

async fn release(warehouse: &Warehouse, name: &str) -> Made {
    warehouse.create_release(draft(name)).await.unwrap()
}

/// A correction, seen by the committee from 1 March 2011.
fn correction(name: &str) -> Draft {
    let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
    Draft {
        audiences: vec![
            ("centre_managers".to_owned(), day("2011-02-20")),
            ("committee".to_owned(), day("2011-03-01")),
        ],
        ..draft(name)
    }
}

async fn ask(warehouse: &Warehouse, sql: &str) -> Vec<String> {
    answer(&warehouse.session().await.unwrap(), sql)
        .await
        .unwrap()
}

async fn answer(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
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

const FROZEN: &str = "select * from release.group_size where release = 'groups-2010H2' order by offer_id, target_group";
const OPEN: &str = "select cell, column_name, old, new, why, since_publication from mart.revision where until_publication is null order by cell";

#[tokio::test]
async fn a_release_stays_and_what_comes_later_is_a_revision_with_its_cause() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, "select * from mart.revision")
            .await
            .is_empty()
    );
    let made = release(&warehouse, "groups-2010H2").await;
    assert_eq!((made.release.publication_id, made.kept), (1, 0));
    assert_eq!(made.release.definitions, ["group_size@1"]);
    assert_eq!(
        made.release.inputs.keys().collect::<Vec<_>>(),
        ["raw.participation"]
    );
    let frozen = ask(&warehouse, FROZEN).await;
    assert_eq!(
        frozen,
        [
            "groups-2010H2|101|2010H2|A|all|21|false|group_size@1||",
            "groups-2010H2|101|2010H2|A|cash_benefit_1|9|false|group_size@1||",
            "groups-2010H2|101|2010H2|A|rehabilitation|12|false|group_size@1||",
            "groups-2010H2|101|2010H2|B|all|23|false|group_size@1||",
            "groups-2010H2|101|2010H2|B|cash_benefit_1||true|group_size@1||",
            "groups-2010H2|101|2010H2|B|rehabilitation||true|group_size@1||",
        ]
    );

    // Five come late to A.
    stage.participations("A", "cash_benefit_1", 9, 5).await;
    built(&warehouse).await;
    let late =
        "data: participation added (through pejl.participation/0@48, 2011-01-05 08:00 UTC)|2";
    let cell = |offer: &str, group: &str| {
        format!("municipality_code=101, period=2010H2, offer_id={offer}, target_group={group}")
    };
    assert_eq!(
        ask(&warehouse, OPEN).await,
        [
            format!("{}|n|21|26|{late}", cell("A", "all")),
            format!("{}|n|9|14|{late}", cell("A", "cash_benefit_1")),
        ]
    );
    built(&warehouse).await;
    assert_eq!(
        warehouse.publication().await.unwrap().unwrap().id,
        2,
        "nothing changed"
    );

    // They were a mistake and are deleted; six of the others never came.
    let gone = |from: usize, to: usize, group: &str| -> Vec<String> {
        (from..to)
            .map(|it| format!(r#""participation_id":"A-{group}-{it}""#))
            .collect()
    };
    stage
        .land("participation", &gone(9, 14, "cash_benefit_1"))
        .await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, OPEN).await.is_empty(),
        "it is as it was released"
    );
    stage
        .land("participation", &gone(0, 6, "rehabilitation"))
        .await;
    built(&warehouse).await;
    let open = ask(&warehouse, OPEN).await;
    assert_eq!(open.len(), 2);
    assert!(
        open[1].starts_with(&format!(
            "{}|n|12|6|data: participation deleted (",
            cell("A", "rehabilitation")
        )),
        "{open:?}"
    );
    assert_eq!(
        ask(&warehouse, "select new, since_publication, until_publication from mart.revision order by since_publication, new").await,
        ["14|2|3", "26|2|3", "15|4|", "6|4|"]
    );

    // One moves from B to another offer: what is hidden stays hidden, and both offers are told why.
    stage
        .land(
            "participation",
            &[participation("B-rehabilitation-0", "C", "rehabilitation")],
        )
        .await;
    built(&warehouse).await;
    let of_b = "select column_name, old, new, why from mart.revision where cell like '%offer_id=B%' order by cell, column_name";
    let of_b = ask(&warehouse, of_b).await;
    assert_eq!(of_b.len(), 1, "{of_b:?}");
    assert!(
        of_b[0].starts_with("n|23|22|data: participation corrected ("),
        "{of_b:?}"
    );
    let of_c = ask(
        &warehouse,
        "select column_name, old, new from mart.revision where cell like '%offer_id=C%'",
    )
    .await;
    assert_eq!(
        of_c,
        ["||present", "||present"],
        "rows that were not released"
    );

    assert_eq!(
        ask(&warehouse, FROZEN).await,
        frozen,
        "a release never changes"
    );
    let verified = warehouse.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        (
            &verified[0].copy,
            &verified[0].pinned,
            &verified[0].computed
        ),
        (&Outcome::Same, &Outcome::Same, &Outcome::Same)
    );
}

#[tokio::test]
async fn definitions_models_and_horizons_are_causes() {
    let stage = Stage::new();
    stage.first_delivery().await;
    stage.horizon("2010-12-31").await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;

    stage.write(
        "definitions/group_size.yaml",
        &format!(
            "{DEFINITION}---{}",
            DEFINITION.replace("version: 1", "version: 2")
        ),
    );
    let model = MODEL
        .replace("group_size@1", "group_size@2")
        .replace("count(*) as n", "2 * count(*) as n");
    stage.write("models/mart/group_size.sql", &model);
    let warehouse = stage.open().await;
    let stale = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        stale.contains("mart.group_size has changed since publication 1; run `pejl build`"),
        "{stale}"
    );
    built(&warehouse).await;
    let open = ask(&warehouse, OPEN).await;
    assert_eq!(
        open[1],
        "municipality_code=101, period=2010H2, offer_id=A, target_group=cash_benefit_1|n|9|18|definition changed: group_size@1 to group_size@2; \
         model changed: mart.group_size|2"
    );
    // B is 6 and 40 now: what was hidden is shown in the mart, and was null in the release.
    assert!(
        open.iter()
            .any(|it| it.contains("offer_id=B, target_group=cash_benefit_1|n||6|definition")),
        "{open:?}"
    );

    stage.write("models/mart/group_size.sql", MODEL);
    stage.horizon("2010-08-31").await;
    stage.horizon("2010-09-01").await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, OPEN).await.is_empty(),
        "the numbers are those of the release: only what they rest on moved"
    );
    stage.horizon("2010-08-31").await;
    built(&warehouse).await;
    let open = ask(
        &warehouse,
        "select distinct old, new, why from mart.revision where until_publication is null",
    )
    .await;
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(
        open[0].starts_with("present||data: watermark corrected (through pejl.watermark/0@3"),
        "{open:?}"
    );

    let verified = warehouse.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        verified[0].computed,
        Outcome::Same,
        "by the model and the landed versions of then"
    );
}

#[tokio::test]
async fn an_audience_sees_a_release_from_its_day_on_and_nothing_else() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    let later = stage.try_open(february).await.unwrap();
    for (warehouse, audience, rows) in [
        (&warehouse, "centre_managers", "0"),
        (&later, "centre_managers", "6"),
        (&later, "committee", "6"),
        (&later, "providers", "0"),
    ] {
        let session = warehouse.session_of(audience).unwrap();
        assert_eq!(
            answer(&session, "select count(*) from release.group_size")
                .await
                .unwrap(),
            [rows],
            "{audience}"
        );
        let records = if rows == "0" {
            vec![]
        } else {
            vec!["groups-2010H2"]
        };
        assert_eq!(
            answer(&session, "select name from ops.release")
                .await
                .unwrap(),
            records
        );
        for hidden in [
            "mart.group_size",
            "mart.revision",
            "core.participation",
            "raw.participation",
            "ops.publication",
        ] {
            answer(&session, &format!("select * from {hidden}"))
                .await
                .unwrap_err();
        }
        answer(&session, "select created_by from ops.release")
            .await
            .unwrap_err();
    }
    assert_eq!(
        ask(&warehouse, "select count(*) from release.group_size").await,
        ["6"],
        "operators see all"
    );
    let wrong = warehouse.session_of("council").err().unwrap().to_string();
    assert!(wrong.contains("there is no audience `council`; releases.yaml has: centre_managers, committee, providers"), "{wrong}");
}

#[tokio::test]
async fn what_two_releases_would_tell_together_is_refused() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    let frozen = ask(&warehouse, FROZEN).await;

    // One more in A, which would show; six more in B's hidden group, which shows it and so tells that it was 3; ten in a new offer.
    stage.participations("A", "cash_benefit_1", 9, 1).await;
    stage.participations("B", "cash_benefit_1", 3, 6).await;
    stage.participations("C", "rehabilitation", 0, 10).await;
    let report = warehouse.build(&|_| {}).await.unwrap();
    let warnings: Vec<&str> = report
        .warnings()
        .filter(|it| it.result.model == "mart.revision")
        .map(|it| it.result.check.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "no_small_difference_from_a_release",
            "no_hidden_number_of_a_release_told"
        ]
    );
    assert!(
        report.published.is_some(),
        "numbers are published all the same"
    );

    let refused = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap_err();
    let said = refused.to_string();
    let Error::Disclosure { findings, .. } = refused else {
        panic!("{said}");
    };
    let dangers: Vec<(Danger, &str)> = findings
        .iter()
        .map(|it| (it.danger, it.cell.rsplit_once("offer_id=").unwrap().1))
        .collect();
    assert_eq!(
        dangers,
        [
            (Danger::SmallDifference, "A, target_group=all"),
            (Danger::SmallDifference, "A, target_group=cash_benefit_1"),
            (Danger::HiddenThen, "B, target_group=cash_benefit_1"),
        ]
    );
    assert!(
        said.contains("groups-2010H2.1 is not made") && said.contains("--keep-earlier"),
        "{said}"
    );
    assert!(
        said.contains("`n` was hidden in groups-2010H2, and is given away now"),
        "{said}"
    );
    assert_eq!(warehouse.releases().await.unwrap().len(), 1);

    let keep = Draft {
        keep_earlier: true,
        ..correction("groups-2010H2.1")
    };
    let made = warehouse.create_release(keep).await.unwrap();
    assert_eq!(
        (made.kept, made.release.corrects.as_deref()),
        (6, Some("groups-2010H2"))
    );
    let corrected = "select offer_id, target_group, n, kept_from from release.group_size where release = 'groups-2010H2.1' order by 1, 2";
    assert_eq!(
        ask(&warehouse, corrected).await,
        [
            "A|all|21|groups-2010H2",
            "A|cash_benefit_1|9|groups-2010H2",
            "A|rehabilitation|12|groups-2010H2",
            "B|all|23|groups-2010H2",
            "B|cash_benefit_1||groups-2010H2",
            "B|rehabilitation||groups-2010H2",
            "C|all|10|",
            "C|rehabilitation|10|",
        ]
    );
    assert_eq!(ask(&warehouse, FROZEN).await, frozen);
    let verified = warehouse.verify_release("groups-2010H2.1").await.unwrap();
    assert_eq!(
        verified[0].pinned,
        Outcome::Same,
        "the rows that are its own"
    );
}

#[tokio::test]
async fn a_number_that_is_hidden_now_and_was_shown_is_a_warning() {
    let stage = Stage::new();
    stage.first_delivery().await;
    stage.participations("A", "sickness_benefit", 0, 20).await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    // 9 and 12 become 2 and 3: both are small, 20 stays, and 41 becomes 25; who has both finds 5 in the two together.
    let gone = |group: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|it| format!(r#""participation_id":"A-{group}-{it}""#))
            .collect()
    };
    stage
        .land("participation", &gone("cash_benefit_1", 7))
        .await;
    stage
        .land("participation", &gone("rehabilitation", 9))
        .await;
    built(&warehouse).await;
    let made = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap();
    let public: Vec<String> = made
        .already_public
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        public,
        [
            "mart.group_size municipality_code=101, period=2010H2, offer_id=A, target_group=cash_benefit_1: `n` is hidden, and was shown in groups-2010H2",
            "mart.group_size municipality_code=101, period=2010H2, offer_id=A, target_group=rehabilitation: `n` is hidden, and was shown in groups-2010H2"
        ]
    );
}

#[tokio::test]
async fn a_name_is_taken_once_and_corrections_follow_each_other() {
    let stage = Stage::new();
    let warehouse = stage.open().await;
    let refused = async |draft: Draft| {
        warehouse
            .create_release(draft)
            .await
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused(draft("groups-2010H2"))
            .await
            .contains("nothing is published yet")
    );
    stage.first_delivery().await;
    built(&warehouse).await;
    let day = |audience: &str, day: &str| (audience.to_owned(), day.parse().unwrap());
    for (draft, expected) in [
        (draft("groups"), "is no release's name"),
        (
            draft("overview-2010H2"),
            "no kind of release `overview`; releases.yaml has: groups",
        ),
        (
            correction("groups-2010H2.1"),
            "would correct groups-2010H2, and there is no such release",
        ),
        (
            draft("groups-2009H2"),
            "releases.yaml says 2010-01-20, which is gone by; name everybody who shall see it, such as --audience centre_managers=2011-01-10",
        ),
        (
            draft("groups-2011H1"),
            "no row to release: mart.group_size where cast(period as varchar) = '2011H1'",
        ),
        (
            Draft {
                table: Some("mart.other".to_owned()),
                ..draft("groups-2010H2")
            },
            "mart.other is no table of `groups`, which has mart.group_size",
        ),
        (
            Draft {
                condition: Some("no_column = 1".to_owned()),
                ..draft("groups-2010H2")
            },
            "does not fit mart.group_size",
        ),
        (
            Draft {
                audiences: vec![day("council", "2011-01-20")],
                ..draft("groups-2010H2")
            },
            "no audience `council` for groups",
        ),
        (
            Draft {
                audiences: vec![
                    day("providers", "2011-02-01"),
                    day("committee", "2011-02-05"),
                ],
                ..draft("groups-2010H2")
            },
            "`providers` would see groups-2010H2 from 2011-02-01, before `committee` from 2011-02-05; the order is centre_managers, committee, providers",
        ),
    ] {
        let said = refused(draft).await;
        assert!(said.contains(expected), "{said}");
    }
    let one = Draft {
        note: Some("for 010190-1234".to_owned()),
        ..draft("groups-101-2010H2")
    };
    let made = warehouse.create_release(one).await.unwrap().release;
    assert_eq!(made.frozen["mart.group_size"].rows, 6);
    assert!(
        !made.note.unwrap().contains("1234"),
        "no CPR number in a note"
    );
    release(&warehouse, "groups-2010H2").await;
    let taken = refused(draft("groups-2010H2")).await;
    assert!(
        taken.contains(
            "groups-2010H2 is there already, made 2011-01-10 08:00 UTC by quality manager"
        ) && taken.contains("with a new one, groups-2010H2.1"),
        "{taken}"
    );
    assert!(
        refused(draft("groups-2010H2.1"))
            .await
            .contains("says 2011-01-20, which is for the first release")
    );
    warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap();
    let names: Vec<String> = warehouse
        .releases()
        .await
        .unwrap()
        .iter()
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(
        names,
        ["groups-101-2010H2", "groups-2010H2", "groups-2010H2.1"]
    );
}

#[tokio::test]
async fn what_a_release_names_stays_readable_and_damage_is_told() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    let made = release(&warehouse, "groups-2010H2").await.release;
    let frozen = ask(&warehouse, FROZEN).await;
    for first in 0..3 {
        stage
            .participations("D", "rehabilitation", first * 10, 10)
            .await;
        built(&warehouse).await;
    }
    // The last publication alone is kept, and no file for its age.
    let pinned = warehouse::pinned(&stage.lake, 1).await.unwrap();
    for (table, version) in made.tables.iter().chain(&made.inputs) {
        assert!(pinned[table].contains(version), "{table}");
    }
    for (table, versions) in &pinned {
        stage.lake.merge(table, lake::FILE_BYTES).await.unwrap();
        stage
            .lake
            .clean(table, Duration::ZERO, versions)
            .await
            .unwrap();
    }
    assert_eq!(ask(&warehouse, FROZEN).await, frozen);
    let afresh = stage.open().await;
    let verified = afresh.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        (&verified[0].pinned, &verified[0].computed),
        (&Outcome::Same, &Outcome::Same)
    );

    stage.write(
        "models/mart/group_size.sql",
        &MODEL.replace("count(*) as n", "count(*) + 0 as n"),
    );
    let changed = stage.open().await;
    let verified = changed.verify_release("groups-2010H2").await.unwrap();
    assert!(
        matches!(&verified[0].computed, Outcome::Unknown(why) if why.contains("the model mart.group_size is another one now")),
        "{verified:?}"
    );

    let file = format!(
        "_released/{}.parquet",
        made.frozen["mart.group_size"].sha256
    );
    stage.lake.delete(&file).await.unwrap();
    stage
        .lake
        .put_new(&file, "something else".into())
        .await
        .unwrap();
    let verified = changed.verify_release("groups-2010H2").await.unwrap();
    assert!(
        matches!(&verified[0].copy, Outcome::Differs(what) if what.contains("not what was frozen")),
        "{verified:?}"
    );
    let said = answer(&changed.session().await.unwrap(), FROZEN)
        .await
        .unwrap_err();
    assert!(
        said.contains("not what was frozen; restore the file"),
        "{said}"
    );
    stage.participations("E", "rehabilitation", 0, 10).await;
    let report = changed.build(&|_| {}).await.unwrap();
    assert!(
        report.published.is_some(),
        "a damaged copy keeps no number from being published"
    );
    let told: Vec<String> = report
        .warnings()
        .map(|it| it.to_owned().result.to_string())
        .collect();
    let is_told =
        |it: &String| it.contains("releases_are_readable") && it.contains("restore the file");
    assert!(told.iter().any(is_told), "{told:?}");

    stage.write(
        "releases.yaml",
        &KINDS.replace("counts: [n]", "counts: [m]"),
    );
    let wrong = stage.try_open(january).await.unwrap_err().to_string();
    assert!(
        wrong.contains("releases.yaml:2: `groups`: counts: mart.group_size has no column `m`"),
        "{wrong}"
    );
}
