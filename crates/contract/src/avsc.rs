//! Reads one `.avsc` file; the build script checks every file with it.

use serde_json::{Map, Value};

/// One column of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// What it holds, in a sentence.
    pub doc: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it says about a person.
    pub pii: Pii,
    /// The values allowed, for a closed set; empty for any value.
    pub values: Vec<String>,
    /// The code list its values come from.
    pub code_list: Option<CodeRef>,
    /// Least value allowed.
    pub minimum: Option<f64>,
    /// Greatest value allowed.
    pub maximum: Option<f64>,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A finite floating-point number.
    Double,
    /// True or false.
    Bool,
    /// UTF-8.
    Text,
    /// A civil date in Europe/Copenhagen.
    Date,
    /// An instant, microseconds, UTC.
    Timestamp,
    /// A decimal number.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
}

/// What a column says about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pii {
    /// Nothing.
    None,
    /// It is the person's keyed pseudonym.
    Pseudonym,
    /// A fact about the person or a number of theirs; with others it may identify them.
    Indirect,
    /// Written by people; it may hold anything.
    FreeText,
}

/// Where the codes of a column are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRef {
    /// The list: `schemas/reference/<list>.csv`.
    pub list: String,
    /// The column with the date on which the code must be valid; without one it must be known at all.
    pub date: Option<String>,
}

/// A parsed file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) key: Vec<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) ordered: Vec<(String, String)>,
}

impl Record {
    /// The rules every entity keeps, beyond being readable.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, kind) in [
            ("municipality_code", Kind::Int),
            ("updated_at", Kind::Timestamp),
        ] {
            if self.field(name)?.kind != kind || self.field(name)?.nullable {
                return Err(format!("{name} must be a required {kind:?}"));
            }
        }
        if self.key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        for name in &self.key {
            if self.field(name)?.nullable {
                return Err(format!("{name} is part of the key and may not be null"));
            }
        }
        for (low, high) in &self.ordered {
            if self.field(low)?.kind != self.field(high)?.kind {
                return Err(format!("{low} and {high} cannot be compared"));
            }
        }
        for field in &self.fields {
            self.check_field(field)
                .map_err(|reason| format!("{}: {reason}", field.name))?;
        }
        Ok(())
    }

    fn check_field(&self, field: &Field) -> Result<(), String> {
        let text = field.kind == Kind::Text;
        let number = matches!(
            field.kind,
            Kind::Int | Kind::Long | Kind::Double | Kind::Decimal { .. }
        );
        if !field.values.is_empty() && !text {
            return Err("`values` are for strings".to_owned());
        }
        if (field.minimum.is_some() || field.maximum.is_some()) && !number {
            return Err("`minimum` and `maximum` are for numbers".to_owned());
        }
        if matches!(field.pii, Pii::Pseudonym | Pii::FreeText) && !text {
            return Err("a pseudonym or free text is a string".to_owned());
        }
        if let Some(code) = &field.code_list {
            if !matches!(field.kind, Kind::Text | Kind::Int) {
                return Err("codes are strings or ints".to_owned());
            }
            if let Some(date) = &code.date
                && self.field(date)?.kind != Kind::Date
            {
                return Err(format!("`code_date` {date} is not a date"));
            }
        }
        Ok(())
    }

    fn field(&self, name: &str) -> Result<&Field, String> {
        let field = self.fields.iter().find(|field| field.name == name);
        field.ok_or_else(|| format!("there is no field {name}"))
    }
}

/// Reads a file. The reason of a failure names the attribute, not the file.
pub(crate) fn parse(text: &str) -> Result<Record, String> {
    let value: Value = serde_json::from_str(text).map_err(|err| err.to_string())?;
    let record = object(&value, "the schema")?;
    known(
        record,
        &[
            "type",
            "name",
            "namespace",
            "doc",
            "key",
            "ordered",
            "fields",
        ],
    )?;
    if record.get("type") != Some(&Value::from("record")) {
        return Err("`type` must be record".to_owned());
    }
    let mut ordered = Vec::new();
    for pair in list(record, "ordered")? {
        match texts(pair)?.as_slice() {
            [low, high] => ordered.push((low.clone(), high.clone())),
            _ => return Err("`ordered` holds pairs".to_owned()),
        }
    }
    let fields = list(record, "fields")?.iter().map(field);
    Ok(Record {
        name: text_of(record, "name")?,
        doc: text_of(record, "doc")?,
        key: texts(record.get("key").unwrap_or(&Value::Null))?,
        fields: fields.collect::<Result<_, _>>()?,
        ordered,
    })
}

