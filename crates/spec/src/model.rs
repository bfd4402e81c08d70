//! A model file: a header of a few comment keys, then plain SQL with a comment on each output column.
//!
//! ```sql
//! -- doc: Effects of every offer, one half-year at a time.
//! -- grain: municipality_code, period, offer_id
//! -- partition_by: municipality_code
//! -- definition: effect_1m@1, effect_3m@1
//! -- references: offer_id -> core.offer.offer_id
//! -- check: effect_is_a_share: effect_1m between 0 and 1
//! -- warn: somebody_finished: finished > 0
//! -- set_aside: offer_is_known: offer_name is not null
//! select
//!     municipality_code, -- The municipality that bought it.
//!     ...
//! ```
//!
//! A header line that begins with no key goes on with the one before.

mod columns;
mod definition;
mod question;

use crate::Mistake;

pub use columns::ColumnDoc;
pub use definition::{Definition, parse_definitions};
pub use question::{Question, parse_question};

/// One model, as far as its text tells; its types and the tables it reads come from the SQL engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The folder: `core` or `mart`.
    pub schema: String,
    /// The file name without `.sql`.
    pub name: String,
    /// The file as the caller named it.
    pub file: String,
    /// What the table holds, for its readers.
    pub doc: String,
    /// The columns that tell rows apart; unique together and never null.
    pub grain: Vec<String>,
    /// The columns whose values split the table into folders; often none.
    pub partition_by: Vec<String>,
    /// The definitions its numbers follow.
    pub definitions: Vec<DefinitionRef>,
    /// What has to hold for every row.
    pub checks: Vec<Check>,
    /// Columns whose values have to be found in another table.
    pub references: Vec<Reference>,
    /// The output columns, in order.
    pub columns: Vec<ColumnDoc>,
    /// The whole file: the header is comments, so lines of SQL errors are lines of the file.
    pub sql: String,
}

/// A definition and its version, written `effect_3m@1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionRef {
    /// The definition's id.
    pub id: String,
    /// Its version, from 1.
    pub version: u32,
}

impl std::fmt::Display for DefinitionRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

/// A predicate that is never false; null passes, as in a SQL check constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Lower snake case, unique in the model.
    pub name: String,
    /// What happens where it fails.
    pub severity: Severity,
    /// SQL over the model's columns.
    pub predicate: String,
    /// The line it stands on, from 1.
    pub line: u64,
}

/// What a failed check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rows that fail are left out of the table and counted; the build goes on.
    SetAside,
    /// It is told; the build goes on.
    Warning,
    /// Nothing of the build is published.
    Error,
}

impl Severity {
    /// `set_aside`, `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SetAside => "set_aside",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A column whose values, where not null, are values of a column elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The model's column.
    pub column: String,
    /// The table it points to, `core.offer`.
    pub table: String,
    /// The column there.
    pub target: String,
    /// What happens where one is not found.
    pub severity: Severity,
    /// The line it stands on, from 1; 0 where no file says it.
    pub line: u64,
}

impl DefinitionRef {
    /// Reads `effect_3m@1`; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, version) = text.split_once('@')?;
        let version = version.parse().ok().filter(|it| *it > 0)?;
        is_name(id).then(|| Self {
            id: id.to_owned(),
            version,
        })
    }
}

impl Model {
    /// `mart.offer_overview`.
    pub fn table(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The first line whose SQL names `word`, such as a table; comments do not count.
    pub fn line_of(&self, word: &str) -> Option<u64> {
        columns::line_of(&self.sql, word)
    }

    /// A mistake in this model's file.
    pub fn mistake(&self, line: Option<u64>, message: impl Into<String>) -> Mistake {
        mistake(&self.file, line, message)
    }
}

const KEYS: &str = "doc, grain, partition_by, definition, references, check, warn, set_aside";

/// Reads a model file. `file` is how mistakes name it.
pub fn parse_model(schema: &str, name: &str, file: &str, text: &str) -> Result<Model, Mistake> {
    let mut model = Model {
        schema: schema.to_owned(),
        name: name.to_owned(),
        file: file.to_owned(),
        doc: String::new(),
        grain: Vec::new(),
        partition_by: Vec::new(),
        definitions: Vec::new(),
        checks: Vec::new(),
        references: Vec::new(),
        columns: columns::output_columns(text)
            .map_err(|(line, message)| mistake(file, line, message))?,
        sql: text.to_owned(),
    };
    if !is_name(name) {
        return Err(mistake(
            file,
            None,
            format!("a table cannot be called `{name}`; use lower case, digits and `_`"),
        ));
    }
    for entry in header(file, text, KEYS)? {
        model.take(&entry)?;
    }
    model.complete()?;
    Ok(model)
}

/// A header key with its value, continuation lines joined by spaces.
struct Entry {
    line: u64,
    key: String,
    value: String,
}

/// The header of a file that knows some keys.
fn header(file: &str, text: &str, keys: &str) -> Result<Vec<Entry>, Mistake> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, row) in (1_u64..).zip(text.lines()) {
        let row = row.trim();
        if row.is_empty() {
            continue;
        }
        let Some(comment) = row.strip_prefix("--") else {
            break;
        };
        let key = comment
            .strip_prefix(' ')
            .and_then(|it| it.split_once(':'))
            .filter(|(key, _)| is_name(key));
        if let Some((key, value)) = key {
            if !keys.split(", ").any(|known| known == key) {
                return Err(mistake(
                    file,
                    Some(line),
                    format!(
                        "`{key}` is no header key; one of {keys} (text that goes on from the line before is indented more)"
                    ),
                ));
            }
            entries.push(Entry {
                line,
                key: key.to_owned(),
                value: value.trim().to_owned(),
            });
        } else if let Some(last) = entries.last_mut() {
            last.value.push(' ');
            last.value.push_str(comment.trim());
        } else {
            return Err(mistake(
                file,
                Some(line),
                "the header begins with `-- doc: what the table holds`",
            ));
        }
    }
    Ok(entries)
}

