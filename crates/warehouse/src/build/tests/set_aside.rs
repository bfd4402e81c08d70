//! Rows that fail a check that sets them aside: left out, counted, and back once they are right.

use super::*;

const SHORT: &str = "\
-- doc: Units with short names.
-- grain: unit_id
-- partition_by: municipality_code
-- set_aside: is_short: length(name) < 10
-- set_aside: is_no_test: name <> 'test'
-- check: all_are_short: length(name) < 10
select
    unit_id,             -- The unit.
    cast(case when name = 'a' then 101 else 147 end as int) as municipality_code,  -- Whose it is.
    nullif(name, 'none') as name  -- Its name.
from core.unit
";

const COUNTED: &str = "\
-- doc: How many.
-- grain: units
select
    count(*) as units    -- How many.
from mart.short
";

const ASIDE: &str =
    "select model, check, municipality_code, set_aside, sample from ops.set_aside order by check";

#[tokio::test]
async fn a_row_that_fails_is_left_out_counted_and_stops_nothing() {
    let world = World::new();
    world.write("short.sql", SHORT);
    world.write("counted.sql", COUNTED);
    world
        .land_units(&[
            ("u1", Some("a")),
            ("u2", Some("much too long")),
            ("u3", Some("test")),
            ("u4", Some("none")),
            ("u5", Some("a name beyond all measure")),
        ])
        .await;
    let warehouse = world.open().await;
    let report = warehouse.build(&quiet).await.unwrap();
    assert_eq!(report.failures(), []);
    assert_eq!(
        ask(
            &warehouse,
            "select unit_id, name from mart.short order by 1"
        )
        .await,
        "u1 a\nu4 ",
        "what cannot be told passes"
    );
    assert_eq!(ask(&warehouse, "select units from mart.counted").await, "2");
    assert_eq!(
        ask(&warehouse, ASIDE).await,
        "mart.short is_no_test 147 1 unit_id=u3\nmart.short is_short 147 2 unit_id=u2; unit_id=u5"
    );
    let warnings: Vec<String> = report.warnings().map(|it| it.result.to_string()).collect();
    assert!(
        warnings.iter().any(|it| it
            == "mart.short: check `is_short` set 2 rows aside, such as unit_id=u2; unit_id=u5"),
        "{warnings:?}"
    );
    let checked = "select check, severity, failed_rows from ops.quality_check
        where model = 'mart.short' and severity <> 'error' and not passed order by 1";
    assert_eq!(
        ask(&warehouse, checked).await,
        "is_no_test set_aside 1\nis_short set_aside 2"
    );

    // What does not change keeps what it left out; what is mended is in.
    world.land_units(&[("u2", Some("b"))]).await;
    warehouse.build(&quiet).await.unwrap();
    assert_eq!(ask(&warehouse, "select units from mart.counted").await, "3");
    assert_eq!(
        ask(&warehouse, ASIDE).await,
        "mart.short is_no_test 147 1 unit_id=u3\nmart.short is_short 147 1 unit_id=u5"
    );
    world.write("counted.sql", &COUNTED.replace("How many.", "So many."));
    let again = world.open().await;
    let report = again.build(&quiet).await.unwrap();
    assert_eq!(built(&report), ["mart.counted"]);
    assert_eq!(
        ask(&again, ASIDE).await,
        "mart.short is_no_test 147 1 unit_id=u3\nmart.short is_short 147 1 unit_id=u5"
    );
}

#[tokio::test]
async fn a_condition_that_cannot_be_asked_names_its_line() {
    let world = World::new();
    world.write(
        "short.sql",
        &SHORT.replace(
            "length(name) < 10\n-- set_aside: is_no",
            "length(nmae) < 10\n-- set_aside: is_no",
        ),
    );
    world.land_units(&[("u1", Some("a"))]).await;
    let warehouse = world.open().await;
    let report = warehouse.build(&quiet).await.unwrap();
    let said: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|it| it.contains("short.sql:4") && it.contains("is_short") && it.contains("nmae")),
        "{said:?}"
    );
}
