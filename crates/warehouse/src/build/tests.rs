//! Builds over a real lake: skipping, checks, publication, and what readers see meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod by_id;
mod little_memory;
mod set_aside;

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, new_null_array,
    },
    util::pretty::pretty_format_batches,
};
use chrono::TimeZone;
use lake::Txn;

use super::*;
use crate::{Hold, Warehouse, WarehouseSettings, read_only_options};

/// A warehouse in a folder of its own, over a lake in memory.
struct World {
    folder: tempfile::TempDir,
    lake: Lake,
    landed: Mutex<i64>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("models/mart")).unwrap();
        Self {
            folder,
            lake: Lake::open("memory:///", HashMap::new()).unwrap(),
            landed: Mutex::default(),
        }
    }

    fn models(&self) -> std::path::PathBuf {
        self.folder.path().join("models")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.models().join("mart").join(name), text).unwrap();
    }

    async fn open(&self) -> Warehouse {
        self.open_with(WarehouseSettings::default()).await
    }

    async fn open_with(&self, settings: WarehouseSettings) -> Warehouse {
        self.try_open(settings).await.unwrap()
    }

    async fn try_open(&self, settings: WarehouseSettings) -> Result<Warehouse> {
        Warehouse::open(self.lake.clone(), &self.models(), settings).await
    }

    /// Lands units: id, name; no name deletes.
    async fn land_units(&self, units: &[(&str, Option<&str>)]) {
        let entity = contract::entity("unit").unwrap();
        let count = units.len();
        let offset = *self.landed.lock().unwrap();
        let offsets = offset..offset + count as i64;
        let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let given: HashMap<&str, ArrayRef> = HashMap::from([
            (
                "unit_id",
                texts(units.iter().map(|it| Some(it.0)).collect()),
            ),
            ("name", texts(units.iter().map(|it| it.1).collect())),
            (contract::TOPIC, texts(vec![Some("pejl.unit"); count])),
            (
                contract::PARTITION,
                Arc::new(Int32Array::from(vec![0; count])),
            ),
            (
                contract::OFFSET,
                Arc::new(Int64Array::from_iter_values(offsets)),
            ),
            (
                contract::TIMESTAMP,
                Arc::new(TimestampMicrosecondArray::from(vec![0; count]).with_timezone("UTC")),
            ),
            (
                contract::DELETED,
                Arc::new(BooleanArray::from_iter(
                    units.iter().map(|it| Some(it.1.is_none())),
                )),
            ),
        ]);
        let schema = contract::raw_schema(entity);
        let columns = schema
            .fields()
            .iter()
            .map(|field| match given.get(field.name().as_str()) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), count),
            });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        let no_txns: [Txn; 0] = [];
        self.lake
            .append("raw.unit", &schema, vec![batch], &no_txns)
            .await
            .unwrap();
        *self.landed.lock().unwrap() += count as i64;
    }
}

const NAMES: &str = "\
-- doc: Units by name.
-- grain: name
-- check: is_short: length(name) < 10
-- warn: is_a: name = 'a'
select
    name,                -- Their name.
    count(*) as units    -- How many.
from core.unit
group by name
";

const TOTAL: &str = "\
-- doc: All units.
-- grain: units
select
    sum(units) as units  -- How many.
from mart.names
";

fn quiet(_: BuildEvent) {}

async fn ask(warehouse: &Warehouse, sql: &str) -> String {
    let session = warehouse.session().await.unwrap();
    rows(&session, sql).await.unwrap()
}

