//! Headers, column comments, and mistakes with their lines.
#![allow(clippy::unwrap_used, reason = "test code")]

use super::*;

const GOOD: &str = "\
-- doc: Effects of every offer,
--   one half-year at a time: all of them.
-- grain: municipality_code, period
-- grain: offer_id
-- partition_by: municipality_code
-- definition: effect_1m@1, effect_3m@2
-- references: offer_id -> core.offer.offer_id
-- check: effect_is_a_share: effect_1m between 0 and 1
-- warn: somebody: finished > 0 and note <> ': -- '

with cells as (
    select a, b from core.x -- from here, not core.missing
)
select distinct
    c.municipality_code,            -- The municipality that bought it.
    half_year(c.\"day\") as period,   -- The half-year,
                                    -- such as 2010H1.
    -- The offer is last.
    c.offer_id, -- The offer.
    case when a in (select y from core.y) then ',' else 'from' end as effect_1m, -- A share.
    count(*) filter (where b) as finished /* odd */, -- How many.
    extract(year from c.d) as \"note\" -- Text.
from cells c
union all
select 1, 2, 3, 4, 5, 6 from mart.z
";

fn mistake_of(text: &str) -> String {
    parse_model("mart", "it", "mart/it.sql", text)
        .map(|it| format!("no mistake: {it:?}"))
        .unwrap_or_else(|err| err.to_string())
}

#[test]
fn a_good_model_is_read() {
    let model = parse_model("mart", "offer_overview", "mart/offer_overview.sql", GOOD).unwrap();
    assert_eq!(model.table(), "mart.offer_overview");
    assert_eq!(
        model.doc,
        "Effects of every offer, one half-year at a time: all of them."
    );
    assert_eq!(model.grain, ["municipality_code", "period", "offer_id"]);
    assert_eq!(model.partition_by, ["municipality_code"]);
    let definitions: Vec<_> = model
        .definitions
        .iter()
        .map(|it| (it.id.as_str(), it.version))
        .collect();
    assert_eq!(definitions, [("effect_1m", 1), ("effect_3m", 2)]);
    assert_eq!(
        model.references,
        [Reference {
            column: "offer_id".to_owned(),
            table: "core.offer".to_owned(),
            target: "offer_id".to_owned(),
            severity: Severity::Error,
            line: 7,
        }]
    );
    let checks: Vec<_> = model
        .checks
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.severity,
                it.predicate.as_str(),
                it.line,
            )
        })
        .collect();
    assert_eq!(
        checks,
        [
            (
                "effect_is_a_share",
                Severity::Error,
                "effect_1m between 0 and 1",
                8
            ),
            (
                "somebody",
                Severity::Warning,
                "finished > 0 and note <> ': -- '",
                9
            ),
        ]
    );
}

#[test]
fn columns_carry_the_comment_beside_them() {
    let model = parse_model("mart", "offer_overview", "mart/offer_overview.sql", GOOD).unwrap();
    let columns: Vec<_> = model
        .columns
        .iter()
        .map(|it| (it.name.as_str(), it.doc.as_str(), it.line))
        .collect();
    assert_eq!(
        columns,
        [
            ("municipality_code", "The municipality that bought it.", 15),
            ("period", "The half-year, such as 2010H1.", 16),
            ("offer_id", "The offer.", 19),
            ("effect_1m", "A share.", 20),
            ("finished", "How many.", 21),
            ("note", "Text.", 22),
        ]
    );
}

#[test]
fn the_line_of_a_table_is_found_outside_comments() {
    let model = parse_model("mart", "offer_overview", "mart/offer_overview.sql", GOOD).unwrap();
    assert_eq!(model.line_of("core.x"), Some(12));
    assert_eq!(model.line_of("mart.z"), Some(25));
    assert_eq!(model.line_of("core.missing"), None);
    assert_eq!(model.line_of("core"), None);
}

