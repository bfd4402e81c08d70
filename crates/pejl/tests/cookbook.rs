//! `docs/cookbook.md`: every query in it answers on a demo of the size that it names, and every mart is asked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{collections::BTreeSet, fs, path::Path};

use stage::Stage;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What stands on a fence of a query; with `rows` behind it the query must find some.
const FENCE: &str = "```sql";

/// A query of the page.
struct Query {
    /// Line of its fence.
    line: usize,
    finds_rows: bool,
    sql: String,
}

fn page() -> String {
    fs::read_to_string(Path::new(REPOSITORY).join("docs/cookbook.md")).unwrap()
}

fn queries(page: &str) -> Vec<Query> {
    let mut queries = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, fence)) = lines.next() {
        let Some(info) = fence.strip_prefix(FENCE) else {
            continue;
        };
        let sql: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        queries.push(Query {
            line: at + 1,
            finds_rows: match info {
                "" => false,
                " rows" => true,
                other => panic!("line {}: what is {FENCE}{other}?", at + 1),
            },
            sql: sql.join("\n"),
        });
    }
    queries
}

#[test]
fn every_query_answers_on_the_demo() {
    let page = page();
    let size = page
        .lines()
        .find_map(|line| line.strip_prefix("make demo DEMO=\"")?.strip_suffix('"'))
        .expect("the page says how large a demo its queries need");
    let stage = Stage::empty();
    // The repository's own pipelines, with the delivery calendar.
    let pipelines = format!("{REPOSITORY}/pipelines");
    let mut demo = vec!["demo", "--exit", "--pipelines", &pipelines];
    demo.extend(size.split_whitespace());
    stage.ok(&demo);

    let mut failed = Vec::new();
    for query in queries(&page) {
        let out = stage.pejl(&[
            "query",
            "--data",
            "data/demo",
            "--pipelines",
            "data/demo/pipelines",
            "--format",
            "json",
            &query.sql,
        ]);
        let place = format!("docs/cookbook.md:{}", query.line);
        let rows = String::from_utf8_lossy(&out.stdout);
        if !out.status.success() {
            let why = String::from_utf8_lossy(&out.stderr).into_owned();
            failed.push(format!("{place}: {why}"));
        } else if query.finds_rows && rows.trim().is_empty() {
            failed.push(format!("{place}: no rows"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_question_has_a_query_that_finds_something() {
    let page = page();
    let questions: Vec<&str> = page
        .split("\n### ")
        .filter(|section| section.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    assert!(questions.len() >= 15, "{} questions", questions.len());
    for question in questions {
        let title = question.lines().next().unwrap_or_default();
        assert!(question.contains("\n```sql rows\n"), "{title}: no query");
    }
}

#[test]
fn every_mart_is_asked() {
    let asked: BTreeSet<String> = queries(&page())
        .iter()
        .flat_map(|query| {
            query
                .sql
                .split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != '.')
        })
        .map(str::to_owned)
        .collect();
    let models = Path::new(REPOSITORY).join("pipelines/models/mart");
    let mut marts = 0;
    for model in fs::read_dir(models).unwrap() {
        let model = model.unwrap().path();
        let name = format!("mart.{}", model.file_stem().unwrap().to_str().unwrap());
        assert!(
            asked.contains(&name),
            "no query of docs/cookbook.md asks {name}"
        );
        marts += 1;
    }
    assert!(marts > 10, "{marts} marts");
}
