//! A few changed things: the rows they reach are found by an id, and all others stay as they were.

use super::*;

/// A unit that is renamed to or from `a` moves to another municipality.
const MOVED: &str = "\
-- doc: Units, and where they are.
-- grain: unit_id
-- partition_by: municipality_code
select
    unit_id,             -- The unit.
    cast(case when name = 'a' then 101 else 147 end as int) as municipality_code,  -- Whose it is.
    name                 -- Its name.
from core.unit
";

/// The row of all units has no id that leads to it.
const LENGTHS: &str = "\
-- doc: How long names are, of each unit and of all.
-- grain: label
-- partition_by: municipality_code
with named as (
    select unit_id, name from core.unit
    union all
    select null as unit_id, name from core.unit
)
select
    coalesce(unit_id, 'all') as label,      -- The unit, or all.
    unit_id,                                -- The unit; null for all.
    cast(101 as int) as municipality_code,  -- Whose they are.
    sum(length(name)) as length             -- How many letters.
from named
group by unit_id
";

const UNIQUE: &str = "\
-- doc: Names.
-- grain: name
-- partition_by: municipality_code
-- references: unit_id -> core.unit.unit_id
select
    unit_id,                                -- The unit.
    cast(101 as int) as municipality_code,  -- Whose it is.
    name                                    -- Its name.
from core.unit
";

const ALL_MOVED: &str = "select unit_id, municipality_code, name from mart.moved order by unit_id";
const ALL_LENGTHS: &str = "select label, length from mart.lengths order by label";

#[tokio::test]
async fn a_thing_that_changes_moves_goes_and_comes_is_found_where_it_was_and_is() {
    let world = World::new();
    world.write("moved.sql", MOVED);
    let warehouse = world.open().await;
    let first = [
        ("u1", Some("a")),
        ("u2", Some("b")),
        ("u3", Some("c")),
        ("u4", Some("a")),
    ];
    world.land_units(&first).await;
    warehouse.build(&quiet).await.unwrap();
    assert_eq!(
        ask(&warehouse, ALL_MOVED).await,
        "u1 101 a\nu2 147 b\nu3 147 c\nu4 101 a"
    );
    // Moves to 147, moves to 101, goes, comes; the last stays.
    let then = [
        ("u1", Some("d")),
        ("u2", Some("a")),
        ("u3", None),
        ("u5", Some("e")),
    ];
    world.land_units(&then).await;
    let report = warehouse.build(&quiet).await.unwrap();
    assert_eq!(built(&report), ["core.unit", "mart.moved"]);
    assert_eq!(
        ask(&warehouse, ALL_MOVED).await,
        "u1 147 d\nu2 101 a\nu4 101 a\nu5 147 e"
    );
}

#[tokio::test]
async fn many_things_that_move_are_found_where_they_were_and_are() {
    let world = World::new();
    world.write("moved.sql", MOVED);
    let warehouse = world.open().await;
    let ids: Vec<String> = (0..3 * FEW_THINGS).map(|it| format!("u{it}")).collect();
    let named = |name| ids.iter().map(move |id| (id.as_str(), name));
    world
        .land_units(&named(Some("b")).collect::<Vec<_>>())
        .await;
    warehouse.build(&quiet).await.unwrap();
    // Two thousand move to 101, of the other thousand every second goes.
    let moved = named(Some("a")).take(2 * FEW_THINGS);
    let gone = named(None).skip(2 * FEW_THINGS).step_by(2);
    world
        .land_units(&moved.chain(gone).collect::<Vec<_>>())
        .await;
    let report = warehouse.build(&quiet).await.unwrap();
    let extent = &report.built.iter().find(|it| it.model == "mart.moved");
    let extent = &extent.unwrap().extent;
    let Extent::Parts(parts, _) = extent else {
        panic!("{extent:?}")
    };
    assert_eq!(parts.len(), 2);
    let sql = "select municipality_code, name, count(*), count(distinct unit_id) from mart.moved
        group by municipality_code, name order by name";
    assert_eq!(ask(&warehouse, sql).await, "101 a 2000 2000\n147 b 500 500");
}

#[tokio::test]
async fn a_row_that_no_id_leads_to_follows_too() {
    let world = World::new();
    world.write("lengths.sql", LENGTHS);
    let warehouse = world.open().await;
    world
        .land_units(&[("u1", Some("a")), ("u2", Some("bb"))])
        .await;
    warehouse.build(&quiet).await.unwrap();
    assert_eq!(ask(&warehouse, ALL_LENGTHS).await, "all 3\nu1 1\nu2 2");
    world.land_units(&[("u2", Some("bbbb"))]).await;
    warehouse.build(&quiet).await.unwrap();
    assert_eq!(ask(&warehouse, ALL_LENGTHS).await, "all 5\nu1 1\nu2 4");
}

#[tokio::test]
async fn a_changed_row_is_held_against_those_that_stay() {
    let world = World::new();
    world.write("unique.sql", UNIQUE);
    let warehouse = world.open().await;
    world
        .land_units(&[("u1", Some("a")), ("u2", Some("b"))])
        .await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().failures(), []);
    world.land_units(&[("u2", Some("a"))]).await;
    let report = warehouse.build(&quiet).await.unwrap();
    let failures: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].starts_with("mart.unique: check `grain` failed for 1 rows, such as name=a;"),
        "{failures:?}"
    );
    world.land_units(&[("u2", Some("c"))]).await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().failures(), []);
}
