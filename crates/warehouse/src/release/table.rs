//! The rows of `ops.release`: what each release is, from what, and who sees it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::Release;
use crate::session::{json, moments, numbers, rows, texts};

/// Releases as rows, in the order given.
pub(crate) fn batch(releases: &[Arc<Release>]) -> Result<RecordBatch> {
    let all = || releases.iter();
    let text = |of: fn(&Release) -> Option<String>| texts(all().map(|it| of(it)));
    rows(vec![
        ("name", text(|it| Some(it.name.clone()))),
        ("kind", text(|it| Some(it.kind.clone()))),
        ("period", text(|it| Some(it.period.clone()))),
        ("corrects", text(|it| it.corrects.clone())),
        (
            "publication_id",
            numbers(all().map(|it| Some(it.publication_id))),
        ),
        (
            "published_at",
            moments(all().map(|it| Some(it.published_at))),
        ),
        ("created_at", moments(all().map(|it| Some(it.at)))),
        ("created_by", text(|it| Some(it.by.clone()))),
        ("note", text(|it| it.note.clone())),
        ("tables", text(|it| json(&tables(it)))),
        ("definitions", text(|it| Some(it.definitions.join(", ")))),
        ("audiences", text(|it| json(&audiences(it)))),
        ("model_versions", text(|it| json(&it.tables))),
        ("input_versions", text(|it| json(&it.inputs))),
        ("model_fingerprints", text(|it| json(&it.models))),
    ])
}

fn tables(release: &Release) -> BTreeMap<&str, serde_json::Value> {
    let all = release.frozen.iter().map(|(table, it)| {
        let told = serde_json::json!({
            "version": it.version,
            "rows": it.rows,
            "condition": it.condition,
            "sha256": it.sha256,
        });
        (table.as_str(), told)
    });
    all.collect()
}

fn audiences(release: &Release) -> BTreeMap<&str, String> {
    let all = release.audiences.iter();
    all.map(|it| (it.audience.as_str(), it.from.to_string()))
        .collect()
}
