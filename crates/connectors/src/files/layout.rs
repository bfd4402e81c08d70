//! How a file is laid out: the settings that say it, checked.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// What is known of all files of a folder before they are opened.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) delimiter: Option<Delimiter>,
    pub(super) encoding: Encoding,
    pub(super) header_row: u64,
    pub(super) totals_row: bool,
}

/// One ASCII character between fields.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Delimiter(pub(super) u8);

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let byte = match (text.as_str(), text.as_bytes()) {
            ("tab", _) => b'\t',
            (_, &[byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => byte,
            _ => {
                return Err(format!(
                    "`{text}` is no delimiter: use one ASCII character, or `tab`"
                ));
            }
        };
        Ok(Self(byte))
    }
}

impl JsonSchema for Delimiter {
    fn schema_name() -> Cow<'static, str> {
        "Delimiter".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// How bytes become characters.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Encoding {
    /// What the file's own bytes say.
    #[default]
    Auto,
    Named(&'static encoding_rs::Encoding),
}

impl TryFrom<String> for Encoding {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        encoding_rs::Encoding::for_label(text.as_bytes())
            .map(Self::Named)
            .ok_or_else(|| {
                format!("`{text}` is no encoding: use `auto`, `utf-8`, `windows-1252`, `utf-16le`")
            })
    }
}

impl JsonSchema for Encoding {
    fn schema_name() -> Cow<'static, str> {
        "Encoding".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "default": "auto" })
    }
}
