//! Errors as PostgreSQL clients expect them: a five-letter SQLSTATE and a sentence.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use pgwire::error::{ErrorInfo, PgWireError};

use crate::catalog::SEARCH_PATH;

/// An error that ends the statement.
pub(crate) fn error(code: &str, message: impl Into<String>) -> PgWireError {
    with_hint(code, message, None)
}

/// An error that ends the connection.
pub(crate) fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    let mut info = ErrorInfo::new("FATAL".into(), code.into(), message.into());
    info.severity_nonlocalized = Some("FATAL".into());
    PgWireError::UserError(Box::new(info))
}

/// An error with a next step.
pub(crate) fn with_hint(
    code: &str,
    message: impl Into<String>,
    hint: Option<String>,
) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".into(), code.into(), message.into());
    info.severity_nonlocalized = Some("ERROR".into());
    info.hint = hint;
    PgWireError::UserError(Box::new(info))
}

/// The SQLSTATE of an error.
pub(crate) fn code(error: &PgWireError) -> &str {
    match error {
        PgWireError::UserError(info) => &info.code,
        // What pgwire finds wrong with a message, or the socket.
        _ => "08P01",
    }
}

/// The answer to everything that would write.
pub(crate) fn read_only(tag: &str) -> PgWireError {
    with_hint(
        "25006",
        format!("cannot execute {tag} in a read-only transaction"),
        Some("the warehouse is written by pipelines only; add a model under pipelines/models instead".into()),
    )
}

/// What DataFusion says, in PostgreSQL's terms.
pub(crate) fn from_datafusion(error: &DataFusionError) -> PgWireError {
    let root = error.find_root();
    let text = contract::scrub(&message_of(root)).into_owned();
    if text.contains("Physical plan does not support") {
        return self::error("0A000", text);
    }
    match root {
        DataFusionError::SchemaError(cause, _) => schema_error(cause),
        DataFusionError::SQL(..) => self::error("42601", text),
        DataFusionError::NotImplemented(_) => self::error("0A000", text),
        DataFusionError::ResourcesExhausted(_) => with_hint(
            "53200",
            text,
            Some(
                "filter on municipality_code or a shorter period, or ask for fewer columns".into(),
            ),
        ),
        DataFusionError::ArrowError(cause, _) => self::error(arrow_code(cause), text),
        DataFusionError::Plan(_) => plan_error(&text),
        DataFusionError::Execution(_) => self::error(value_code(&text).unwrap_or("XX000"), text),
        DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ParquetError(_) => {
            self::error("58030", format!("cannot read the table's files: {text}"))
        }
        DataFusionError::External(cause) => match cause.downcast_ref::<ArrowError>() {
            Some(cause) => self::error(arrow_code(cause), text),
            None => self::error("XX000", text),
        },
        _ => self::error("XX000", text),
    }
}

fn message_of(error: &DataFusionError) -> String {
    let whole = error.message().into_owned();
    whole
        .split("\n\nbacktrace:")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

fn schema_error(cause: &SchemaError) -> PgWireError {
    match cause {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let mut hint = valid_fields
                .iter()
                .take(12)
                .map(|column| column.name.clone())
                .collect::<Vec<_>>();
            if valid_fields.len() > hint.len() {
                hint.push("…".into());
            }
            let hint = (!hint.is_empty()).then(|| format!("columns there: {}", hint.join(", ")));
            let name = match &field.relation {
                Some(relation) => format!("column {}.{}", relation.table(), field.name),
                None => format!("column \"{}\"", field.name),
            };
            with_hint("42703", format!("{name} does not exist"), hint)
        }
        SchemaError::AmbiguousReference { field } => error(
            "42702",
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => error(
            "42701",
            format!("column \"{name}\" appears more than once; give one of them another name"),
        ),
    }
}

fn plan_error(text: &str) -> PgWireError {
    if let Some(name) = between(text, "table '", "' not found") {
        let mut parts = name.split('.').skip(1).filter(|part| *part != SEARCH_PATH);
        let schema_or_table = parts.next().unwrap_or(name);
        let name = parts.next().map_or_else(
            || schema_or_table.to_owned(),
            |table| format!("{schema_or_table}.{table}"),
        );
        return error("42P01", format!("relation \"{name}\" does not exist"));
    }
    if text.contains("failed to resolve schema") || text.contains("failed to resolve catalog") {
        return error("3F000", text);
    }
    if text.starts_with("Invalid function")
        || text.starts_with("Unknown function")
        || text.contains("table function")
    {
        return error("42883", text);
    }
    if text.contains("GROUP BY") || text.contains("aggregate") {
        return error("42803", text);
    }
    if text.contains("does not support")
        || text.contains("not supported")
        || text.contains("Unsupported")
    {
        return error("0A000", text);
    }
    if [
        "coerce",
        "No function matches",
        "Function '",
        "Cannot cast",
        "cast",
        "type",
    ]
    .iter()
    .any(|w| text.contains(w))
    {
        return error("42804", text);
    }
    error("42601", text)
}

fn arrow_code(cause: &ArrowError) -> &'static str {
    match cause {
        ArrowError::DivideByZero => "22012",
        ArrowError::ArithmeticOverflow(_) => "22003",
        ArrowError::CastError(_) | ArrowError::ParseError(_) => {
            value_code(&cause.to_string()).unwrap_or("22P02")
        }
        ArrowError::NotYetImplemented(_) => "0A000",
        ArrowError::ComputeError(_) | ArrowError::InvalidArgumentError(_) => {
            value_code(&cause.to_string()).unwrap_or("22023")
        }
        ArrowError::MemoryError(_) => "53200",
        ArrowError::IoError(..) | ArrowError::ParquetError(_) => "58030",
        _ => "XX000",
    }
}

fn value_code(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let has = |word: &str| lower.contains(word);
    if has("divide by zero") || has("division by zero") {
        Some("22012")
    } else if has("overflow") || has("out of range") || has("can't cast value") {
        Some("22003")
    } else if (has("timestamp") || has("date")) && (has("parsing") || has("cannot cast string")) {
        Some("22007")
    } else if has("cannot cast string") || has("error parsing") || has("failed to parse") {
        Some("22P02")
    } else {
        None
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(name, _)| name)
}
