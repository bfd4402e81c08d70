//! What people and scripts see on stdout and stderr: tables that align, CSV, JSON, errors with the next step.

use std::io::{self, Write};

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use comfy_table::{Table, presets};

use crate::args::Format;

/// Writes a line to stdout. A closed pipe (`| head`) ends the output, not the program.
pub(crate) fn line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes an error with its causes to stderr.
pub(crate) fn error(err: &anyhow::Error) {
    let mut text = format!("error: {err}");
    for cause in err.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
    }
    // There is no one left to tell when stderr is gone.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Rows under headers, aligned.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Text in lines of at most `width` characters, broken between words; a longer word has a line of its own.
pub(crate) fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.into_iter()
}

/// Rows as the asked format; JSON is one object a line.
pub(crate) fn rows(
    format: Format,
    headers: &[&str],
    rows: &[Vec<String>],
) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table => table(headers, rows),
        Format::Csv => {
            let mut out = csv::Writer::from_writer(Vec::new());
            out.write_record(headers)?;
            for row in rows {
                out.write_record(row)?;
            }
            String::from_utf8(out.into_inner()?)?.trim_end().to_owned()
        }
        Format::Json => {
            let objects = rows.iter().map(|row| {
                let fields = headers
                    .iter()
                    .zip(row)
                    .map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
                serde_json::Value::Object(fields.collect()).to_string()
            });
            objects.collect::<Vec<_>>().join("\n")
        }
    })
}

/// A query's answer as the asked format.
pub(crate) fn batches(format: Format, batches: &[RecordBatch]) -> anyhow::Result<String> {
    match format {
        Format::Json => {
            let mut out = arrow::json::LineDelimitedWriter::new(Vec::new());
            for batch in batches {
                out.write(batch)?;
            }
            out.finish()?;
            Ok(String::from_utf8(out.into_inner())?.trim_end().to_owned())
        }
        Format::Table | Format::Csv => {
            let Some(first) = batches.first() else {
                return Ok(String::new());
            };
            let schema = first.schema();
            let headers: Vec<&str> = schema
                .fields()
                .iter()
                .map(|it| it.name().as_str())
                .collect();
            let mut text = Vec::new();
            for batch in batches {
                append_text(batch, &mut text)?;
            }
            rows(format, &headers, &text)
        }
    }
}

fn append_text(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> anyhow::Result<()> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|it| ArrayFormatter::try_new(it.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        rows.push(columns.iter().map(|it| it.value(row).to_string()).collect());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        let lines: Vec<String> = wrapped("aa bb  cccccc\nd", 5).collect();
        assert_eq!(lines, ["aa bb", "cccccc", "d"]);
    }

    #[test]
    fn rows_in_each_format() {
        let data = [vec!["a".to_owned(), "1,5".to_owned()]];
        let headers = ["name", "value"];
        assert_eq!(
            rows(Format::Csv, &headers, &data).unwrap(),
            "name,value\na,\"1,5\""
        );
        assert_eq!(
            rows(Format::Json, &headers, &data).unwrap(),
            r#"{"name":"a","value":"1,5"}"#
        );
        let table = rows(Format::Table, &headers, &data).unwrap();
        let columns: Vec<usize> = table
            .lines()
            .map(|it| it.find(['v', '1']).unwrap())
            .collect();
        assert_eq!(columns[0], columns[1], "{table}");
    }
}
