//! `releases.yaml`: the kinds of release, held against the models they freeze.

use std::path::Path;

use spec::{Mistake, ReleaseKind, parse_releases};

use crate::{Error, Result, models::Catalog};

/// Reads the kinds; there need not be any.
pub(crate) fn read(path: &Path, catalog: &Catalog) -> Result<Vec<ReleaseKind>> {
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => {
            return Err(Error::Folder {
                path: file,
                reason: err.to_string(),
            });
        }
    };
    let kinds = parse_releases(&file, &text).map_err(Error::Models)?;
    let mistakes: Vec<Mistake> = kinds
        .iter()
        .flat_map(|kind| unknown(kind, catalog).map(move |problem| (kind, problem)))
        .map(|(kind, problem)| Mistake {
            file: file.clone(),
            line: Some(kind.line),
            column: None,
            message: format!("`{}`: {problem}", kind.name),
        })
        .collect();
    if mistakes.is_empty() {
        Ok(kinds)
    } else {
        Err(Error::Models(mistakes))
    }
}

/// Tables and columns that no model has.
fn unknown<'a>(kind: &'a ReleaseKind, catalog: &'a Catalog) -> impl Iterator<Item = String> + 'a {
    kind.tables.iter().flat_map(|it| {
        let Some(node) = catalog.node(&it.table) else {
            return vec![format!(
                "tables: there is no model {}; put its file in models/mart, or take it out here",
                it.table
            )];
        };
        let known: Vec<&str> = node.columns().into_iter().map(|it| it.0).collect();
        let wrong = it.columns().filter(|(_, column)| !known.contains(column));
        wrong
            .map(|(key, column)| format!("{key}: {} has no column `{column}`", it.table))
            .collect()
    })
}
