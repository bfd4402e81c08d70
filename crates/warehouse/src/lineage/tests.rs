//! The lineage of the real models, and of small ones whose lineage is known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{fmt::Write, path::Path};

use spec::parse_model;

use super::*;

fn real() -> (Catalog, Lineage) {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let catalog = Catalog::read(&pipelines.join("models"), &pipelines.join("definitions"));
    read_deeply(catalog.unwrap())
}

/// The lineage of one model over `core.participation`, `core.citizen` and others.
fn of(query: &str) -> TableLineage {
    let text = format!("-- doc: A model.\n-- grain: a\n{query}\n");
    let model = parse_model("core", "tried", "tried.sql", &text).unwrap();
    let catalog = Catalog::new(vec![model], Vec::new(), Vec::new(), Vec::new()).unwrap();
    read_deeply(catalog).1.table("core.tried").unwrap().clone()
}

fn told(sources: &Sources) -> String {
    sources.iter().fold(String::new(), |mut text, it| {
        writeln!(text, "{it}").unwrap();
        text
    })
}

#[track_caller]
fn column(lineage: &TableLineage, name: &str, expected: &[&str]) {
    let mut found: Vec<String> = told(lineage.column(name).unwrap())
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{name}");
}

#[track_caller]
fn rows(lineage: &TableLineage, expected: &[&str]) {
    let mut found: Vec<String> = told(&lineage.rows).lines().map(str::to_owned).collect();
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn values_filters_and_joins_are_told_apart() {
    let lineage = of("select
        p.participation_id as a, -- Key.
        c.birth_year + date_part('year', p.start_date) as b, -- Computed.
        case when p.workplace = 'none' then p.end_date else c.exit_date end as c, -- Either.
        'x' as d -- Constant.
        from core.participation as p
        left join core.citizen as c on c.citizen_id = p.citizen_id
        where p.end_reason is not null");
    column(&lineage, "a", &["copy core.participation.participation_id"]);
    column(
        &lineage,
        "b",
        &[
            "computed core.citizen.birth_year",
            "computed core.participation.start_date",
        ],
    );
    column(
        &lineage,
        "c",
        &[
            "condition core.participation.workplace",
            "computed core.participation.end_date",
            "computed core.citizen.exit_date",
        ],
    );
    column(&lineage, "d", &[]);
    rows(
        &lineage,
        &[
            "rows core.participation",
            "rows core.citizen",
            "join core.citizen.citizen_id",
            "join core.participation.citizen_id",
            "filter core.participation.end_reason",
        ],
    );
}

#[test]
fn counts_come_from_rows_and_aggregates_from_values() {
    let lineage = of("with running as (
            select offer_id as o, hours_per_week as h from core.participation where end_date is null
        )
        select
            o as a, -- Group.
            count(*) as b, -- Rows.
            sum(h) filter (where h > 3) as c, -- Values.
            max(sum(h)) over (partition by o) as d -- Window.
        from running group by o");
    column(&lineage, "a", &["copy core.participation.offer_id"]);
    column(
        &lineage,
        "b",
        &[
            "rows core.participation",
            "filter core.participation.end_date",
        ],
    );
    column(
        &lineage,
        "c",
        &[
            "aggregated core.participation.hours_per_week",
            "condition core.participation.hours_per_week",
        ],
    );
    column(
        &lineage,
        "d",
        &[
            "aggregated core.participation.hours_per_week",
            "window core.participation.offer_id",
        ],
    );
    rows(
        &lineage,
        &[
            "rows core.participation",
            "filter core.participation.end_date",
            "group core.participation.offer_id",
        ],
    );
}

#[test]
fn unions_unnested_lists_grouping_sets_and_ranks_are_seen_through() {
    let lineage = of("with thing as (
            select unit_id as id, name as n, municipality_code as m from core.unit
            union all
            select provider_id, kind, municipality_code from core.provider
        ), spread as (
            select id, unnest([n, 'x']) as n, m from thing
        ), numbered as (
            select *, row_number() over (partition by m order by n) as nth from spread
        )
        select
            coalesce(id, 'all') as a, -- Which.
            min(n) as b, -- The first.
            count(*) as c -- How many.
        from numbered where nth = 1 group by grouping sets ((m, id), (m))");
    column(
        &lineage,
        "a",
        &[
            "computed core.unit.unit_id",
            "computed core.provider.provider_id",
        ],
    );
    column(
        &lineage,
        "b",
        &["aggregated core.unit.name", "aggregated core.provider.kind"],
    );
    rows(
        &lineage,
        &[
            "rows core.unit",
            "rows core.provider",
            "filter core.unit.municipality_code",
            "filter core.provider.municipality_code",
            "filter core.unit.name",
            "filter core.provider.kind",
            "group core.unit.municipality_code",
            "group core.provider.municipality_code",
            "group core.unit.unit_id",
            "group core.provider.provider_id",
        ],
    );
}

#[test]
fn subqueries_are_conditions() {
    let lineage = of("select
        p.participation_id as a, -- Key.
        (select max(c.exit_date) from core.citizen as c where c.citizen_id = p.citizen_id) as b -- Asked.
        from core.participation as p
        where exists (select 1 from core.unit as u where u.unit_id = p.unit_id)
            and p.offer_id in (select offer_id from core.offer)");
    column(
        &lineage,
        "b",
        &[
            "aggregated core.citizen.exit_date",
            "rows core.citizen",
            "filter core.citizen.citizen_id",
            "filter core.participation.citizen_id",
        ],
    );
    rows(
        &lineage,
        &[
            "rows core.participation",
            "rows core.unit",
            "rows core.offer",
            "filter core.unit.unit_id",
            "filter core.participation.unit_id",
            "filter core.participation.offer_id",
            "filter core.offer.offer_id",
        ],
    );
}

#[test]
fn the_real_models() {
    let (_, lineage) = real();
    let outcome = lineage.table("core.participation_outcome").unwrap();
    column(
        outcome,
        "effect_3m",
        &[
            "computed core.support_calendar.calendar",
            "computed core.offer_citizen.exit_date",
            "computed core.horizon.complete_through",
            "computed core.participation.end_date",
        ],
    );
    column(outcome, "offer_id", &["copy core.participation.offer_id"]);
    let calendar = lineage.table("core.support_calendar").unwrap();
    column(
        calendar,
        "calendar",
        &[
            "aggregated core.benefit_spell.from_date",
            "aggregated core.benefit_spell.to_date",
        ],
    );
    // Current state is the latest of what has landed.
    let offer = lineage.table("core.offer").unwrap();
    column(offer, "name", &["copy raw.offer.name"]);
    assert!(told(&offer.rows).contains("filter raw.offer._offset\n"));
    // A published number comes from its twin, and small cells decide whether it is shown.
    let overview = lineage.table("mart.offer_overview").unwrap();
    let finished = told(overview.column("finished").unwrap());
    assert!(
        finished.contains("computed core.offer_overview.finished\n"),
        "{finished}"
    );
    assert!(
        finished.contains("condition core.small_cell.measure\n"),
        "{finished}"
    );
}

#[test]
fn every_column_has_a_lineage_or_is_a_constant_and_every_input_exists() {
    let (catalog, lineage) = real();
    let mut constants = 0;
    for (table, node) in catalog.nodes() {
        let traced = lineage.table(table).unwrap();
        let names: Vec<&str> = traced.columns.iter().map(|it| it.0.as_str()).collect();
        let expected: Vec<&str> = node.columns().iter().map(|it| it.0).collect();
        assert_eq!(names, expected, "{table}");
        assert!(!traced.rows.is_empty(), "{table}");
        for (column, source) in traced.all() {
            let column = column.unwrap_or("its rows");
            let is_there = lineage.has(&source.table, source.column.as_deref());
            assert!(is_there, "{table}: {column}: {source}");
            assert!(
                node.reads.contains(&source.table),
                "{table}: {column}: {source}"
            );
        }
        for (column, sources) in &traced.columns {
            if sources.is_empty() {
                assert!(
                    is_constant(&lineage, node, column),
                    "{table}.{column} comes from nothing"
                );
                constants += 1;
            }
        }
    }
    assert!(constants > 0);
}

/// Whether nothing that the model calls by the column's name is made of columns of the tables it reads: only of texts, numbers and
/// truths. Read from the text, so by another way than the plan.
fn is_constant(lineage: &Lineage, node: &crate::models::Node, column: &str) -> bool {
    let crate::models::Origin::Written(model) = &node.origin else {
        return false;
    };
    let schemas = node.reads.iter().map(|it| &lineage.schemas()[it]);
    let names: BTreeSet<&str> = schemas
        .flat_map(|it| it.fields())
        .map(|it| it.name().as_str())
        .collect();
    let called = format!(" as {column}");
    let mut made = model.sql.lines().filter_map(|line| {
        let line = line.split("--").next()?;
        let line: String = line.split('\'').step_by(2).collect();
        let before = line.find(&called).map(|at| &line[..at])?;
        let last = before.rsplit(", ").next()?;
        let is_whole = last.matches('(').count() == last.matches(')').count();
        Some(if is_whole { last } else { before }.to_owned())
    });
    let is_made_of_none = |value: String| {
        let mut words = value.split(|it: char| !it.is_alphanumeric() && it != '_');
        !words.any(|it| names.contains(it))
    };
    made.clone().count() > 0 && made.all(is_made_of_none)
}

#[test]
fn ways_lead_up_to_what_landed_and_down_to_what_is_published() {
    let (_, lineage) = real();
    let mean = "prior_weeks_mean";
    let up = lineage.up("core.offer_overview", Some(mean)).unwrap();
    let mut landed = BTreeSet::new();
    collect(&up, &mut landed);
    assert!(landed.contains("raw.benefit_spell.from_date"), "{landed:?}");
    assert!(
        !landed.contains("raw.survey_response.satisfaction"),
        "{landed:?}"
    );

    let down = lineage
        .down("raw.benefit_spell", Some("from_date"))
        .unwrap();
    let mut reached = BTreeSet::new();
    collect(&down, &mut reached);
    assert!(
        reached.contains("mart.offer_overview.prior_weeks_mean"),
        "{reached:?}"
    );

    let tables = lineage.down("core.smiley", None).unwrap();
    let readers: Vec<&str> = tables.branches.iter().map(|it| it.table.as_str()).collect();
    assert!(readers.contains(&"core.offer_overview"), "{readers:?}");
    assert!(lineage.up("mart.offer_overview", Some("nothing")).is_none());
    assert!(lineage.up("mart.nothing", None).is_none());
}

fn collect(branch: &Branch, found: &mut BTreeSet<String>) {
    found.insert(branch.name());
    for it in &branch.branches {
        collect(it, found);
    }
}

#[test]
fn the_table_has_a_row_for_every_source() {
    let (_, lineage) = real();
    let sources: usize = lineage.tables().values().map(|it| it.all().count()).sum();
    let batch = lineage.batch();
    assert_eq!(batch.num_rows(), sources);
    assert_eq!(batch.schema(), schema());
}
