//! The layering in ARCHITECTURE.md, checked against `cargo metadata`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Crates by layer, lowest first. A crate may use lower layers only, never its own.
const LAYERS: &[&[&str]] = &[
    &["contract"],
    &["connector-api", "spec", "telemetry"],
    &[
        "bus",
        "cluster",
        "codec",
        "connector-testkit",
        "fetch",
        "lake",
    ],
    &["connectors", "ingest", "landing", "simulator", "warehouse"],
    &["quarantine", "serve-pg"],
    &["serve-http"],
    &["pejl"],
];

/// Crates that are doors to an outside system, and the only workspace crates that may name them.
const ONLY: &[(&str, &[&str])] = &[
    ("arrow-avro", &["codec"]),
    ("ballista-core", &["cluster"]),
    ("ballista-executor", &["cluster"]),
    ("ballista-scheduler", &["cluster"]),
    ("axum", &["connector-testkit", "serve-http", "simulator"]),
    ("connectors", &["pejl"]),
    (
        "datafusion",
        &[
            "cluster",
            "ingest",
            "lake",
            "landing",
            "pejl",
            "quarantine",
            "serve-pg",
            "warehouse",
        ],
    ),
    ("datafusion-postgres", &["serve-pg"]),
    ("deltalake", &["lake"]),
    ("figment", &["pejl"]),
    ("metrics-exporter-prometheus", &["serve-http"]),
    ("object_store", &["lake"]),
    ("metrics", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry-otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("pgwire", &["serve-pg"]),
    ("rdkafka", &["bus"]),
    ("reqwest", &["fetch"]),
    ("rusqlite", &["bus"]),
    ("tracing-opentelemetry", &["telemetry"]),
];

#[test]
fn crates_depend_downwards_only() {
    let layer: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(i, names)| names.iter().map(move |it| (*it, i)))
        .collect();
    for Edge { from, to, .. } in edges().iter().filter(|it| !it.dev) {
        let Some(above) = layer.get(from.as_str()) else {
            continue;
        };
        if let Some(below) = layer.get(to.as_str()) {
            assert!(
                below < above,
                "{from} (layer {above}) may not use {to} (layer {below})"
            );
        }
    }
}

#[test]
fn every_crate_has_a_layer_and_every_layer_its_crates() {
    let known: Vec<&str> = LAYERS.concat();
    let packages: Vec<String> = packages().iter().map(|it| text(&it["name"])).collect();
    for package in packages.iter().filter(|it| *it != "architecture") {
        assert!(
            known.contains(&package.as_str()),
            "{package}: add it to LAYERS"
        );
    }
    for name in known {
        assert!(
            packages.iter().any(|it| it == name),
            "{name}: no such crate"
        );
    }
}

#[test]
fn outside_systems_have_one_door() {
    for Edge { from, to, dev } in edges() {
        let Some((_, doors)) = ONLY.iter().find(|(heavy, _)| *heavy == to) else {
            continue;
        };
        // A test may play the other side of the wire, or hold a schema against its reader; a benchmark may race the bare client.
        let is_other_side =
            dev && ["arrow-avro", "axum", "object_store", "rdkafka"].contains(&to.as_str());
        assert!(
            doors.contains(&from.as_str()) || is_other_side,
            "{from} names {to}; go through {doors:?}"
        );
    }
}

#[test]
fn no_crate_has_features() {
    for package in packages() {
        let features = package["features"].as_object().unwrap();
        assert!(
            features.is_empty(),
            "{}: no cargo features",
            package["name"]
        );
    }
}

#[test]
fn every_crate_takes_the_lint_table_and_pinned_versions() {
    for package in packages() {
        let manifest = std::fs::read_to_string(text(&package["manifest_path"])).unwrap();
        let name = &package["name"];
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name}: add [lints] workspace = true"
        );
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            } else if section.contains("dependencies") && line.contains('=') {
                assert!(
                    line.contains("workspace = true"),
                    "{name}: `{line}`: versions live in the workspace manifest"
                );
            }
        }
    }
}

struct Edge {
    from: String,
    to: String,
    dev: bool,
}

fn edges() -> Vec<Edge> {
    packages()
        .iter()
        .flat_map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            dependencies.iter().map(|it| Edge {
                from: text(&package["name"]),
                to: text(&it["name"]),
                dev: it["kind"] == "dev",
            })
        })
        .collect::<Vec<_>>()
}

fn packages() -> Vec<Value> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&out.stderr)));
    metadata["packages"].as_array().unwrap().clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