async fn rows(session: &SessionContext, sql: &str) -> std::result::Result<String, String> {
    let answer = session.sql_with_options(sql, read_only_options()).await;
    let batches = answer
        .map_err(|err| err.to_string())?
        .collect()
        .await
        .map_err(|err| err.to_string())?;
    let shown = pretty_format_batches(&batches).unwrap().to_string();
    let cells = |it: &str| {
        it.trim_matches('|')
            .split('|')
            .map(|it| it.trim().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok(shown
        .lines()
        .filter(|it| it.starts_with('|'))
        .skip(1)
        .map(cells)
        .collect::<Vec<_>>()
        .join("\n"))
}

fn built(report: &BuildReport) -> Vec<&str> {
    report.built.iter().map(|it| it.model.as_str()).collect()
}

#[tokio::test]
async fn a_build_publishes_and_an_unchanged_world_does_not() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.write("total.sql", TOTAL);
    world
        .land_units(&[("u1", Some("a")), ("u2", Some("a")), ("u3", Some("b"))])
        .await;
    let warehouse = world.open().await;
    assert_eq!(warehouse.publication().await.unwrap(), None);

    let first = warehouse.build(&quiet).await.unwrap();
    assert_eq!(first.failures(), []);
    assert_eq!(first.published, Some(1));
    assert_eq!(first.built.len(), contract::entities().len() + 2);
    assert_eq!(
        ask(&warehouse, "select name, units from mart.names order by 1").await,
        "a 2\nb 1"
    );
    assert_eq!(
        ask(&warehouse, "select units from total").await,
        "3",
        "mart is the default schema"
    );
    assert_eq!(
        ask(&warehouse, "select count(*) from core.participation").await,
        "0"
    );
    assert_eq!(ask(&warehouse, "select count(*) from raw.unit").await, "3");

    let again = warehouse.build(&quiet).await.unwrap();
    assert_eq!((again.published, again.built.len()), (None, 0));
    assert_eq!(again.to_string(), "nothing changed; publication 1 stays");
    let elsewhere = world.open().await.build(&quiet).await.unwrap();
    assert_eq!(
        (elsewhere.published, elsewhere.built.len()),
        (None, 0),
        "nor after a restart"
    );
    assert_eq!(world.lake.list("_publications").await.unwrap().len(), 1);
    assert_eq!(world.lake.list("_runs").await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_what_changed_is_computed_and_open_sessions_see_it() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.write("total.sql", TOTAL);
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open().await;
    warehouse.build(&quiet).await.unwrap();
    let session = warehouse.session().await.unwrap();
    let elsewhere = world.open().await.session().await.unwrap();
    assert_eq!(
        rows(&session, "select units from total").await.unwrap(),
        "1"
    );
    assert_eq!(
        rows(&elsewhere, "select units from total").await.unwrap(),
        "1"
    );

    world.land_units(&[("u2", Some("b")), ("u1", None)]).await;
    let events = Mutex::new(Vec::new());
    let report = warehouse
        .build(&|event| events.lock().unwrap().push(event.to_string()))
        .await
        .unwrap();
    assert_eq!(built(&report), ["core.unit", "mart.names", "mart.total"]);
    assert_eq!(report.published, Some(2));
    let events = events.into_inner().unwrap();
    assert!(
        events.contains(&"core.offer unchanged".to_owned()),
        "{events:?}"
    );
    assert!(
        events.contains(&"core.unit built, 1 rows of 1 municipality".to_owned()),
        "{events:?}"
    );
    assert_eq!(events.last().unwrap(), "publication 2");
    for session in [session, elsewhere] {
        assert_eq!(rows(&session, "select name from names").await.unwrap(), "b");
    }
    let publication = warehouse.publication().await.unwrap().unwrap();
    assert_eq!((publication.id, publication.previous), (2, Some(1)));
    assert_eq!(
        publication.inputs["raw.unit"],
        world.lake.version("raw.unit").await.unwrap().unwrap()
    );
    assert_eq!(
        publication.reads["mart.total"]["mart.names"],
        publication.tables["mart.names"].to_string()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_put_together_are_no_news_and_rows_landed_after_them_are() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.land_units(&[("u1", Some("a"))]).await;
    world.land_units(&[("u2", Some("a"))]).await;
    let warehouse = world.open().await;
    warehouse.build(&quiet).await.unwrap();

    let merged = world.lake.merge("raw.unit", lake::FILE_BYTES).await;
    assert_eq!(merged.unwrap(), 2);
    let day = std::time::Duration::from_secs(86_400);
    world.lake.clean("raw.unit", day, &[]).await.unwrap();
    for warehouse in [&warehouse, &world.open().await] {
        let report = warehouse.build(&quiet).await.unwrap();
        assert_eq!((report.published, built(&report)), (None, vec![]));
    }

    world.land_units(&[("u3", Some("a"))]).await;
    let report = warehouse.build(&quiet).await.unwrap();
    assert_eq!(built(&report), ["core.unit", "mart.names"]);
    assert_eq!(ask(&warehouse, "select units from names").await, "3");
    let publication = warehouse.publication().await.unwrap().unwrap();
    let newest = world.lake.version("raw.unit").await.unwrap().unwrap();
    assert_eq!(publication.inputs["raw.unit"], newest);
}

#[tokio::test]
async fn a_changed_model_is_computed_again_and_a_removed_one_is_gone() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.write("total.sql", TOTAL);
    world.land_units(&[("u1", Some("a"))]).await;
    world.open().await.build(&quiet).await.unwrap();
    world.write(
        "total.sql",
        &TOTAL.replace("sum(units)", "coalesce(sum(units), 0)"),
    );
    let warehouse = world.open().await;
    let report = warehouse.build(&quiet).await.unwrap();
    assert_eq!(built(&report), ["mart.total"]);
    assert_eq!(ask(&warehouse, "select units from total").await, "1");

    std::fs::remove_file(world.models().join("mart/total.sql")).unwrap();
    let warehouse = world.open().await;
    let report = warehouse.build(&quiet).await.unwrap();
    assert_eq!((report.published, report.built.len()), (Some(3), 0));
    let session = warehouse.session().await.unwrap();
    let gone = rows(&session, "select * from total").await.unwrap_err();
    assert!(gone.contains("table 'pejl.mart.total' not found"), "{gone}");
}

#[tokio::test]
async fn a_failed_check_keeps_yesterdays_numbers_and_says_why_and_since_when() {
    static CLOCK: AtomicI64 = AtomicI64::new(1_300_000_000);
    fn clock() -> DateTime<Utc> {
        Utc.timestamp_opt(CLOCK.fetch_add(60, Ordering::Relaxed), 0)
            .unwrap()
    }
    let settings = || WarehouseSettings {
        now: clock,
        ..WarehouseSettings::default()
    };
    let world = World::new();
    world.write("names.sql", NAMES);
    world.write("total.sql", TOTAL);
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open_with(settings()).await;
    warehouse.build(&quiet).await.unwrap();

    world
        .land_units(&[
            ("u2", Some("much too long a name")),
            ("u3", Some("also a long name")),
        ])
        .await;
    let failed = warehouse.build(&quiet).await.unwrap();
    assert_eq!(failed.published, None);
    assert_eq!(
        failed.to_string(),
        "nothing published, 1 failures; publication 1 stays"
    );
    let told = failed.failures()[0].to_string();
    assert_eq!(
        told,
        "mart.names: check `is_short` failed for 2 rows, such as name=also a long name; name=much too long a name; \
         failing since 2011-03-13 07:07:40 UTC"
    );
    assert_eq!(
        ask(&warehouse, "select units from total").await,
        "1",
        "what was published is served"
    );
    assert_eq!(ask(&warehouse, "select count(*) from core.unit").await, "1");

    // The same failure again: nothing is computed twice, and it began when it began.
    let again = warehouse.build(&quiet).await.unwrap();
    assert_eq!(again.failures()[0].to_string(), told);
    assert_eq!(world.lake.list("_runs").await.unwrap().len(), 2);
    let restarted = world
        .open_with(settings())
        .await
        .build(&quiet)
        .await
        .unwrap();
    assert_eq!(restarted.failures()[0].to_string(), told);
    let failing =
        "select model, \"check\", failed_rows, failing_since is not null from ops.quality_check
        where not passed and severity = 'error' order by ran_at";
    let row = "mart.names is_short 2 true";
    assert_eq!(ask(&warehouse, failing).await, format!("{row}\n{row}"));

    world.land_units(&[("u2", None), ("u3", Some("c"))]).await;
    let mended = warehouse.build(&quiet).await.unwrap();
    assert_eq!(mended.failures(), []);
    assert_eq!(mended.published, Some(2));
    assert_eq!(
        mended
            .warnings()
            .map(|it| it.result.check.as_str())
            .collect::<Vec<_>>(),
        ["is_a"]
    );
    assert_eq!(ask(&warehouse, "select units from total").await, "2");
    let published =
        "select publication_id, previous_id, checks_passed > 30 from ops.publication order by 1";
    assert_eq!(ask(&warehouse, published).await, "1  true\n2 1 true");
}

#[tokio::test]
async fn a_model_that_cannot_be_computed_stops_those_that_read_it_and_no_others() {
    let world = World::new();
    world.write(
        "names.sql",
        &NAMES.replace("count(*)", "count(*) / (count(*) - 1)"),
    );
    world.write("total.sql", TOTAL);
    world.write(
        "other.sql",
        "-- doc: X.\n-- grain: id\nselect\n  unit_id as id -- A.\nfrom core.unit",
    );
    world.write(
        "wrong.sql",
        "-- doc: X.\n-- grain: id\n-- check: a: id is not null\n-- check: b: idd > 1\nselect\n  unit_id as id -- A.\nfrom core.unit",
    );
    world.write(
        "typo.sql",
        "-- doc: X.\n-- grain: id\nselect\n  unitt_id as id -- A.\nfrom core.unit",
    );
    world.land_units(&[("u1", Some("a"))]).await;
    let report = world.open().await.build(&quiet).await.unwrap();
    assert_eq!(report.published, None);
    let told: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[0].starts_with("mart.names: ") && told[0].contains("Divide by zero"),
        "{told:?}"
    );
    assert_eq!(told[1], "mart.total: not built, it reads mart.names");
    assert!(
        told[2].contains("mart/typo.sql:4:3: ") && told[2].contains("unitt_id"),
        "{told:?}"
    );
    assert!(
        told[3].contains("mart/wrong.sql:4: check `b`: ") && told[3].contains("idd"),
        "{told:?}"
    );
    assert!(built(&report).contains(&"mart.other"));
}

#[tokio::test]
async fn the_grain_is_unique_and_filled_and_people_are_not_named() {
    let world = World::new();
    world.write(
        "people.sql",
        "-- doc: X.\n-- grain: citizen_id, n\nselect\n  citizen_id, -- A.\n  n -- B.\nfrom (values ('secret', 1), ('secret', 1), (null, 2)) t(citizen_id, n)",
    );
    let report = world.open().await.build(&quiet).await.unwrap();
    let told: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(
            "mart.people: check `not_null` failed for 1 rows, such as citizen_id=…, n=2"
        ),
        "{told:?}"
    );
    assert!(
        told[1]
            .starts_with("mart.people: check `grain` failed for 1 rows, such as citizen_id=…, n=1"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_points_nowhere_is_told() {
    let world = World::new();
    let text = "-- doc: X.\n-- grain: id\n-- references: id -- x\nselect\n  name as id -- A.\nfrom core.unit";
    world.write(
        "pointing.sql",
        &text.replace("id -- x", "id -> core.unit.unit_id"),
    );
    world
        .land_units(&[("u1", Some("u1")), ("u2", Some("u9"))])
        .await;
    let warehouse = world.open().await;
    let report = warehouse.build(&quiet).await.unwrap();
    let told: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]
            .starts_with("mart.pointing: check `reference_id` failed for 1 rows, such as id=u9;"),
        "{told:?}"
    );
    // The row it points to arrives; the model itself reads core.unit too, so both are computed anew.
    world
        .land_units(&[("u9", Some("u1")), ("u1", None), ("u9", Some("u2"))])
        .await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().published, Some(1));
}

