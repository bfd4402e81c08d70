//! `pejl schema`: shows the contract, and refuses a change that would break somebody.

use std::{path::Path, process::Command};

use anyhow::Context;
use contract::{Entity, Kind, Pii};

use crate::{args::Schema, exit, output, settings::Mistake};

pub(crate) fn run(command: &Schema) -> anyhow::Result<u8> {
    match command {
        Schema::Show { entity: None } => list(),
        Schema::Show { entity: Some(name) } => show(name),
        Schema::Check { schemas, against } => check(schemas, against),
    }
}

fn list() -> anyhow::Result<u8> {
    let rows: Vec<Vec<String>> = contract::entities()
        .iter()
        .map(|it| vec![it.name.clone(), it.key.join(", "), it.doc.clone()])
        .collect();
    output::line(&output::table(&["entity", "key", "doc"], &rows))?;
    Ok(0)
}

fn show(name: &str) -> anyhow::Result<u8> {
    let entity = contract::entity(name).ok_or_else(|| {
        let known: Vec<&str> = contract::entities()
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        Mistake(format!("no entity `{name}`; one of {}", known.join(", ")))
    })?;
    output::line(&format!(
        "{}: {}\ntopic {}  landed {}  current {}  key {}\n",
        entity.name,
        entity.doc,
        entity.topic(),
        entity.raw_table(),
        entity.core_table(),
        entity.key.join(", ")
    ))?;
    output::line(&output::table(
        &["column", "type", "null", "pii", "values", "doc"],
        &columns(entity),
    ))?;
    Ok(0)
}

fn columns(entity: &Entity) -> Vec<Vec<String>> {
    let describe = |field: &contract::Field| {
        let kind = match field.kind {
            Kind::Int => "int".to_owned(),
            Kind::Long => "long".to_owned(),
            Kind::Double => "double".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Date => "date".to_owned(),
            Kind::Timestamp => "timestamp".to_owned(),
            Kind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        };
        let pii = match field.pii {
            Pii::None => "",
            Pii::Pseudonym => "pseudonym",
            Pii::Indirect => "indirect",
            Pii::FreeText => "free text",
        };
        let values = match &field.code_list {
            Some(code) => format!("list {}", code.list),
            None => field.values.join(" "),
        };
        vec![
            field.name.clone(),
            kind,
            if field.nullable { "yes" } else { "" }.to_owned(),
            pii.to_owned(),
            values,
            field.doc.clone(),
        ]
    };
    entity.fields.iter().map(describe).collect()
}

/// Compares each `.avsc` with the one in git at `against`. A new schema has nothing to break.
fn check(folder: &Path, against: &str) -> anyhow::Result<u8> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map_err(|err| Mistake(format!("{}: {err}", folder.display())))?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|it| it.path())
        .filter(|it| it.extension().is_some_and(|ext| ext == "avsc"))
        .collect();
    files.sort();
    let mut refused = 0;
    let mut names = Vec::new();
    for file in &files {
        let name = file
            .file_name()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default();
        names.push(name.clone());
        let Some(old) = committed(folder, against, &name)? else {
            output::line(&format!("new         {name}"))?;
            continue;
        };
        let new = std::fs::read_to_string(file)?;
        match contract::compatible(&old, &new) {
            Ok(()) => output::line(&format!("compatible  {name}"))?,
            Err(reasons) => {
                refused += 1;
                output::line(&format!("REFUSED     {name}"))?;
                for reason in reasons {
                    output::line(&format!("            {reason}"))?;
                }
            }
        }
    }
    for gone in removed(folder, against, &names)? {
        refused += 1;
        output::line(&format!(
            "REFUSED     {gone}\n            the entity was removed; its topic and table still hold it"
        ))?;
    }
    if refused == 0 {
        return Ok(0);
    }
    output::line(&format!(
        "\n{refused} refused against {against}: make the change additive, or give the entity a new name"
    ))?;
    Ok(exit::FAILED)
}

fn committed(folder: &Path, against: &str, name: &str) -> anyhow::Result<Option<String>> {
    let out = git(folder, &["show", &format!("{against}:./{name}")])?;
    Ok(out
        .status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned()))
}

fn removed(folder: &Path, against: &str, present: &[String]) -> anyhow::Result<Vec<String>> {
    let out = git(folder, &["ls-tree", "--name-only", against, "./"])?;
    if !out.status.success() {
        return Err(Mistake(format!(
            "{}: no revision `{against}` to compare with: {}",
            folder.display(),
            String::from_utf8_lossy(&out.stderr).trim()
        ))
        .into());
    }
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter(|it| it.ends_with(".avsc") && !present.iter().any(|name| name == it))
        .map(str::to_owned)
        .collect())
}

fn git(folder: &Path, args: &[&str]) -> anyhow::Result<std::process::Output> {
    Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .output()
        .context("`git` is needed to find the last committed schemas")
}
