//! A build within little memory goes to disk, a few municipalities at a time where it can.

use super::*;

/// Whichever side a join holds, it has all names.
const PAIRS: &str = "\
-- doc: Units beside themselves.
-- grain: unit_id
-- references: name -> core.unit.name
select
    one.unit_id,                                       -- The unit.
    one.name,                                          -- Its name.
    length(one.name) + length(other.name) as letters   -- How long both names are.
from core.unit as one
join core.unit as other on other.unit_id = one.unit_id
";

/// The same where units are of municipalities: each unit is beside itself wherever the others are.
const PLACED: &str = "\
-- doc: Units and where they are.
-- grain: unit_id
-- partition_by: municipality_code
select
    unit_id,                                           -- The unit.
    cast(101 + cast(substr(unit_id, 6) as int) % 24 as int) as municipality_code,  -- Whose it is.
    name                                               -- Its name.
from core.unit
";
const PAIRS_OF_PLACES: &str = "\
-- doc: Units beside themselves, but those that are too much so.
-- grain: unit_id
-- partition_by: municipality_code
-- set_aside: is_few: letters < 371
select
    one.unit_id,                                       -- The unit.
    one.municipality_code,                             -- Whose it is.
    one.name,                                          -- Its name.
    length(one.name) + length(other.name) as letters   -- How long both names are.
from mart.placed as one
join mart.placed as other on other.unit_id = one.unit_id and other.municipality_code = one.municipality_code
";

#[tokio::test]
async fn a_build_within_little_memory_goes_to_disk() {
    let world = World::new();
    world.write("pairs.sql", PAIRS);
    world.write("placed.sql", PLACED);
    world.write("pairs_of_places.sql", PAIRS_OF_PLACES);
    let spill = world.folder.path().join("spill");
    std::fs::create_dir_all(&spill).unwrap();
    let nowhere = world.folder.path().join("file");
    std::fs::write(&nowhere, "not a folder").unwrap();
    let units: Vec<(String, String)> = (0..200_000)
        .map(|it| it * 7919 % 200_000)
        .map(|it| (format!("unit {it}"), format!("{it}{}", "x".repeat(180))))
        .collect();
    let units: Vec<_> = units
        .iter()
        .map(|it| (it.0.as_str(), Some(it.1.as_str())))
        .collect();
    world.land_units(&units).await;
    let settings = |spill| WarehouseSettings {
        memory_limit: Some(24 << 20),
        spill: Some(spill),
        threads: 1,
        models_at_once: 1,
        ..WarehouseSettings::default()
    };
    let told = match world.try_open(settings(nowhere)).await {
        Ok(warehouse) => format!("{:?}", warehouse.build(&quiet).await.unwrap().failures()),
        Err(err) => err.to_string(),
    };
    assert!(
        told.contains("spill") || told.contains("core.unit"),
        "it needs the disk: {told}"
    );
    let warehouse = world.open_with(settings(spill.clone())).await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().failures(), []);
    assert_eq!(
        ask(&warehouse, "select count(*) from core.unit").await,
        "200000"
    );
    assert_eq!(
        ask(&warehouse, "select sum(letters) from pairs").await,
        (2 * (180 * 200_000 + 1_088_890)).to_string(),
        "the numbers below 200000 have 1088890 digits in all"
    );
    let of_places =
        "select count(*), sum(letters), count(distinct municipality_code) from pairs_of_places";
    let aside = "select check, sum(set_aside) from ops.set_aside group by check";
    let (little, left_out) = (
        ask(&warehouse, of_places).await,
        ask(&warehouse, aside).await,
    );
    assert_eq!(left_out, "is_few 100000", "the numbers with six digits");
    let plenty = WarehouseSettings {
        memory_limit: None,
        ..settings(spill)
    };
    world.write(
        "pairs_of_places.sql",
        &PAIRS_OF_PLACES.replace("Units", "All units"),
    );
    let warehouse = world.open_with(plenty).await;
    assert_eq!(warehouse.build(&quiet).await.unwrap().failures(), []);
    assert_eq!(ask(&warehouse, of_places).await, little);
    assert_eq!(ask(&warehouse, aside).await, left_out);
}
