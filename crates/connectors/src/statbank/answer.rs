//! Answers of Statistics Denmark as batches, from CSV and from JSON-stat.

use std::io::Cursor;

use chrono::SecondsFormat;
use connector_api::{Batch, Error, Reject, Result};
use encoding_rs::UTF_8;
use fetch::Reply;
use serde_json::Value;

use super::{
    pivot::{Cell, Pivot},
    selection::Selected,
    table::TableInfo,
};
use crate::{delimited::Rows, failure::failure, records::text, rows::TextRows};

/// Which answer it is.
pub(super) struct Answer<'a> {
    pub(super) table: &'a TableInfo,
    /// Counted from 1.
    pub(super) part: usize,
    /// The variable whose values share a row.
    pub(super) side_by_side: Option<&'a Selected>,
}

impl Answer<'_> {
    /// Semicolons, a byte order mark, the variables and last the number.
    pub(super) fn csv(&self, body: Vec<u8>) -> Result<Vec<Batch>> {
        let mut rows = Rows::new(Cursor::new(body), UTF_8, b';');
        let unreadable =
            |why: &str| Error::Delivery(format!("the CSV of table {}: {why}", self.table.id));
        let interrupted = |err: std::io::Error| unreadable(&err.to_string());
        let header = rows
            .next()
            .map_err(interrupted)?
            .ok_or_else(|| unreadable("there is nothing in it"))?;
        let header = header.fields.map_err(|fault| unreadable(fault.reason()))?;
        let mut variables: Vec<String> = header.iter().map(str::to_uppercase).collect();
        if variables.pop().is_none_or(|last| last != "INDHOLD") || variables.is_empty() {
            return Err(unreadable("the last column is not INDHOLD"));
        }
        let mut output = Output::new(self, &variables)
            .map_err(|what| unreadable(&format!("it has no {what}")))?;
        let mut number = 0;
        while let Some(row) = rows.next().map_err(interrupted)? {
            number += 1;
            let raw = || String::from_utf8_lossy(row.raw).into_owned();
            match row.fields {
                Ok(fields) if fields.len() == variables.len() + 1 => {
                    let codes = fields.iter().take(variables.len());
                    let found = fields.iter().last().unwrap_or_default();
                    output.push(number, codes, found, raw)?;
                }
                Ok(fields) => {
                    let reason = format!(
                        "fields: {}, where the header has {}",
                        fields.len(),
                        variables.len() + 1
                    );
                    output.reject(number, raw(), reason)?;
                }
                Err(fault) => output.reject(number, raw(), fault.reason().to_owned())?,
            }
        }
        output.finish()
    }

    /// JSON-stat version 1, one data set: codes by dimension, and numbers in row-major order.
    pub(super) fn json_stat(&self, reply: &Reply) -> Result<Vec<Batch>> {
        let body = reply.json().map_err(failure)?;
        let unreadable =
            |what: &str| failure(reply.unreadable(format!("the JSON-stat has no readable {what}")));
        let data = body.get("dataset").unwrap_or(&body);
        let dimensions = dimensions(data).ok_or_else(|| unreadable("dimensions"))?;
        let value = &data["value"];
        let rows: usize = dimensions.iter().map(|it| it.codes.len()).product();
        if !value.is_object() && value.as_array().is_none_or(|it| it.len() != rows) {
            return Err(unreadable("numbers, one for each combination"));
        }
        let shown: Vec<&Dimension> = dimensions.iter().filter(|it| it.is_shown()).collect();
        let names: Vec<String> = shown.iter().map(|it| it.id.to_uppercase()).collect();
        let mut output = Output::new(self, &names).map_err(|what| unreadable(&what))?;
        for row in 0..rows {
            let number = at(value, row).and_then(text);
            let found = number.or_else(|| at(&data["status"], row).and_then(text));
            let found = found.unwrap_or_else(|| "..".to_owned());
            let codes: Vec<&str> = codes(&dimensions, row);
            let raw = || format!("{}: {found}", codes.join("; "));
            output.push(row + 1, codes.iter().copied(), &found, raw)?;
        }
        output.finish()
    }
}