impl Model {
    fn take(&mut self, entry: &Entry) -> Result<(), Mistake> {
        let wrong = |message: String| mistake(&self.file, Some(entry.line), message);
        let value = entry.value.trim();
        if value.is_empty() {
            return Err(wrong(format!("`{}` is empty", entry.key)));
        }
        match entry.key.as_str() {
            "doc" if !self.doc.is_empty() => return Err(wrong("`doc` is there twice".to_owned())),
            "doc" => self.doc = value.to_owned(),
            "grain" => self.grain.extend(names(value).map_err(wrong)?),
            "partition_by" => self.partition_by.extend(names(value).map_err(wrong)?),
            "definition" => {
                for item in value.split(',') {
                    let found = DefinitionRef::parse(item.trim()).ok_or_else(|| {
                        wrong(format!(
                            "`{}` is no definition such as effect_3m@1",
                            item.trim()
                        ))
                    })?;
                    self.definitions.push(found);
                }
            }
            "references" => {
                let reference = reference(value, entry.line).ok_or_else(|| {
                    wrong(format!(
                        "`{value}` is no reference such as `offer_id -> core.offer.offer_id`"
                    ))
                })?;
                self.references.push(reference);
            }
            _ => {
                let check = check(entry).map_err(wrong)?;
                if self.checks.iter().any(|it| it.name == check.name) {
                    return Err(wrong(format!(
                        "there are two checks called `{}`",
                        check.name
                    )));
                }
                self.checks.push(check);
            }
        }
        Ok(())
    }

    /// What can only be said once everything is read.
    fn complete(&self) -> Result<(), Mistake> {
        if self.doc.is_empty() {
            return Err(self.mistake(
                Some(1),
                "the header says no `doc`; begin with `-- doc: what the table holds`",
            ));
        }
        if self.grain.is_empty() {
            return Err(self.mistake(
                Some(1),
                "the header says no `grain`; name the columns that tell rows apart: `-- grain: a, b`",
            ));
        }
        let named = [("grain", &self.grain), ("partition_by", &self.partition_by)];
        let references: Vec<String> = self.references.iter().map(|it| it.column.clone()).collect();
        for (key, columns) in named.into_iter().chain([("references", &references)]) {
            for column in columns {
                if !self.columns.iter().any(|it| &it.name == column) {
                    let known: Vec<&str> = self.columns.iter().map(|it| it.name.as_str()).collect();
                    return Err(self.mistake(
                        Some(1),
                        format!(
                            "`{key}` names `{column}`, which the query does not give; it gives {}",
                            known.join(", ")
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn names(value: &str) -> Result<Vec<String>, String> {
    value
        .split(',')
        .map(|it| it.trim())
        .map(|it| {
            if is_name(it) {
                Ok(it.to_owned())
            } else {
                Err(format!("`{it}` is no column name"))
            }
        })
        .collect()
}

fn reference(text: &str, line: u64) -> Option<Reference> {
    let (column, target) = text.split_once("->")?;
    let (table, target) = target.trim().rsplit_once('.')?;
    let column = column.trim();
    let is_table = table
        .split_once('.')
        .is_some_and(|(a, b)| is_name(a) && is_name(b));
    (is_name(column) && is_name(target) && is_table).then(|| Reference {
        column: column.to_owned(),
        table: table.to_owned(),
        target: target.to_owned(),
        severity: Severity::Error,
        line,
    })
}

fn check(entry: &Entry) -> Result<Check, String> {
    let shape = || format!("write `-- {}: name: predicate`", entry.key);
    let (name, predicate) = entry.value.split_once(':').ok_or_else(shape)?;
    let (name, predicate) = (name.trim(), predicate.trim());
    if !is_name(name) || predicate.is_empty() {
        return Err(shape());
    }
    Ok(Check {
        name: name.to_owned(),
        severity: match entry.key.as_str() {
            "set_aside" => Severity::SetAside,
            "warn" => Severity::Warning,
            _ => Severity::Error,
        },
        predicate: predicate.to_owned(),
        line: entry.line,
    })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_lowercase() || it == '_')
        && text
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

fn mistake(file: &str, line: Option<u64>, message: impl Into<String>) -> Mistake {
    Mistake {
        file: file.to_owned(),
        line,
        column: None,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
