//! The reference page of all connectors, made from their settings types.

use std::fmt::Write;

use connector_api::Entry;
use serde_json::Value;

use crate::ALL;

const HEAD: &str = "\
# Connectors

What `connector` and `settings` of a pipeline file can say. This page is made from the code:
`UPDATE_EXPECT=1 cargo test --workspace --lib -- reference` writes it anew.

A value such as `${NAME}` is filled in from the environment or from `[secrets]` of `pejl.toml`.
";

/// All connectors and their settings, as Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for entry in ALL {
        section(&mut page, entry);
    }
    page
}

fn section(page: &mut String, entry: &Entry) {
    let schema = Value::from((entry.schema)());
    let mut part = format!("\n## {}\n\n{}\n", entry.name, entry.summary);
    if let Some(description) = schema["description"].as_str() {
        part += &format!("\n{description}\n");
    }
    let reader = Reader {
        defs: &schema["$defs"],
    };
    let mut kinds = String::new();
    part += TABLE;
    reader.rows(&mut part, &mut kinds, "", &schema);
    part += &kinds;
    page.push_str(&part);
}

const TABLE: &str = "\n| setting | value | default | meaning |\n|---|---|---|---|\n";

struct Reader<'a> {
    defs: &'a Value,
}

impl<'a> Reader<'a> {
    /// One row for each property, and rows with dotted names for the properties of those that are
    /// objects. Those that come in kinds get a table for each kind, in `kinds`.
    fn rows(&self, rows: &mut String, kinds: &mut String, prefix: &str, schema: &'a Value) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let is_required = |name: &str| {
            schema["required"]
                .as_array()
                .is_some_and(|it| it.iter().any(|it| it == name))
        };
        let mut properties: Vec<_> = properties
            .filter(|(_, it)| it.get("const").is_none())
            .collect();
        properties.sort_by_key(|(name, _)| (!is_required(name), name.as_str()));
        for (name, property) in properties {
            let path = format!("{prefix}{name}");
            let target = self.target(property);
            let default = match property.get("default") {
                _ if is_required(name) => "required".to_owned(),
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) if text.is_empty() => String::new(),
                Some(Value::Object(it)) if it.is_empty() => String::new(),
                Some(Value::Array(it)) if it.is_empty() => String::new(),
                Some(Value::String(text)) => code(text),
                Some(other) => code(&other.to_string()),
            };
            let meaning = property["description"].as_str().unwrap_or_default();
            let value = self.value(target);
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                rows,
                "| {} | {value} | {default} | {} |",
                code(&path),
                cell(meaning)
            );
            let inner = if target["type"] == "array" {
                self.target(&target["items"])
            } else {
                target
            };
            let separator = if target["type"] == "array" {
                "[]."
            } else {
                "."
            };
            self.rows(rows, kinds, &format!("{path}{separator}"), inner);
            for kind in variants(inner).filter(|it| it["properties"]["kind"].is_object()) {
                self.kind(kinds, &path, kind);
            }
        }
    }

    fn kind(&self, kinds: &mut String, path: &str, kind: &'a Value) {
        let name = kind["properties"]["kind"]["const"]
            .as_str()
            .unwrap_or_default();
        let meaning = kind["description"].as_str().unwrap_or_default();
        *kinds += &format!("\n`{path}` of `kind: {name}`: {meaning}\n");
        let (mut rows, mut inner) = (String::new(), String::new());
        self.rows(&mut rows, &mut inner, &format!("{path}."), kind);
        if !rows.is_empty() {
            *kinds += TABLE;
            *kinds += &rows;
        }
        *kinds += &inner;
    }

    /// The schema a property is described by, past references and `null`.
    fn target(&self, property: &'a Value) -> &'a Value {
        if let Some(options) = property["anyOf"].as_array() {
            let other = options.iter().find(|it| it["type"] != "null");
            return other.map_or(property, |it| self.target(it));
        }
        let name = property["$ref"]
            .as_str()
            .and_then(|it| it.strip_prefix("#/$defs/"));
        name.and_then(|name| self.defs.get(name))
            .unwrap_or(property)
    }

    fn value(&self, schema: &'a Value) -> String {
        let choices: Vec<String> = variants(schema)
            .filter_map(|it| {
                it["const"]
                    .as_str()
                    .or(it["properties"]["kind"]["const"].as_str())
            })
            .map(code)
            .collect();
        if !choices.is_empty() {
            let kind = if variants(schema).any(|it| it["properties"]["kind"].is_object()) {
                "`kind`: "
            } else {
                ""
            };
            return format!("{kind}{}", choices.join(", "));
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => return "any JSON".into(),
        };
        let name = names
            .into_iter()
            .find(|it| *it != "null")
            .unwrap_or_default();
        match (name, schema["format"].as_str()) {
            ("string", Some("uri")) => "address".into(),
            ("string", Some("password")) => "secret text".into(),
            ("string", Some("json-pointer")) => "JSON pointer".into(),
            ("string", _) => "text".into(),
            ("boolean", _) => "`true`, `false`".into(),
            ("integer", _) => "whole number".into(),
            ("array", _) => format!("list of {}", self.value(self.target(&schema["items"]))),
            ("object", _) if schema["additionalProperties"].is_object() => {
                format!(
                    "names with {}",
                    self.value(self.target(&schema["additionalProperties"]))
                )
            }
            (name, _) => name.into(),
        }
    }
}

/// The alternatives of a schema that has some.
fn variants(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["oneOf"].as_array().into_iter().flatten()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Text for a cell of a table: one line, and no bars of its own.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