/// A dimension of a JSON-stat data set.
struct Dimension {
    id: String,
    codes: Vec<String>,
    is_metric: bool,
}

impl Dimension {
    /// The kind of number is no column while there is only one kind.
    fn is_shown(&self) -> bool {
        !self.is_metric || self.codes.len() > 1
    }
}

fn dimensions(data: &Value) -> Option<Vec<Dimension>> {
    let dimension = data.get("dimension")?;
    let metrics = dimension["role"]["metric"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let ids = dimension["id"].as_array()?;
    ids.iter()
        .map(|id| {
            let name = id.as_str()?;
            Some(Dimension {
                id: name.to_owned(),
                codes: category(&dimension[name]["category"])?,
                is_metric: metrics.contains(id),
            })
        })
        .collect()
}

/// The codes of a category in their order: `index` is a list of codes, or says the place of each; a
/// category of one may have only a `label`.
fn category(category: &Value) -> Option<Vec<String>> {
    match (&category["index"], &category["label"]) {
        (Value::Array(codes), _) => codes
            .iter()
            .map(|it| it.as_str().map(str::to_owned))
            .collect(),
        (Value::Object(places), _) => {
            let mut codes = vec![String::new(); places.len()];
            for (code, place) in places {
                let place = usize::try_from(place.as_u64()?).ok()?;
                code.clone_into(codes.get_mut(place)?);
            }
            Some(codes)
        }
        (_, Value::Object(labels)) if labels.len() == 1 => Some(labels.keys().cloned().collect()),
        _ => None,
    }
}

/// The codes of row `row` in the dimensions that are shown.
fn codes(dimensions: &[Dimension], mut row: usize) -> Vec<&str> {
    let mut codes = Vec::with_capacity(dimensions.len());
    for dimension in dimensions.iter().rev() {
        let (rest, place) = (row / dimension.codes.len(), row % dimension.codes.len());
        row = rest;
        if dimension.is_shown() {
            codes.push(dimension.codes[place].as_str());
        }
    }
    codes.reverse();
    codes
}

/// A member of a list, or of an object with places for names.
fn at(values: &Value, place: usize) -> Option<&Value> {
    match values {
        Value::Array(values) => values.get(place),
        Value::Object(values) => values.get(&place.to_string()),
        _ => None,
    }
}

/// Rows on their way out, with the columns every table has.
struct Output {
    names: Vec<String>,
    table: String,
    updated: String,
    part: usize,
    pivot: Option<Pivot>,
    rows: TextRows,
    full: Vec<Batch>,
}

impl Output {
    fn new(answer: &Answer<'_>, variables: &[String]) -> Result<Self, String> {
        let mut names = variables.to_vec();
        let mut pivot = None;
        if let Some(variable) = answer.side_by_side {
            let place = names.iter().position(|it| *it == variable.code);
            let place = place.ok_or_else(|| format!("variable {}", variable.code))?;
            names.remove(place);
            pivot = Some(Pivot::new(place, variable.values.clone()));
        }
        match &pivot {
            Some(pivot) => names.extend(pivot.columns()),
            None => names.extend(["INDHOLD", "MARKER"].map(str::to_owned)),
        }
        names.extend(["TABLE_ID", "UPDATED"].map(str::to_owned));
        Ok(Self {
            rows: TextRows::new(&names),
            names,
            table: answer.table.id.clone(),
            updated: answer
                .table
                .updated()
                .to_rfc3339_opts(SecondsFormat::Secs, true),
            part: answer.part,
            pivot,
            full: Vec::new(),
        })
    }

    fn push<'a>(
        &mut self,
        number: usize,
        codes: impl Iterator<Item = &'a str>,
        found: &str,
        raw: impl Fn() -> String,
    ) -> Result<()> {
        let cell = match number_or_marker(found) {
            Ok(Some(number)) => Cell {
                value: Some(number),
                marker: None,
            },
            Ok(None) => Cell {
                value: None,
                marker: Some(found.trim().to_owned()).filter(|it| !it.is_empty()),
            },
            Err(reason) => return self.reject(number, raw(), reason),
        };
        let codes: Vec<&str> = codes.collect();
        match &mut self.pivot {
            None => self.write(number, &codes, &[cell]),
            Some(pivot) => match pivot.add(number, &codes, cell) {
                Ok(()) => Ok(()),
                Err(reason) => self.reject(number, raw(), reason),
            },
        }
    }

    /// Writes a row: codes, then a number and a marker for each cell, then what every row has.
    fn write(&mut self, number: usize, codes: &[&str], cells: &[Cell]) -> Result<()> {
        let cells = cells
            .iter()
            .flat_map(|it| [it.value.as_deref(), it.marker.as_deref()]);
        let added = [Some(self.table.as_str()), Some(self.updated.as_str())];
        let codes = codes.iter().map(|it| Some(*it));
        self.rows
            .push(origin(self.part, number), codes.chain(cells).chain(added));
        self.make_room()
    }

    fn reject(&mut self, number: usize, raw: String, reason: String) -> Result<()> {
        let origin = origin(self.part, number);
        self.rows.reject(Reject {
            origin,
            raw,
            reason,
        });
        self.make_room()
    }

    fn make_room(&mut self) -> Result<()> {
        if self.rows.is_full() {
            let full = std::mem::replace(&mut self.rows, TextRows::new(&self.names));
            self.full.push(full.finish()?);
        }
        Ok(())
    }

    /// At least one batch, so that there is one to carry the position.
    fn finish(mut self) -> Result<Vec<Batch>> {
        if let Some(pivot) = self.pivot.take() {
            for row in pivot.into_rows() {
                let codes: Vec<&str> = row.rest.iter().map(String::as_str).collect();
                let cells: Vec<Cell> = row
                    .cells
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect();
                self.write(row.number, &codes, &cells)?;
            }
        }
        self.full.push(self.rows.finish()?);
        Ok(self.full)
    }
}

