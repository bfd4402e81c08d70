//! `pejl explain`: from a number to its definition, its publication, the rows behind it, their offsets and files.

use std::collections::BTreeSet;

use warehouse::explain::{Explanation, Meaning, Question};

use crate::{
    args::{Format, Language},
    output,
    settings::{Mistake, Settings},
    tree::Tree,
    wiring,
};

/// Columns of running text.
const WIDTH: usize = 100;

/// How much of a fingerprint tells one from another.
const SHORT: usize = 12;

pub(crate) async fn run(
    settings: &Settings,
    question: &Question,
    lang: Option<Language>,
    format: Format,
) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let told = warehouse.explain(question).await?;
    match format {
        Format::Table => output::line(&tree(question, &told, lang).lines().join("\n"))?,
        Format::Json => output::line(&serde_json::to_string_pretty(&told)?)?,
        Format::Csv => {
            let wrong = "an explanation is no table; use --format json, or table for people";
            return Err(Mistake(wrong.to_owned()).into());
        }
    }
    Ok(0)
}

fn tree(question: &Question, told: &Explanation, lang: Option<Language>) -> Tree {
    let mut tree = Tree::new(format!("{} where {}", told.table, question.predicate));
    tree.below.push(found(told));
    let published = &told.publication;
    let reads = tree.add(format!(
        "publication  {}, published {}, table version {}, build {}",
        published.id,
        published.at.format("%Y-%m-%d %H:%M:%S UTC"),
        published.version,
        published.run_id
    ));
    for (table, version) in &told.model.reads {
        match version.parse::<i64>() {
            Ok(version) => reads.add(format!("{table}  as of version {version}")),
            Err(_) if version == "none" => reads.add(format!("{table}  not landed yet")),
            Err(_) => reads.add(format!("{table}  code list {}", short(version))),
        };
    }
    let file = told.model.file.as_deref();
    let file = file.unwrap_or("the latest version of each record");
    let model = tree.add(format!(
        "model        {file}, fingerprint {}",
        short(&told.model.fingerprint)
    ));
    model.add(wrapped(&told.model.doc));
    if told.model.is_changed {
        model.add("CHANGED since this publication: what is behind is found with the text of today");
    }
    if !told.definitions.is_empty() {
        let definitions = tree.add("definitions");
        let each = told.definitions.iter().map(|it| meaning(it, lang));
        definitions.below.extend(each);
    }
    tree.below.push(columns(told));
    if told.steps.is_empty() {
        return tree;
    }
    let mut rows = Tree::new("rows behind it");
    rows.below
        .push(behind(told, &told.table, None, &mut BTreeSet::new()));
    tree.below.push(rows);
    tree.below.push(files(told));
    tree
}

fn found(told: &Explanation) -> Tree {
    let it = &told.found;
    let mut text = format!("found        {}", counted(it.rows));
    if it.suppressed > 0 {
        text.push_str(&format!(
            ", {} suppressed: what is behind small cells is not shown, nor is it walked to",
            it.suppressed
        ));
    }
    let open = it.rows - it.suppressed;
    if it.walked < open {
        text.push_str(&format!(", the first {} of {open} followed", it.walked));
    }
    let mut tree = Tree::new(text);
    for row in &it.sample {
        tree.add(wrapped(&row.to_string()));
    }
    more(&mut tree, it.rows, it.sample.len());
    tree
}

fn meaning(it: &Meaning, lang: Option<Language>) -> Tree {
    let mut tree = Tree::new(match lang {
        Some(Language::Da) => format!("{}  {}", it.definition, it.title_da),
        Some(Language::En) => format!("{}  {}", it.definition, it.title_en),
        None => format!("{}  {} / {}", it.definition, it.title_da, it.title_en),
    });
    if lang != Some(Language::En) {
        tree.add(wrapped(&it.text_da));
    }
    if lang != Some(Language::Da) {
        tree.add(wrapped(&it.text_en));
    }
    if let Some(quote) = &it.quote {
        let seed = it.seed.as_deref().unwrap_or("seed");
        tree.add(wrapped(&format!("{seed}: \u{201d}{quote}\u{201d}")));
    }
    tree
}

fn columns(told: &Explanation) -> Tree {
    let mut tree = Tree::new("comes from");
    for it in &told.lineage {
        let mut told = Vec::new();
        for kind in warehouse::lineage::Kind::ALL {
            let of_kind = it.sources.iter().filter(|it| it.kind == kind);
            let names: Vec<String> = of_kind.map(|it| it.name()).collect();
            if !names.is_empty() {
                told.push(format!("{} {}", kind.as_str(), names.join(", ")));
            }
        }
        if told.is_empty() {
            told.push("a constant".to_owned());
        }
        tree.add(wrapped(&format!("{}: {}", it.column, told.join("; "))));
    }
    tree
}

/// A table's rows that went into those of `reader`, with what went into them below.
fn behind(
    told: &Explanation,
    table: &str,
    reader: Option<&str>,
    seen: &mut BTreeSet<String>,
) -> Tree {
    let Some(step) = told.steps.iter().find(|it| it.table == table) else {
        return Tree::new(table);
    };
    let went = step
        .into
        .iter()
        .find(|it| Some(it.table.as_str()) == reader);
    let rows = went.map_or(step.rows, |it| it.rows);
    let version = match step.version {
        Some(version) => format!("version {version}"),
        None => "not landed yet".to_owned(),
    };
    let mut tree = Tree::new(format!("{table}  {}, {version}", counted(rows)));
    if let Some(went) = went {
        for row in &went.sample {
            tree.add(wrapped(&row.to_string()));
        }
        more(&mut tree, went.rows, went.sample.len());
    }
    let below = told
        .steps
        .iter()
        .filter(|it| it.into.iter().any(|it| it.table == table));
    let below: Vec<&str> = below.map(|it| it.table.as_str()).collect();
    if !seen.insert(table.to_owned()) {
        if !below.is_empty() {
            tree.add("what is behind them is told where the table comes first");
        }
        return tree;
    }
    if let Some(note) = &step.note {
        tree.add(note.clone());
    }
    for it in below {
        tree.below.push(behind(told, it, Some(table), seen));
    }
    tree
}

fn files(told: &Explanation) -> Tree {
    let mut tree = Tree::new("files");
    for it in &told.files {
        tree.add(format!(
            "{}  {}, received {} from {}, source {}, delivery {}, sha256 {}",
            it.file_name,
            counted(it.rows),
            it.received_at,
            it.sender,
            it.source,
            it.delivery_id,
            short(&it.sha256)
        ));
    }
    if told.rows_without_file > 0 || told.files.is_empty() {
        tree.add(format!(
            "{} came in no delivered file: their _source and _source_position tell where from",
            counted(told.rows_without_file)
        ));
    }
    tree
}

fn more(tree: &mut Tree, rows: u64, shown: usize) {
    let left = rows.saturating_sub(shown as u64);
    if left > 0 && shown > 0 {
        tree.add(format!("and {left} more"));
    }
}

fn counted(rows: u64) -> String {
    match rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..SHORT).unwrap_or(fingerprint)
}

fn wrapped(text: &str) -> String {
    output::wrapped(text, WIDTH).collect::<Vec<_>>().join("\n")
}