#[test]
fn mistakes_name_the_line_and_what_would_be_right() {
    let body = "select a -- A.\nfrom core.x\n";
    for (text, expected) in [
        (
            body.to_owned(),
            "mart/it.sql:1: the header says no `doc`; begin with",
        ),
        (
            format!("-- hello\n{body}"),
            "mart/it.sql:1: the header begins with `-- doc:",
        ),
        (
            format!("-- doc: X.\n{body}"),
            "mart/it.sql:1: the header says no `grain`",
        ),
        (
            format!("-- doc: X.\n-- grain: b\n{body}"),
            "`grain` names `b`, which the query does not give; it gives a",
        ),
        (
            format!("-- doc: X.\n-- grain: A b\n{body}"),
            "mart/it.sql:2: `A b` is no column name",
        ),
        (
            format!("-- doc: X.\n-- grian: a\n{body}"),
            "mart/it.sql:2: `grian` is no header key; one of doc, grain,",
        ),
        (
            format!("-- doc: X.\n-- grain:\n{body}"),
            "mart/it.sql:2: `grain` is empty",
        ),
        (
            format!("-- doc: X.\n-- doc: Y.\n{body}"),
            "mart/it.sql:2: `doc` is there twice",
        ),
        (
            format!("-- doc: X.\n-- grain: a\n-- definition: e\n{body}"),
            "mart/it.sql:3: `e` is no definition such as",
        ),
        (
            format!("-- doc: X.\n-- grain: a\n-- references: a -> b\n{body}"),
            "mart/it.sql:3: `a -> b` is no reference",
        ),
        (
            format!("-- doc: X.\n-- grain: a\n-- check: a > 1\n{body}"),
            "mart/it.sql:3: write `-- check: name: predicate`",
        ),
        (
            format!("-- doc: X.\n-- grain: a\n-- check: c: a > 1\n-- warn: c: a > 2\n{body}"),
            "mart/it.sql:4: there are two checks called `c`",
        ),
        (
            "-- doc: X.\n-- grain: a\nselect a, -- A.\n  b\nfrom x".to_owned(),
            "mart/it.sql:4: column `b` has no comment",
        ),
        (
            "-- doc: X.\n-- grain: a\nselect a, -- A.\n  t.* -- All.\nfrom x".to_owned(),
            "mart/it.sql:4: an output column has no name",
        ),
        (
            "-- doc: X.\n-- grain: a\nselect max(a) -- A.\nfrom x".to_owned(),
            "mart/it.sql:3: an output column has no name",
        ),
        (
            "-- doc: X.\n-- grain: a\nselect case when a then 1 end -- A.\nfrom x".to_owned(),
            "mart/it.sql:3: an output column has no name",
        ),
        (
            "-- doc: X.\n-- grain: a\nvalues (1)".to_owned(),
            "mart/it.sql: there is no `select`",
        ),
    ] {
        let message = mistake_of(&text);
        assert!(message.contains(expected), "{message}\nis not\n{expected}");
    }
    let message = parse_model("mart", "It", "mart/It.sql", body)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("a table cannot be called `It`"),
        "{message}"
    );
}

#[test]
fn definitions_are_read_with_their_versions() {
    let text = "definition_id: effect_1m
version: 1
title_da: En måned
title_en: One month
text_da: Andelen
text_en: The share
seed: S0
quote: \"1 måneders effekt\"
parameters: { months: 1 }
valid_from: 2010-01-01
---
definition_id: effect_1m
version: 2
title_da: En måned
title_en: One month
text_da: Andelen
text_en: The share
valid_from: 2011-01-01
";
    let definitions = parse_definitions("effect_1m.yaml", text).unwrap();
    let versions: Vec<_> = definitions
        .iter()
        .map(|it| (it.version, it.valid_from.to_string()))
        .collect();
    assert_eq!(
        versions,
        [(1, "2010-01-01".to_owned()), (2, "2011-01-01".to_owned())]
    );
    assert_eq!(definitions[0].parameters["months"], 1);

    let twice = text.replace("version: 2", "version: 1");
    let message = parse_definitions("effect_1m.yaml", &twice)
        .unwrap_err()
        .to_string();
    assert!(message.contains("version 1 twice"), "{message}");
    let unknown = text.replace("seed:", "sead:");
    let message = parse_definitions("effect_1m.yaml", &unknown)
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("effect_1m.yaml:7:"), "{message}");
}