fn origin(part: usize, number: usize) -> String {
    format!("page {part} record {number}")
}

/// A number with a decimal point, or none where a marker stands in its place.
fn number_or_marker(found: &str) -> Result<Option<String>, String> {
    let found = found.trim();
    if matches!(found, "" | ".." | "." | "-" | "..." | "…" | "·") {
        return Ok(None);
    }
    let number = found.replace(',', ".");
    let is_number = number
        .bytes()
        .all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it))
        && number.parse::<f64>().is_ok_and(f64::is_finite);
    if is_number {
        return Ok(Some(number));
    }
    Err(format!("`{found}` is neither a number nor a known marker"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_a_decimal_point_and_markers_none() {
        for (found, expected) in [
            ("12,5", "12.5"),
            ("12.5", "12.5"),
            ("-3", "-3"),
            (" 0 ", "0"),
            ("1e5", "1e5"),
        ] {
            assert_eq!(
                number_or_marker(found),
                Ok(Some(expected.into())),
                "{found}"
            );
        }
        for found in ["..", ".", "-", "", " … "] {
            assert_eq!(number_or_marker(found), Ok(None), "{found}");
        }
        for found in ["1.234,5", "x", "inf", "1 2"] {
            assert!(number_or_marker(found).is_err(), "{found}");
        }
    }

    #[test]
    fn rows_are_counted_off_with_the_last_dimension_fastest() {
        let dimension = |id: &str, codes: &[&str], is_metric| Dimension {
            id: id.into(),
            codes: codes.iter().map(|it| (*it).to_owned()).collect(),
            is_metric,
        };
        let dimensions = [
            dimension("A", &["a", "b"], false),
            dimension("ContentsCode", &["T"], true),
            dimension("Tid", &["1", "2", "3"], false),
        ];
        let rows: Vec<String> = (0..6).map(|row| codes(&dimensions, row).concat()).collect();
        assert_eq!(rows, ["a1", "a2", "a3", "b1", "b2", "b3"]);
    }
}