#[tokio::test]
async fn sessions_cannot_change_anything() {
    let world = World::new();
    let warehouse = world.open().await;
    warehouse.build(&quiet).await.unwrap();
    let session = warehouse.session().await.unwrap();
    for sql in [
        "create table core.x as select 1",
        "create view core.x as select 1",
        "drop table core.unit",
        "insert into core.unit select * from core.unit",
        "delete from core.unit",
        "set datafusion.execution.batch_size = 1",
        "copy (select 1) to 'x.csv'",
        "create external table x stored as csv location 'x.csv'",
    ] {
        assert!(rows(&session, sql).await.is_err(), "{sql}");
    }
    // Not even without the options.
    assert!(
        session
            .sql("create table core.x as select 1")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tables_are_listed_with_their_columns_and_what_they_hold() {
    let world = World::new();
    world.write("names.sql", NAMES);
    let warehouse = world.open().await;
    let listed = "select count(*) from information_schema.tables where table_schema = 'core'";
    assert_eq!(
        ask(&warehouse, listed).await,
        "0",
        "nothing is published yet"
    );
    warehouse.build(&quiet).await.unwrap();
    assert_eq!(
        ask(&warehouse, listed).await,
        contract::entities().len().to_string()
    );
    let columns = "select column_name, data_type from information_schema.columns
        where table_schema = 'mart' and table_name = 'names' order by ordinal_position";
    assert_eq!(ask(&warehouse, columns).await, "name Utf8\nunits Int64");
    let landed = "select count(*) from information_schema.tables where table_schema = 'raw'";
    assert_eq!(
        ask(&warehouse, landed).await,
        (contract::entities().len() + 2).to_string()
    );
    let doc = "select doc from ops.column_doc where table_name = 'names' and column_name = 'units'";
    assert_eq!(ask(&warehouse, doc).await, "How many.");
    assert_eq!(
        warehouse.docs()["mart.names"].columns[0],
        ("name".to_owned(), "Their name.".to_owned())
    );
    assert_eq!(
        ask(&warehouse, "select count(*) > 90 from ref.municipality").await,
        "true"
    );
    assert_eq!(
        ask(&warehouse, "select add_months(date '2010-11-30', 3)").await,
        "2011-02-28"
    );
}

#[tokio::test]
async fn builds_that_race_publish_one_after_the_other() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.land_units(&[("u1", Some("a"))]).await;
    let (one, two) = (world.open().await, world.open().await);
    let (left, right) = tokio::join!(one.build(&quiet), two.build(&quiet));
    let mut published: Vec<Option<u64>> = vec![left.unwrap().published, right.unwrap().published];
    published.sort();
    assert!(
        [vec![None, Some(1)], vec![Some(1), Some(2)]].contains(&published),
        "{published:?}"
    );
    assert_eq!(ask(&one, "select name from names").await, "a");
    assert_eq!(
        one.publication().await.unwrap(),
        two.publication().await.unwrap()
    );
}

const NO_NAME_TWICE: &str = "\
-- doc: No name is had by two units.
select name, units from mart.names where units > 1
";

#[tokio::test]
async fn a_check_of_its_own_stops_what_it_finds_wrong() {
    let world = World::new();
    world.write("names.sql", NAMES);
    std::fs::create_dir_all(world.models().join("mart/names")).unwrap();
    world.write("names/no_name_twice.sql", NO_NAME_TWICE);
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open().await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().published, Some(1));
    world.land_units(&[("u2", Some("a"))]).await;
    let report = warehouse.build(&quiet).await.unwrap();
    let [failure] = report.failures() else {
        panic!("{:?}", report.failures());
    };
    let said = failure.to_string();
    assert!(
        said.starts_with(
            "mart.names: check `no_name_twice` failed for 1 rows, such as name=a, units=2"
        ),
        "{said}"
    );
    assert_eq!(ask(&warehouse, "select units from names").await, "1");
    // Nothing new has come, so it is what was computed that still fails.
    assert!(!warehouse.build(&quiet).await.unwrap().is_publishable());
    world.land_units(&[("u2", Some("b"))]).await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().published, Some(2));
}

