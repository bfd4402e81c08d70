//! `pejl lineage`: what a table or column comes from, and what comes from it.

use std::collections::BTreeMap;

use warehouse::lineage::{Branch, Kind, Lineage};

use crate::{
    args::Format,
    output,
    settings::{Mistake, Settings},
    tree::Tree,
    wiring,
};

/// Columns of running text.
const WIDTH: usize = 100;

pub(crate) async fn run(
    settings: &Settings,
    target: &str,
    down: bool,
    format: Format,
) -> anyhow::Result<u8> {
    let lineage = Lineage::read(&wiring::catalog(settings)?).await?;
    let (table, column) = split(target);
    let found = if down {
        lineage.down(&table, column)
    } else {
        lineage.up(&table, column)
    };
    let branch = found.ok_or_else(|| unknown(&lineage, &table, column))?;
    match format {
        Format::Table => output::line(&tree(&branch, None).lines().join("\n"))?,
        Format::Csv | Format::Json => {
            let mut rows = Vec::new();
            flatten(&branch, 0, &mut rows);
            let headers = ["depth", "kind", "table", "column"];
            output::line(&output::rows(format, &headers, &rows)?)?;
        }
    }
    Ok(0)
}

/// `mart.offer_overview.finished` as table and column.
fn split(target: &str) -> (String, Option<&str>) {
    let mut parts = target.splitn(3, '.');
    let table: Vec<&str> = parts.by_ref().take(2).collect();
    (table.join("."), parts.next())
}

fn unknown(lineage: &Lineage, table: &str, column: Option<&str>) -> Mistake {
    if let (Some(schema), Some(column)) = (lineage.schemas().get(table), column) {
        let known: Vec<&str> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        return Mistake(format!(
            "{table} has no column `{column}`; it has {}",
            known.join(", ")
        ));
    }
    let known: Vec<&str> = lineage.tables().keys().map(String::as_str).collect();
    Mistake(format!(
        "no table `{table}`; there are raw.* and ref.*, and {}",
        known.join(", ")
    ))
}

fn tree(branch: &Branch, kind: Option<Kind>) -> Tree {
    let mut text = branch.name();
    if let Some(kind) = kind {
        text = format!("{:<10}  {text}", kind.as_str());
    }
    if branch.is_told {
        text.push_str("  (as above)");
    }
    let mut tree = Tree::new(text);
    // What only steers a column is told in one line for each way it does.
    let mut steering: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for it in &branch.branches {
        match it.kind {
            Some(kind) if !kind.is_followed() => steering.entry(kind).or_default().push(it.name()),
            kind => tree.below.push(self::tree(it, kind)),
        }
    }
    for (kind, names) in steering {
        let names: Vec<String> = output::wrapped(&names.join(", "), WIDTH).collect();
        let indented = format!("\n{:12}", "");
        tree.add(format!("{:<10}  {}", kind.as_str(), names.join(&indented)));
    }
    tree
}

fn flatten(branch: &Branch, depth: usize, rows: &mut Vec<Vec<String>>) {
    rows.push(vec![
        depth.to_string(),
        branch
            .kind
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default(),
        branch.table.clone(),
        branch.column.clone().unwrap_or_default(),
    ]);
    for it in &branch.branches {
        flatten(it, depth + 1, rows);
    }
}
