//! Order, unknown tables, circles, current state, and models as files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::sync::Arc;

use super::*;
use crate::rehearsal::Rehearsal;

/// A model with one column, reading as `sql` says.
fn model(table: &str, from: &str) -> Model {
    let (schema, name) = table.split_once('.').unwrap();
    let text =
        format!("-- doc: A table.\n-- grain: id\nselect\n    id -- What it is.\nfrom {from}\n");
    parse_model(schema, name, &format!("{schema}/{name}.sql"), &text).unwrap()
}

fn catalog(models: &[(&str, &str)]) -> Result<Catalog> {
    let models = models
        .iter()
        .map(|(table, from)| model(table, from))
        .collect();
    Catalog::new(models, Vec::new(), Vec::new(), Vec::new())
}

fn mistakes(models: &[(&str, &str)]) -> Vec<String> {
    match catalog(models) {
        Err(Error::Models(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
        other => panic!("no mistakes: {other:?}"),
    }
}

#[test]
fn tables_come_after_those_they_read() {
    let catalog = catalog(&[
        ("mart.a", "mart.b join core.z using (id)"),
        ("mart.b", "core.z"),
        ("core.z", "(select offer_id as id from core.offer)"),
    ])
    .unwrap();
    let at = |table: &str| catalog.order().iter().position(|it| it == table).unwrap();
    assert!(at("core.offer") < at("core.z"));
    assert!(at("core.z") < at("mart.b"));
    assert!(at("mart.b") < at("mart.a"));
    assert_eq!(catalog.order().len(), contract::entities().len() + 3);
    assert_eq!(
        catalog.node("mart.a").unwrap().reads,
        BTreeSet::from(["core.z".to_owned(), "mart.b".to_owned()])
    );
}

#[test]
fn what_a_with_makes_is_not_read() {
    let catalog = catalog(&[(
        "mart.a",
        "(with offer as (select 1 as id), late as (select id from offer) select id from late) as t",
    )])
    .unwrap();
    assert!(catalog.node("mart.a").unwrap().reads.is_empty());
}

#[test]
fn an_unknown_table_is_named_with_file_and_line() {
    let found = mistakes(&[
        ("mart.a", "core.offr"),
        ("mart.b", "ref.colour"),
        ("mart.c", "ops.publication"),
    ]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("mart/a.sql:5: there is no table `core.offr`; there are "),
        "{}",
        found[0]
    );
    assert!(found[0].contains("core.offer,"), "{}", found[0]);
    assert!(found[1].contains("one for every code list"), "{}", found[1]);
    assert!(
        found[2].contains("a model reads raw, ref, core and mart"),
        "{}",
        found[2]
    );
}

#[test]
fn a_circle_is_told_step_by_step() {
    let found = mistakes(&[
        ("mart.a", "mart.b"),
        ("mart.b", "mart.c"),
        ("mart.c", "mart.b"),
    ]);
    assert_eq!(
        found,
        [
            "mart/b.sql:5: models read each other in a circle: mart.b (from mart/b.sql) -> mart.c (from mart/c.sql) -> mart.b"
        ]
    );
    let own = mistakes(&[("mart.a", "mart.a")]);
    assert!(
        own[0].contains("mart.a (from mart/a.sql) -> mart.a"),
        "{own:?}"
    );
}

#[test]
fn the_schema_is_always_written() {
    let found = mistakes(&[("mart.a", "offer"), ("mart.b", "pejl.core.offer")]);
    assert!(
        found[0].contains("mart/a.sql:5: `offer`: write the schema too"),
        "{found:?}"
    );
    assert!(
        found[1].contains("write the schema too, and only it: `core.offer`"),
        "{found:?}"
    );
}

#[test]
fn current_state_comes_from_the_contract_alone() {
    let found = mistakes(&[("core.offer", "raw.offer")]);
    assert!(
        found[0].contains("`core.offer` is there already: the current state of entity"),
        "{found:?}"
    );
    let found = mistakes(&[("raw.thing", "core.offer")]);
    assert!(
        found[0].contains("a model lives in core or mart, not in `raw`"),
        "{found:?}"
    );
}

#[test]
fn what_is_no_query_is_refused() {
    let text = "-- doc: X.\n-- grain: id\ncreate table x as select\n  id -- A.\nfrom core.offer";
    let model = parse_model("mart", "x", "mart/x.sql", text).unwrap();
    let err = Catalog::new(vec![model], Vec::new(), Vec::new(), Vec::new()).unwrap_err();
    assert!(err.to_string().contains("write one query"), "{err}");
    let text = "-- doc: X.\n-- grain: id\nselect\n  id -- A.\nfrom core.offer where (";
    let model = parse_model("mart", "x", "mart/x.sql", text).unwrap();
    let err = Catalog::new(vec![model], Vec::new(), Vec::new(), Vec::new()).unwrap_err();
    assert!(err.to_string().starts_with("mart/x.sql:"), "{err}");
}

#[test]
fn a_definition_that_is_not_there_is_a_mistake() {
    let text = "-- doc: X.\n-- grain: id\n-- definition: effect_9m@1\nselect\n  id -- A.\nfrom (select 1 as id)";
    let model = parse_model("mart", "x", "mart/x.sql", text).unwrap();
    let err = Catalog::new(vec![model], Vec::new(), Vec::new(), Vec::new()).unwrap_err();
    assert!(
        err.to_string().contains("no definition effect_9m@1"),
        "{err}"
    );
}

#[test]
fn a_fingerprint_follows_the_text() {
    let one = catalog(&[("mart.a", "core.offer")]).unwrap();
    let two = catalog(&[("mart.a", "core.offer where true")]).unwrap();
    let of = |catalog: &Catalog| catalog.node("mart.a").unwrap().fingerprint();
    assert_eq!(of(&one), of(&catalog(&[("mart.a", "core.offer")]).unwrap()));
    assert_ne!(of(&one), of(&two));
}

#[test]
fn files_are_read_by_folder_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("mart")).unwrap();
    std::fs::write(
        models.join("mart/a.sql"),
        "-- doc: X.\n-- grain: id\nselect\n  1 as id -- A.\n",
    )
    .unwrap();
    std::fs::write(models.join("mart/note.txt"), "not a model").unwrap();
    let read = || Catalog::read(&models, &folder.path().join("definitions"));
    assert!(read().unwrap().node("mart.a").is_some());
    std::fs::write(models.join("mart/b.sql"), "select 1 as id -- A.").unwrap();
    std::fs::write(
        models.join("mart/c.sql"),
        "-- doc: X.\nselect 1 as id -- A.",
    )
    .unwrap();
    let message = read().unwrap_err().to_string();
    assert_eq!(
        message.lines().count(),
        2,
        "every file's mistake: {message}"
    );
    assert!(
        message.contains("a.sql") || message.contains("b.sql:1: the header says no `doc`"),
        "{message}"
    );
    let missing = Catalog::read(&folder.path().join("nowhere"), &models).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("give the folder that holds the models"),
        "{missing}"
    );
}

