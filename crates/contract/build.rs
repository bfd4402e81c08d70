//! Embeds `schemas/*.avsc` and `schemas/reference/*.csv`, and refuses to build with a wrong one.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the crate's own reader, used here to check only"
)]
#[path = "src/avsc.rs"]
mod avsc;

fn main() -> Result<(), Box<dyn Error>> {
    let schemas = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../schemas");
    let lists = embedded(&schemas.join("reference"), "csv")?;
    let records = embedded(&schemas, "avsc")?;

    for (name, path) in &records {
        let record = avsc::parse(&fs::read_to_string(path)?)
            .and_then(|record| record.check().map(|()| record))
            .map_err(|reason| format!("schemas/{name}.avsc: {reason}"))?;
        if record.name != *name {
            return Err(format!("schemas/{name}.avsc describes {}", record.name).into());
        }
        for field in &record.fields {
            if let Some(code) = &field.code_list
                && !lists.iter().any(|(list, _)| *list == code.list)
            {
                return Err(format!(
                    "schemas/{name}.avsc: {} names the code list {}; add schemas/reference/{}.csv",
                    field.name, code.list, code.list
                )
                .into());
            }
        }
    }

    let mut code = String::new();
    constant(&mut code, "RECORDS", &records)?;
    constant(&mut code, "LISTS", &lists)?;
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("embedded.rs"),
        code,
    )?;
    println!("cargo::rerun-if-changed={}", schemas.display());
    println!("cargo::rerun-if-changed=src/avsc.rs");
    Ok(())
}

/// The files of a folder with this ending, as (stem, path), by name. `quarantine` is no entity.
fn embedded(folder: &Path, ending: &str) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending)
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            && stem != "quarantine"
        {
            files.push((stem.to_owned(), path.canonicalize()?));
        }
    }
    files.sort();
    Ok(files)
}

fn constant(
    code: &mut String,
    name: &str,
    files: &[(String, PathBuf)],
) -> Result<(), Box<dyn Error>> {
    writeln!(code, "pub(crate) const {name}: &[(&str, &str)] = &[")?;
    for (stem, path) in files {
        writeln!(code, "    ({stem:?}, include_str!({path:?})),")?;
    }
    writeln!(code, "];")?;
    Ok(())
}
