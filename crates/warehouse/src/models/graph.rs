//! Who reads whom: the tables in a model's query, and an order in which all can be built.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::{
    common::TableReference,
    error::DataFusionError,
    sql::{
        parser::{DFParser, Statement},
        resolve::resolve_table_references,
        sqlparser::ast,
    },
};
use spec::{Mistake, Model, Question, Reference};

use super::{Asked, Node, Origin, is_given};

/// The tables a model's query names, those made by its own `with` left out.
pub(super) fn reads(model: &Model) -> Result<BTreeSet<String>, Mistake> {
    read_by(&model.sql, |line| match line {
        Named::Line(line, message) => model.mistake(line, message),
        Named::Word(word, message) => model.mistake(model.line_of(word), message),
        Named::Engine(err) => mistake_of(model, err),
    })
}

/// The check with the tables it reads; those have to be there, and its own among them.
pub(super) fn asked(question: Question, nodes: &BTreeMap<String, Node>) -> Result<Asked, Mistake> {
    let wrong = |message: String| Mistake::in_file(&question.file, message);
    let reads = read_by(&question.sql, |named| match named {
        Named::Line(_, message) | Named::Word(_, message) => wrong(message),
        Named::Engine(err) => wrong(err.strip_backtrace()),
    })?;
    if !nodes.contains_key(&question.table) {
        return Err(wrong(format!("there is no model `{}`", question.table)));
    }
    if !reads.contains(&question.table) {
        return Err(wrong(format!("it does not read `{}`", question.table)));
    }
    let is_unknown = |read: &&String| !nodes.contains_key(*read) && !is_given(read);
    if let Some(unknown) = reads.iter().find(is_unknown) {
        return Err(wrong(format!("there is no table `{unknown}`")));
    }
    Ok(Asked { question, reads })
}

/// A mistake in a query, before it is known whose.
enum Named<'a> {
    Line(Option<u64>, String),
    Word(&'a str, String),
    Engine(&'a DataFusionError),
}

fn read_by(sql: &str, mistake: impl Fn(Named<'_>) -> Mistake) -> Result<BTreeSet<String>, Mistake> {
    let mut statements = DFParser::parse_sql(sql).map_err(|err| mistake(Named::Engine(&err)))?;
    let statement = match (statements.pop_front(), statements.is_empty()) {
        (Some(Statement::Statement(statement)), true)
            if matches!(statement.as_ref(), ast::Statement::Query(_)) =>
        {
            Statement::Statement(statement)
        }
        _ => {
            let message = "write one query and nothing else".to_owned();
            return Err(mistake(Named::Line(None, message)));
        }
    };
    let (references, _) =
        resolve_table_references(&statement, true).map_err(|err| mistake(Named::Engine(&err)))?;
    let mut reads = BTreeSet::new();
    for reference in references {
        match &reference {
            TableReference::Partial { schema, table } => {
                reads.insert(format!("{schema}.{table}"));
            }
            TableReference::Bare { table } if is_table_function(table) => {}
            TableReference::Bare { table } | TableReference::Full { table, .. } => {
                let message =
                    format!("`{reference}`: write the schema too, and only it: `core.{table}`");
                return Err(mistake(Named::Word(&reference.to_string(), message)));
            }
        }
    }
    Ok(reads)
}

/// An order in which every table comes after those it reads; by name where that leaves a choice.
pub(super) fn order(nodes: &BTreeMap<String, Node>, mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for (table, node) in nodes {
        let references: &[Reference] = match &node.origin {
            Origin::Written(model) => &model.references,
            Origin::Current(_) => &[],
        };
        for read in node
            .reads
            .iter()
            .chain(references.iter().map(|it| &it.table))
        {
            if !nodes.contains_key(read) && !is_given(read) {
                mistakes.push(unknown(table, node, read, nodes));
            }
        }
    }
    loop {
        let ready = nodes.iter().find(|(table, node)| {
            let waits = |read: &String| nodes.contains_key(read) && !done.contains(read.as_str());
            !done.contains(table.as_str()) && !node.reads.iter().any(waits)
        });
        let Some((table, _)) = ready else {
            break;
        };
        done.insert(table);
        order.push(table.clone());
    }
    if let Some(first) = nodes.keys().find(|it| !done.contains(it.as_str())) {
        mistakes.push(cycle(first, nodes, &done));
    }
    order
}

/// The engine's complaint about a model's query, as a mistake in its file.
pub(super) fn mistake_of(model: &Model, err: &DataFusionError) -> Mistake {
    // `sql parser error: Expected: …, found: … at Line: 3, Column: 7`
    let text = err.strip_backtrace();
    let place = text.rsplit_once("Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((line.parse().ok()?, column.trim_end().parse().ok()?))
    });
    // Errors of the planner carry a place of their own where the session collects them.
    let span = err
        .diagnostic()
        .and_then(|it| it.span)
        .map(|it| (it.start.line, it.start.column));
    let (line, column) = place.or(span).unzip();
    Mistake {
        column,
        ..model.mistake(line, text)
    }
}

fn is_table_function(name: &str) -> bool {
    ["generate_series", "range"].contains(&name)
}

fn unknown(table: &str, node: &Node, read: &str, nodes: &BTreeMap<String, Node>) -> Mistake {
    let schema = read.split_once('.').map_or(read, |it| it.0);
    let known: Vec<&str> = nodes
        .keys()
        .filter(|it| it.split_once('.').is_some_and(|it| it.0 == schema))
        .map(String::as_str)
        .collect();
    let hint = match schema {
        "core" | "mart" => format!("there are {}", known.join(", ")),
        "raw" => "there is one for every entity, and raw.quarantine".to_owned(),
        "ref" => "there is one for every code list, and ref.definition".to_owned(),
        _ => "a model reads raw, ref, core and mart".to_owned(),
    };
    place(
        table,
        node,
        read,
        format!("there is no table `{read}`; {hint}"),
    )
}

/// The circle that `first` is on or leads to, in words.
fn cycle(first: &str, nodes: &BTreeMap<String, Node>, done: &BTreeSet<&str>) -> Mistake {
    let mut path = vec![first];
    loop {
        let last = path[path.len() - 1];
        let next = nodes[last]
            .reads
            .iter()
            .find(|read| nodes.contains_key(*read) && !done.contains(read.as_str()));
        let Some(next) = next else {
            return place(
                first,
                &nodes[first],
                first,
                "it waits for a table that is never built".to_owned(),
            );
        };
        if let Some(begin) = path.iter().position(|it| it == next) {
            path.drain(..begin);
            let steps: Vec<String> = path
                .iter()
                .map(|it| format!("{it} ({})", nodes[*it]))
                .collect();
            let message = format!(
                "models read each other in a circle: {} -> {next}",
                steps.join(" -> ")
            );
            let second = path.get(1).copied().unwrap_or(next);
            return place(path[0], &nodes[path[0]], second, message);
        }
        path.push(next);
    }
}

/// A mistake where `node` names `read`.
fn place(table: &str, node: &Node, read: &str, message: String) -> Mistake {
    match &node.origin {
        Origin::Written(model) => {
            let reference = model.references.iter().find(|it| it.table == read);
            let line = model.line_of(read).or(reference.map(|it| it.line));
            model.mistake(line, message)
        }
        Origin::Current(_) => Mistake::in_file(table, message),
    }
}
