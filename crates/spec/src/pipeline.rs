//! A pipeline file: which connector reads what, into which entity, how often, and how columns are mapped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Mistake, Schedule, first_line};

/// One `pipelines/sources/<name>.yaml`. The file name is the source's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// The source's name: the file name without `.yaml`.
    pub name: String,
    /// One or two sentences for the reader of `pejl connector list`.
    pub doc: String,
    /// Which connector reads it, such as `files`.
    pub connector: String,
    /// Which entity its rows become.
    pub entity: &'static contract::Entity,
    /// For sources of one municipality: the code of rows that do not carry it, and of watermarks.
    pub municipality_code: Option<i32>,
    /// Who delivers it, for the `delivery` record of a file. The source's name where left out.
    pub sender: String,
    /// When it is read again while `pejl up` or `pejl worker` runs.
    pub schedule: Schedule,
    /// The connector's own settings, references resolved.
    pub settings: Value,
    /// Entity column to SQL expression over the source's columns. A column left out is taken from
    /// the source column of the same name.
    pub select: BTreeMap<String, String>,
    /// SQL predicate over the source's columns; other rows are passed over.
    pub filter: Option<String>,
    /// Read by `pejl run` and `pejl up`; `true` unless the file says `enabled: false`.
    pub enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    doc: String,
    connector: String,
    entity: String,
    #[serde(default)]
    municipality_code: Option<i32>,
    #[serde(default)]
    sender: Option<String>,
    #[serde(default)]
    schedule: Schedule,
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    select: BTreeMap<String, String>,
    #[serde(default, rename = "where")]
    filter: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// Reads a pipeline file. `lookup` answers `${NAME}` references in the settings; a value that is
/// not there is a [`Mistake`] naming the variable, so that secrets stay out of files.
pub fn parse_pipeline(
    name: &str,
    file: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Pipeline, Mistake> {
    let parsed: File = serde_saphyr::from_str(text).map_err(|err| Mistake {
        file: file.to_owned(),
        line: err.location().map(|it| it.line()),
        column: err.location().map(|it| it.column()),
        message: first_line(&err.to_string()),
    })?;
    let entity = contract::entity(&parsed.entity).ok_or_else(|| {
        let known: Vec<&str> = contract::entities()
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        Mistake::in_file(
            file,
            format!(
                "entity `{}` is unknown; one of {}",
                parsed.entity,
                known.join(", ")
            ),
        )
    })?;
    for column in parsed.select.keys() {
        if entity.field(column).is_none() {
            return Err(Mistake::in_file(
                file,
                format!("select: `{}` has no column `{column}`", entity.name),
            ));
        }
    }
    let mut settings = parsed.settings;
    if settings.is_null() {
        settings = Value::Object(serde_json::Map::new());
    }
    resolve(&mut settings, lookup).map_err(|name| {
        Mistake::in_file(
            file,
            format!(
                "${{{name}}} is not set; set it in the environment or under [secrets] in pejl.toml"
            ),
        )
    })?;
    Ok(Pipeline {
        name: name.to_owned(),
        doc: parsed.doc,
        connector: parsed.connector,
        entity,
        municipality_code: parsed.municipality_code,
        sender: parsed.sender.unwrap_or_else(|| name.to_owned()),
        schedule: parsed.schedule,
        settings,
        select: parsed.select,
        filter: parsed.filter,
        enabled: parsed.enabled,
    })
}

/// Replaces `${NAME}` in every text of `value`; the error is the first name without an answer.
fn resolve(value: &mut Value, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = expand(text, lookup)?,
        Value::Array(items) => {
            for item in items {
                resolve(item, lookup)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                resolve(field, lookup)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + length];
        out.push_str(&rest[..start]);
        out.push_str(&lookup(name).ok_or_else(|| name.to_owned())?);
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
doc: Participations from the case system.
connector: http
entity: participation
municipality_code: 101
schedule: every 15m
settings:
  url: http://localhost/api
  auth: { kind: bearer, token: \"${TOKEN}\" }
select:
  citizen_id: pseudonym(\"cprNummer\")
where: status <> 'draft'
";

    fn parse(text: &str) -> Result<Pipeline, Mistake> {
        parse_pipeline("case", "case.yaml", text, &|name| {
            (name == "TOKEN").then(|| "s3cret".to_owned())
        })
    }

    #[test]
    fn a_pipeline_is_read_and_its_references_resolved() {
        let pipeline = parse(GOOD).unwrap();
        assert_eq!(pipeline.settings["auth"]["token"], "s3cret");
        assert_eq!(pipeline.entity.name, "participation");
        assert_eq!(pipeline.sender, "case");
        assert_eq!(pipeline.select["citizen_id"], "pseudonym(\"cprNummer\")");
        assert_eq!(pipeline.filter.as_deref(), Some("status <> 'draft'"));
    }

    #[test]
    fn mistakes_name_file_line_and_remedy() {
        let unknown = parse(&format!("{GOOD}colour: red\n")).unwrap_err();
        assert!(unknown.message.contains("colour"), "{unknown}");
        assert!(unknown.line.is_some(), "{unknown:?}");
        let entity = parse(&GOOD.replace("entity: participation", "entity: party")).unwrap_err();
        assert!(entity.message.contains("one of"), "{entity}");
        let column = parse(&GOOD.replace("citizen_id:", "cpr:")).unwrap_err();
        assert!(column.to_string().contains("no column `cpr`"), "{column}");
        let secret = parse(&GOOD.replace("TOKEN", "OTHER")).unwrap_err();
        assert!(secret.message.contains("${OTHER}"), "{secret}");
        let schedule = parse(&GOOD.replace("every 15m", "hourly-ish")).unwrap_err();
        assert!(schedule.message.contains("not a schedule"), "{schedule}");
    }

    #[test]
    fn a_secret_never_reaches_the_message() {
        let text = GOOD.replace("${TOKEN}", "plain-secret") + "colour: red\n";
        assert!(
            !parse(&text)
                .unwrap_err()
                .to_string()
                .contains("plain-secret")
        );
    }
}
