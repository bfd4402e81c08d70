//! A definition file: what an indicator means, in Danish and English, version by version.

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::Value;

use super::DefinitionRef;
use crate::Mistake;

/// One version of one definition; a row of `ref.definition`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The indicator, as models name it.
    pub definition_id: String,
    /// From 1; a published number names it.
    pub version: u32,
    /// Title in Danish.
    pub title_da: String,
    /// Title in English.
    pub title_en: String,
    /// The definition in Danish.
    pub text_da: String,
    /// The definition in English, with what was decided where the seed leaves it open.
    pub text_en: String,
    /// Which seed document it comes from.
    #[serde(default)]
    pub seed: Option<String>,
    /// The seed's own words.
    #[serde(default)]
    pub quote: Option<String>,
    /// Numbers the definition depends on, such as months and thresholds.
    #[serde(default)]
    pub parameters: Value,
    /// The first day it applies to.
    pub valid_from: NaiveDate,
}

impl Definition {
    /// How models name it, `effect_3m@1`.
    pub fn reference(&self) -> DefinitionRef {
        DefinitionRef {
            id: self.definition_id.clone(),
            version: self.version,
        }
    }
}

/// Reads a definition file: one version, or several as YAML documents parted by `---`.
pub fn parse_definitions(file: &str, text: &str) -> Result<Vec<Definition>, Mistake> {
    let definitions: Vec<Definition> =
        serde_saphyr::from_multiple(text).map_err(|err| Mistake {
            file: file.to_owned(),
            line: err.location().map(|it| it.line()),
            column: err.location().map(|it| it.column()),
            message: crate::first_line(&err.to_string()),
        })?;
    let mut seen = Vec::new();
    for it in &definitions {
        let key = (it.definition_id.as_str(), it.version);
        if it.version == 0 || seen.contains(&key) {
            let message = format!("`{}` has version {} twice, or it is 0", key.0, key.1);
            return Err(Mistake::in_file(file, message));
        }
        seen.push(key);
    }
    Ok(definitions)
}
