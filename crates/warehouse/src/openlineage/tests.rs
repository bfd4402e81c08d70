//! Events held against what the specification requires, and against what the build did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::collections::BTreeSet;

use chrono::TimeZone;
use serde_json::Value;
use spec::parse_model;

use super::*;
use crate::{Extent, Reason};

const MODEL: &str = "\
-- doc: Participations of each offer.
-- grain: offer_id
-- check: not_negative: running >= 0
select
    p.offer_id,  -- The offer.
    count(*) as running,  -- Participations that run.
    max(o.name) as offer_name  -- Its name.
from core.participation as p
left join core.offer as o on o.offer_id = p.offer_id
where p.end_date is null
group by p.offer_id
";

fn teller() -> Teller {
    let model = parse_model("core", "running", "running.sql", MODEL).unwrap();
    let catalog = Catalog::new(vec![model], Vec::new(), Vec::new(), Vec::new()).unwrap();
    let (catalog, lineage) = crate::lineage::read_deeply(catalog);
    Teller::new("test", Arc::new(catalog), Arc::new(lineage))
}

fn at(second: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 26, 2, 30, second).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{key}` in {value}"))
}

/// What the specification requires of every run event and every facet in it.
fn conforms(event: &RunEvent) -> Value {
    let event = serde_json::to_value(event).unwrap();
    assert!(["START", "COMPLETE", "FAIL"].contains(&text(&event, "eventType")));
    DateTime::parse_from_rfc3339(text(&event, "eventTime")).unwrap();
    Uuid::parse_str(text(&event["run"], "runId")).unwrap();
    text(&event["job"], "namespace");
    text(&event["job"], "name");
    assert!(text(&event, "producer").contains(':'));
    assert_eq!(
        text(&event, "schemaURL"),
        "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    );
    let mut facets = vec![&event["run"]["facets"], &event["job"]["facets"]];
    for dataset in event["inputs"].as_array().unwrap() {
        text(dataset, "namespace");
        text(dataset, "name");
        facets.extend([&dataset["facets"], &dataset["inputFacets"]]);
    }
    for dataset in event["outputs"].as_array().unwrap() {
        text(dataset, "namespace");
        text(dataset, "name");
        facets.extend([&dataset["facets"], &dataset["outputFacets"]]);
    }
    for (name, facet) in facets.into_iter().flat_map(|it| it.as_object().unwrap()) {
        assert!(text(facet, "_producer").contains(':'), "{name}");
        let url = text(facet, "_schemaURL");
        let (file, definition) = url.split_once(".json#/$defs/").unwrap();
        assert!(
            file.starts_with("https://openlineage.io/spec/facets/") && file.ends_with(definition)
        );
        requires(name, facet);
    }
    event
}

/// The fields each facet must have, from its schema.
fn requires(name: &str, facet: &Value) {
    match name {
        "parent" => {
            Uuid::parse_str(text(&facet["run"], "runId")).unwrap();
            text(&facet["job"], "namespace");
            text(&facet["job"], "name");
        }
        "errorMessage" => {
            text(facet, "message");
            text(facet, "programmingLanguage");
        }
        "jobType" => {
            text(facet, "processingType");
            text(facet, "integration");
        }
        "sql" => assert!(text(facet, "query").contains("select")),
        "documentation" => assert!(!text(facet, "description").is_empty()),
        "schema" => {
            for field in facet["fields"].as_array().unwrap() {
                text(field, "name");
                text(field, "type");
            }
        }
        "version" => assert!(text(facet, "datasetVersion").parse::<i64>().is_ok()),
        "outputStatistics" => assert!(facet["rowCount"].is_u64()),
        "dataQualityAssertions" => {
            for it in facet["assertions"].as_array().unwrap() {
                text(it, "assertion");
                assert!(it["success"].is_boolean());
            }
        }
        "columnLineage" => {
            let fields = facet["fields"].as_object().unwrap().values();
            let inputs = fields.map(|it| it["inputFields"].as_array().unwrap());
            for input in inputs
                .chain([facet["dataset"].as_array().unwrap()])
                .flatten()
            {
                for key in ["namespace", "name", "field"] {
                    text(input, key);
                }
                for how in input["transformations"].as_array().unwrap() {
                    assert!(["DIRECT", "INDIRECT"].contains(&text(how, "type")));
                    text(how, "subtype");
                }
            }
        }
        unknown => panic!("a facet `{unknown}` nobody knows"),
    }
}

fn building(model: &str) -> BuildEvent {
    BuildEvent::Building {
        model: model.to_owned(),
    }
}

fn built(model: &str) -> BuildEvent {
    BuildEvent::Built {
        model: model.to_owned(),
        extent: Extent::Whole(Reason::New),
        rows: 3,
        failed: 0,
    }
}

fn of_type<'a>(events: &'a [Value], job: &str) -> Vec<&'a str> {
    let of_job = events.iter().filter(|it| it["job"]["name"] == job);
    of_job.map(|it| text(it, "eventType")).collect()
}

#[test]
fn a_build_and_each_model_it_computes_begin_and_end_once() {
    let mut teller = teller();
    let mut events = Vec::new();
    for (second, event) in [
        building("core.running"),
        built("core.running"),
        // Another build published first, so it is all done again.
        building("core.running"),
        built("core.running"),
    ]
    .iter()
    .enumerate()
    {
        events.extend(teller.observe(event, at(second as u32)));
    }
    let report = BuildReport::example("core.running", 7, 3, Some(1));
    events.extend(teller.end(&report, None, at(9)));
    let events: Vec<Value> = events.iter().map(conforms).collect();
    assert_eq!(of_type(&events, "build"), ["START", "COMPLETE"]);
    assert_eq!(of_type(&events, "core.running"), ["START", "COMPLETE"]);

    let build = &events[0]["run"]["runId"];
    assert_eq!(&events[1]["run"]["facets"]["parent"]["run"]["runId"], build);
    assert_ne!(&events[1]["run"]["runId"], build);
    let made = &events[2];
    assert_eq!(made["eventTime"], "2026-11-26T02:30:03.000000Z");
    let inputs: BTreeSet<&str> = made["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(it, "name"))
        .collect();
    assert_eq!(inputs, BTreeSet::from(["core.offer", "core.participation"]));
    let output = &made["outputs"][0];
    assert_eq!(output["name"], "core.running");
    assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], 3);
    assert_eq!(output["facets"]["version"]["datasetVersion"], "7");
    let lineage = &output["facets"]["columnLineage"];
    assert_eq!(
        lineage["fields"]["offer_name"]["inputFields"],
        serde_json::json!([{
            "namespace": "test",
            "name": "core.offer",
            "field": "name",
            "transformations": [{"type": "DIRECT", "subtype": "AGGREGATION"}]
        }])
    );
    let filter = serde_json::json!({
        "namespace": "test",
        "name": "core.participation",
        "field": "end_date",
        "transformations": [{"type": "INDIRECT", "subtype": "FILTER"}]
    });
    assert!(
        lineage["dataset"].as_array().unwrap().contains(&filter),
        "{lineage}"
    );
}

#[test]
fn checks_are_assertions_about_what_the_build_read_before_it_published() {
    let mut teller = teller();
    teller.observe(&building("core.running"), at(0));
    let report = BuildReport::example("core.running", 7, 3, Some(1));
    let events = teller.end(&report, None, at(9));
    let end = conforms(events.last().unwrap());
    let input = &end["inputs"][0];
    assert_eq!(input["name"], "core.running");
    assert_eq!(
        input["inputFacets"]["dataQualityAssertions"]["assertions"],
        serde_json::json!([{"assertion": "grain", "success": true, "severity": "error"}])
    );
    assert_eq!(end["outputs"][0]["name"], "core.running");
}

#[test]
fn a_build_that_breaks_fails_with_its_models_and_quotes_no_cpr_number() {
    let mut teller = teller();
    let mut events = teller.observe(&building("core.running"), at(0));
    events.extend(teller.broken("cannot read 311299-1234", at(2)));
    let events: Vec<Value> = events.iter().map(conforms).collect();
    assert_eq!(of_type(&events, "build"), ["START", "FAIL"]);
    assert_eq!(of_type(&events, "core.running"), ["START", "FAIL"]);
    for it in events.iter().filter(|it| it["eventType"] == "FAIL") {
        let message = text(&it["run"]["facets"]["errorMessage"], "message");
        assert!(
            message.starts_with("cannot read") && !message.contains("1234"),
            "{message}"
        );
    }
}

#[test]
fn a_build_that_computes_nothing_is_not_told() {
    let mut teller = teller();
    let kept = BuildEvent::Kept {
        model: "core.running".to_owned(),
    };
    assert!(teller.observe(&kept, at(0)).is_empty());
    let report = BuildReport::example("core.running", 7, 3, None);
    assert!(teller.end(&report, None, at(1)).is_empty());
}
