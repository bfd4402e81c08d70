//! Which changes of a schema are refused, and with which sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use contract::{compatible, entities, entity};

#[test]
fn every_schema_may_follow_itself() {
    for entity in entities() {
        assert_eq!(compatible(entity.avro(), entity.avro()), Ok(()));
    }
}

#[test]
fn a_new_nullable_field_and_a_new_value_are_fine() {
    assert_allowed(
        r#""fields": ["#,
        r#""fields": [{"name": "colour", "type": ["null", "string"], "default": null, "doc": "d", "pii": "none"},"#,
    );
    assert_allowed(
        r#""values": ["none", "#,
        r#""values": ["flex_job", "none", "#,
    );
    assert_allowed(r#""maximum": 59"#, r#""maximum": 60"#);
    assert_allowed(
        "A citizen's stay in an offer",
        "The stay of a citizen in an offer",
    );
    assert_allowed(r#""ordered": [["start_date", "end_date"]],"#, "");
}

#[test]
fn other_changes_are_refused_with_a_sentence_each() {
    for (old, new, sentence) in [
        (
            r#""values": ["none", "#,
            r#""values": ["#,
            "workplace no longer takes the value none",
        ),
        (
            r#""maximum": 59"#,
            r#""maximum": 37"#,
            "the maximum of hours_per_week fell to 37",
        ),
        (
            r#""minimum": 0"#,
            r#""minimum": 10.5"#,
            "the minimum of hours_per_week rose to 10.5",
        ),
        (
            r#""key": ["participation_id"]"#,
            r#""key": ["participation_id", "offer_id"]"#,
            "the key changed from [participation_id] to [participation_id, offer_id]; versions of one thing would part",
        ),
        (
            r#""name": "offer_id", "type": "string""#,
            r#""name": "offer_id", "type": "int""#,
            "the type of offer_id changed from Text to Int",
        ),
        (
            r#""name": "offer_id", "type": "string""#,
            r#""name": "offer_id", "type": ["null", "string"], "default": null"#,
            "offer_id became nullable; readers with the old schema cannot read a null",
        ),
        (
            r#""name": "end_reason", "type": ["null", "string"], "default": null"#,
            r#""name": "end_reason", "type": "string""#,
            "end_reason became required; old records may lack it",
        ),
        (
            r#""fields": ["#,
            r#""fields": [{"name": "colour", "type": "string", "doc": "d", "pii": "none"},"#,
            "colour is new and required; old records lack it, so make it nullable",
        ),
        (
            r#""ordered": [["start_date", "end_date"]]"#,
            r#""ordered": [["start_date", "end_date"], ["start_date", "planned_end_date"]]"#,
            "start_date must now not exceed planned_end_date; records that were valid may break that",
        ),
        (
            r#""doc": "The offer.","#,
            r#""doc": "The offer.", "values": ["a"],"#,
            "offer_id now takes only some values; it took any before",
        ),
        (
            r#""doc": "The offer.","#,
            r#""doc": "The offer.", "code_list": "benefit","#,
            "the code list of offer_id changed; codes that were valid may not be in it",
        ),
        (
            r#""name": "participation", "namespace""#,
            r#""name": "stay", "namespace""#,
            "the name changed from participation to stay; a new name is a new entity",
        ),
    ] {
        assert_eq!(after(old, new), Err(vec![sentence.to_owned()]));
    }
}

#[test]
fn a_removed_field_is_refused_whether_nullable_or_not() {
    for name in ["workplace", "hours_per_week"] {
        let removed = without(name);
        let reasons = compatible(participation(), &removed).unwrap_err();
        let sentence = format!("{name} was removed; keep it, nullable if it is no longer sent");
        assert_eq!(reasons, [sentence]);
    }
}

#[test]
fn several_reasons_are_told_at_once() {
    let new = participation()
        .replace(r#""maximum": 59"#, r#""maximum": 37"#)
        .replace(r#""wage_subsidy"]"#, "\"other\"]");
    let reasons = compatible(participation(), &new).unwrap_err();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
}

#[test]
fn a_schema_that_is_none_is_refused() {
    for wrong in [
        "",
        "{}",
        r#"{"type": "record"}"#,
        &participation().replace(r#""pii": "pseudonym""#, r#""pii": "secret""#),
        &participation().replace(r#""minimum""#, r#""minimun""#),
        &participation().replace(r#""key": ["participation_id"]"#, r#""key": ["id"]"#),
        &participation().replace(r#""key": ["participation_id"]"#, r#""key": []"#),
        &participation().replace(r#""namespace": "pejl""#, r#""namespace": "pejl", "x": 1"#),
        &without("updated_at"),
        &without("municipality_code"),
    ] {
        let reasons = compatible(participation(), wrong).unwrap_err();
        assert_eq!(reasons.len(), 1);
        let reason = &reasons[0];
        assert!(
            reason.starts_with("the new schema cannot be read: "),
            "{reason}"
        );
        assert!(compatible(wrong, participation()).is_err());
    }
}

fn participation() -> &'static str {
    entity("participation").unwrap().avro()
}

fn assert_allowed(old: &str, new: &str) {
    assert_eq!(after(old, new), Ok(()), "{new}");
}

/// Whether the schema may follow the present one with `old`, on one line, replaced by `new`.
fn after(old: &str, new: &str) -> Result<(), Vec<String>> {
    let present = participation().split_whitespace().collect::<Vec<_>>();
    let present = present.join(" ").replace("[ ", "[").replace("{ ", "{");
    assert_eq!(present.matches(old).count(), 1, "{old}");
    compatible(&present, &present.replace(old, new))
}

fn without(name: &str) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(participation()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let before = fields.len();
    fields.retain(|field| field["name"] != name);
    assert_eq!(fields.len(), before - 1);
    schema.to_string()
}