#[tokio::test]
async fn a_check_of_its_own_belongs_to_a_model_and_reads_it() {
    let world = World::new();
    world.write("names.sql", NAMES);
    for (model, sql, said) in [
        ("nobody", NO_NAME_TWICE, "there is no model `mart.nobody`"),
        (
            "names",
            "-- doc: x\nselect 1",
            "it does not read `mart.names`",
        ),
        (
            "names",
            "-- doc: x\nselect * from mart.names, core.nothing",
            "there is no table `core.nothing`",
        ),
    ] {
        let folder = world.models().join("mart").join(model);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("wrong.sql"), sql).unwrap();
        let err = world
            .try_open(WarehouseSettings::default())
            .await
            .unwrap_err();
        assert!(err.to_string().contains(said), "{err}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn queries_of_a_session_that_holds_read_one_publication() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open().await;
    warehouse.build(&quiet).await.unwrap();
    let session = warehouse.session().await.unwrap();
    let hold = session.copied_config().get_extension::<Hold>().unwrap();
    let count = async || rows(&session, "select count(*) from names").await.unwrap();
    hold.hold();
    assert_eq!(count().await, "1");
    world.land_units(&[("u2", Some("b"))]).await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().published, Some(2));
    assert_eq!(count().await, "1", "as its first query");
    assert!(rows(&session, "select * from nowhere").await.is_err());
    assert_eq!(count().await, "1", "also after one that failed");
    hold.release();
    assert_eq!(count().await, "2");
}

#[tokio::test]
async fn one_query_reads_one_publication() {
    let world = World::new();
    world.write("names.sql", NAMES);
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open().await;
    warehouse.build(&quiet).await.unwrap();
    let session = warehouse.session().await.unwrap();
    let schema = session.catalog("pejl").unwrap().schema("mart").unwrap();
    let count = async |table| session.read_table(table).unwrap().count().await.unwrap();
    let before = warehouse.publication().await.unwrap().unwrap();
    world.land_units(&[("u2", Some("b"))]).await;
    warehouse.build(&quiet).await.unwrap();
    // A query has named its first table when the next publication comes.
    let first = schema.table("names").await.unwrap().unwrap();
    let next = Publication { id: 3, ..before };
    assert!(publication::publish(&world.lake, &next).await.unwrap());
    let second = schema.table("names").await.unwrap().unwrap();
    assert_eq!(count(first).await, 2);
    assert_eq!(count(second).await, 2, "as the first one of its query");
    assert_eq!(
        rows(&session, "select count(*) from names").await.unwrap(),
        "1",
        "the next query"
    );
}