/// What a rehearsal answers, rows as text.
async fn ask(session: &mut Rehearsal, sql: &str) -> std::result::Result<String, String> {
    let (_, batches) = session.run(sql).await.map_err(|err| err.to_string())?;
    let shown = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    let rows = shown.lines().filter(|it| it.starts_with('|')).skip(1);
    let cells = |it: &str| {
        it.trim_matches('|')
            .split('|')
            .map(|it| it.trim().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    Ok(rows.map(cells).collect::<Vec<_>>().join("\n"))
}

fn rehearsal(models: &[(&str, &str)]) -> Rehearsal {
    Rehearsal::new(Arc::new(catalog(models).unwrap())).unwrap()
}

#[tokio::test]
async fn current_state_is_the_last_version_unless_deleted() {
    let mut session = rehearsal(&[]);
    let sql = "create table raw.unit (unit_id text, name text, _topic text, _partition int, _offset bigint, _deleted boolean) as values
        ('a', 'first', 'pejl.unit', 0, 1, false), ('a', 'last', 'pejl.unit', 0, 10, false), ('a', 'middle', 'pejl.unit', 0, 2, false),
        ('b', 'there', 'pejl.unit', 0, 3, false), ('b', null, 'pejl.unit', 0, 4, true),
        ('c', null, 'pejl.unit', 0, 5, true), ('c', 'again', 'pejl.unit', 0, 6, false),
        ('d', 'before the topic grew', 'pejl.unit', 0, 99, false), ('d', 'after', 'pejl.unit', 3, 0, false),
        ('e', 'before the topic was made again', 'pejl.unit', 3, 99, false), ('e', 'after it was once', 'pejl.unit@2', 0, 8, false),
        ('e', 'after it was ten times', 'pejl.unit@11', 0, 0, false)";
    session.run(sql).await.unwrap();
    let answer = ask(
        &mut session,
        "select unit_id, name from core.unit order by 1",
    )
    .await;
    assert_eq!(
        answer.unwrap(),
        "a last\nc again\nd after\ne after it was ten times"
    );
}

#[tokio::test]
async fn every_entity_is_there_from_the_first_minute() {
    let mut session = rehearsal(&[]);
    for entity in contract::entities() {
        let sql = format!("select count(*) from {}", entity.core_table());
        assert_eq!(
            ask(&mut session, &sql).await.unwrap(),
            "0",
            "{}",
            entity.name
        );
        let (schema, _) = session
            .run(&format!("select * from {}", entity.core_table()))
            .await
            .unwrap();
        let types = |it: &arrow::datatypes::Schema| {
            it.fields()
                .iter()
                .map(|it| (it.name().clone(), it.data_type().clone()))
                .collect::<Vec<_>>()
        };
        let own = types(&entity.arrow_schema());
        let given = types(&schema);
        assert_eq!(given[..own.len()], own);
        let place: Vec<&str> = given[own.len()..].iter().map(|it| it.0.as_str()).collect();
        assert_eq!(place, ["_topic", "_partition", "_offset"]);
    }
}

#[tokio::test]
async fn a_table_made_by_hand_stands_for_the_real_one() {
    let mut session = rehearsal(&[(
        "mart.a",
        "(select unit_id as id from core.unit where municipality_code = 101)",
    )]);
    assert_eq!(
        ask(&mut session, "select count(*) from mart.a")
            .await
            .unwrap(),
        "0"
    );
    session
        .run("create table core.unit (unit_id text, municipality_code bigint) as values ('x', 101), ('y', 102)")
        .await
        .unwrap();
    assert_eq!(
        ask(&mut session, "select id from mart.a").await.unwrap(),
        "x"
    );
    session
        .run("insert into core.unit (unit_id, municipality_code) values ('z', 101)")
        .await
        .unwrap();
    assert_eq!(
        ask(&mut session, "select id from mart.a order by 1")
            .await
            .unwrap(),
        "x\nz"
    );
    session.run("drop table core.unit").await.unwrap();
    assert_eq!(
        ask(&mut session, "select count(*) from mart.a")
            .await
            .unwrap(),
        "0"
    );
    session
        .run("create table mart.a (id text) as values ('by hand')")
        .await
        .unwrap();
    assert_eq!(
        ask(&mut session, "select id from mart.a").await.unwrap(),
        "by hand"
    );
}

#[tokio::test]
async fn a_rehearsal_refuses_what_the_contract_does_not_know() {
    let mut session = rehearsal(&[]);
    let unknown = session
        .run("create table core.unit (unit text) as values ('x')")
        .await
        .unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("core.unit has no column `unit`; it has unit_id,"),
        "{unknown}"
    );
    let wrong = session
        .run("create table core.offer (weeks_min text) as values ('many')")
        .await
        .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("core.offer.weeks_min: Cast error"),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_model_that_breaks_its_own_checks_fails_its_query() {
    let mut session = rehearsal(&[("mart.a", "(select unit_id as id from core.unit)")]);
    session
        .run("create table core.unit (unit_id text) as values ('x'), ('x'), ('y')")
        .await
        .unwrap();
    let doubled = ask(&mut session, "select * from mart.a").await.unwrap_err();
    assert!(
        doubled.contains("mart.a: check `grain` failed for 1 rows, such as id=x"),
        "{doubled}"
    );
}

#[tokio::test]
async fn types_are_those_that_tables_store() {
    let ctx = SessionContext::new();
    let rows = ctx
        .sql("select row_number() over () as a, 'x' as b, arrow_cast(now(), 'Timestamp(Nanosecond, None)') as c, \
              arrow_cast('x', 'Dictionary(Int32, Utf8)') as d, ['x'] as e, cast(1.5 as decimal(5, 2)) as f")
        .await
        .unwrap();
    let stored = storable(rows).unwrap();
    let types: Vec<String> = stored
        .schema()
        .fields()
        .iter()
        .map(|it| it.data_type().to_string())
        .collect();
    assert_eq!(types[0], "Int64");
    assert_eq!(types[1], "Utf8");
    assert!(types[2].starts_with("Timestamp(µs"), "{}", types[2]);
    assert_eq!(types[3], "Utf8");
    assert!(
        types[4].contains("Utf8") && !types[4].contains("View"),
        "{}",
        types[4]
    );
    assert_eq!(types[5], "Decimal128(5, 2)");
    let untyped = storable(ctx.sql("select null as x").await.unwrap()).unwrap_err();
    assert!(
        untyped.to_string().contains("column `x` is Null; cast it"),
        "{untyped}"
    );
}