fn field(value: &Value) -> Result<Field, String> {
    let field = object(value, "a field")?;
    let name = text_of(field, "name")?;
    read_field(field, &name).map_err(|reason| format!("{name}: {reason}"))
}

fn read_field(field: &Map<String, Value>, name: &str) -> Result<Field, String> {
    known(
        field,
        &[
            "name",
            "type",
            "default",
            "doc",
            "pii",
            "values",
            "code_list",
            "code_date",
            "minimum",
            "maximum",
        ],
    )?;
    let ty = field.get("type").ok_or("`type` is missing")?;
    let (nullable, ty) = match ty.as_array().map(Vec::as_slice) {
        Some([null, ty]) if null == "null" => (true, ty),
        Some(_) => return Err("a union is written [\"null\", type]".to_owned()),
        None => (false, ty),
    };
    if nullable != field.get("default").is_some_and(Value::is_null) {
        return Err("nullable fields, and only they, have `default` null".to_owned());
    }
    let code_date = optional(field, "code_date", |value| {
        value.as_str().map(str::to_owned)
    })?;
    let code_list = optional(field, "code_list", |value| {
        value.as_str().map(str::to_owned)
    })?
    .map(|list| CodeRef {
        list,
        date: code_date,
    });
    Ok(Field {
        name: name.to_owned(),
        doc: text_of(field, "doc")?,
        kind: kind(ty)?,
        nullable,
        pii: match text_of(field, "pii")?.as_str() {
            "none" => Pii::None,
            "pseudonym" => Pii::Pseudonym,
            "indirect" => Pii::Indirect,
            "free_text" => Pii::FreeText,
            other => return Err(format!("`pii` {other} is not known")),
        },
        values: field.get("values").map_or(Ok(Vec::new()), texts)?,
        code_list,
        minimum: optional(field, "minimum", Value::as_f64)?,
        maximum: optional(field, "maximum", Value::as_f64)?,
    })
}

fn kind(ty: &Value) -> Result<Kind, String> {
    let part = |name: &str| ty.get(name).and_then(Value::as_str);
    let plain = ty.as_str().or_else(|| part("type"));
    let kind = match (plain, part("logicalType")) {
        (Some("int"), None) => Kind::Int,
        (Some("long"), None) => Kind::Long,
        (Some("double"), None) => Kind::Double,
        (Some("boolean"), None) => Kind::Bool,
        (Some("string"), None) => Kind::Text,
        (Some("int"), Some("date")) => Kind::Date,
        (Some("long"), Some("timestamp-micros")) => Kind::Timestamp,
        (Some("bytes"), Some("decimal")) => Kind::Decimal {
            precision: digits(ty, "precision")?,
            scale: digits(ty, "scale")?,
        },
        _ => return Err(format!("type {ty} is not one of ours")),
    };
    Ok(kind)
}

fn digits<T: TryFrom<i64>>(ty: &Value, name: &str) -> Result<T, String> {
    let number = ty.get(name).and_then(Value::as_i64);
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("`{name}` must be a small number"))
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{what} must be a JSON object"))
}

fn known(object: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(format!("`{key}` is not an attribute we know")),
        None => Ok(()),
    }
}

fn text_of(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    match object.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("`{name}` is missing")),
    }
}

fn list<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match object.get(name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("`{name}` must be a list")),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().ok_or("a list of strings is missing")?;
    let items = items.iter().map(|item| item.as_str().map(str::to_owned));
    items
        .collect::<Option<_>>()
        .ok_or_else(|| "a list may hold strings only".to_owned())
}

fn optional<T>(
    object: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, String> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => read(value)
            .map(Some)
            .ok_or_else(|| format!("`{name}` has the wrong type")),
    }
}
