//! `deploy/alerts.yaml`: every expression is PromQL over metrics there are, and every runbook is a heading of the manual.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeSet, fs, path::Path};

use promql_parser::{
    parser::{self, Expr, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde::Deserialize;
use telemetry::{Kind, Metric, metric::ALL};

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
struct Annotations {
    summary: String,
    runbook: String,
}

#[test]
fn alerts_name_metrics_and_labels_that_there_are() {
    for rule in rules() {
        let expr = parser::parse(&rule.expr).unwrap_or_else(|err| panic!("{}: {err}", rule.alert));
        let mut selectors = Selectors(Vec::new());
        walk_expr(&mut selectors, &expr).unwrap();
        assert!(!selectors.0.is_empty(), "{}", rule.alert);
        for selector in selectors.0 {
            let name = selector.name.as_deref().unwrap_or_default();
            // Prometheus' own word on whether a target answers.
            let labels = match name {
                "up" => &[][..],
                _ => metric_of(name).labels,
            };
            for matcher in &selector.matchers.matchers {
                let label = matcher.name.as_str();
                assert!(
                    label == "job" || labels.contains(&label),
                    "{}: {name} has no label {label}",
                    rule.alert
                );
            }
        }
    }
}

#[test]
fn alerts_say_what_is_wrong_and_lead_to_what_to_do() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().map(|it| it.alert.as_str()).collect();
    assert_eq!(names.len(), rules.len(), "a name twice");
    for Rule {
        alert,
        labels,
        annotations,
        ..
    } in &rules
    {
        assert!(
            ["page", "ticket"].contains(&labels.severity.as_str()),
            "{alert}"
        );
        assert!(annotations.summary.len() > 20, "{alert}");
        let (page, heading) = annotations.runbook.split_once('#').unwrap();
        let found = headings(page).contains(heading);
        assert!(found, "{alert}: {page} has no heading for #{heading}");
    }
}

fn rules() -> Vec<Rule> {
    let file: File = serde_saphyr::from_str(&read("deploy/alerts.yaml")).unwrap();
    file.groups.into_iter().flat_map(|it| it.rules).collect()
}

/// The metric a series is of, also where it is a part of a histogram.
fn metric_of(series: &str) -> &'static Metric {
    let is_it = |metric: &&Metric| match series.strip_prefix(metric.name) {
        Some("") => metric.kind != Kind::Histogram,
        Some("_bucket" | "_sum" | "_count") => metric.kind == Kind::Histogram,
        _ => false,
    };
    let found = ALL.iter().find(is_it);
    found.unwrap_or_else(|| panic!("no metric has the series {series}"))
}

struct Selectors(Vec<VectorSelector>);

impl ExprVisitor for Selectors {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.0.push(selector.clone()),
            Expr::MatrixSelector(selector) => self.0.push(selector.vs.clone()),
            _ => {}
        }
        Ok(true)
    }
}

/// The headings of a page, as links name them.
fn headings(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let headings = text.lines().filter_map(|it| it.strip_prefix('#'));
    let kept = |it: &char| it.is_alphanumeric() || *it == '-';
    headings
        .map(|it| it.trim_start_matches('#').trim().to_lowercase())
        .map(|it| it.replace(' ', "-").chars().filter(kept).collect())
        .collect()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap()
}
