//! `pejl docs`: the tables, definitions and entities as a static site.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::Context;
use warehouse::{lineage::Lineage, site};

use crate::{output, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, out: &Path) -> anyhow::Result<u8> {
    let catalog = wiring::catalog(settings)?;
    let lineage = Lineage::read(&catalog).await?;
    let pages = site::pages(&catalog, &lineage);
    write(out, &pages).with_context(|| format!("cannot write {}", out.display()))?;
    output::line(&format!(
        "{} pages; begin with {}",
        pages.len(),
        out.join("index.html").display()
    ))?;
    Ok(0)
}

/// Writes every page, and takes away pages of tables, definitions and entities that are no more.
fn write(out: &Path, pages: &BTreeMap<String, String>) -> std::io::Result<()> {
    let folders: BTreeSet<&str> = pages
        .keys()
        .filter_map(|it| Some(it.split_once('/')?.0))
        .collect();
    for folder in folders {
        fs::create_dir_all(out.join(folder))?;
        for entry in fs::read_dir(out.join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_page = name.ends_with(".html");
            if is_page && !pages.contains_key(&format!("{folder}/{name}")) {
                fs::remove_file(&path)?;
            }
        }
    }
    for (path, text) in pages {
        fs::write(out.join(path), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_no_more_go_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let page = |path: &str| (path.to_owned(), path.to_owned());
        write(
            folder.path(),
            &BTreeMap::from([page("index.html"), page("table/a.html")]),
        )
        .unwrap();
        fs::write(folder.path().join("table/notes.txt"), "mine").unwrap();
        write(
            folder.path(),
            &BTreeMap::from([page("index.html"), page("table/b.html")]),
        )
        .unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path().join("table"))
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["b.html", "notes.txt"]);
    }
}
