//! The site of the real models: everything is there, and every link leads somewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeSet, path::Path};

use super::*;

fn real() -> (Catalog, BTreeMap<String, String>) {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let catalog = Catalog::read(&pipelines.join("models"), &pipelines.join("definitions")).unwrap();
    let (catalog, lineage) = crate::lineage::read_deeply(catalog);
    let pages = pages(&catalog, &lineage);
    (catalog, pages)
}

/// The values of an attribute, in order.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    let parts = page.split(begin.as_str()).skip(1);
    parts.map(|it| it.split('"').next().unwrap()).collect()
}

/// The path that `link` on the page at `from` names, and the place in it.
fn resolved<'a>(from: &str, link: &'a str) -> (String, Option<&'a str>) {
    let (path, place) = match link.split_once('#') {
        Some((path, place)) => (path, Some(place)),
        None => (link, None),
    };
    let folder = from.rsplit_once('/').map_or("", |it| it.0);
    let path = match path.strip_prefix("../") {
        Some(rest) => {
            assert!(
                !folder.is_empty() && !folder.contains('/'),
                "{from}: {link}"
            );
            rest.to_owned()
        }
        None if folder.is_empty() => path.to_owned(),
        None => format!("{folder}/{path}"),
    };
    (path, place)
}

#[test]
fn every_link_leads_to_a_page_and_a_place_on_it() {
    let (_, pages) = real();
    let places: BTreeMap<&str, BTreeSet<&str>> = pages
        .iter()
        .map(|(path, text)| (path.as_str(), values(text, "id").into_iter().collect()))
        .collect();
    let mut links = 0;
    let mut reached = BTreeSet::from(["index.html".to_owned()]);
    for (path, text) in &pages {
        for link in values(text, "href") {
            let (to, place) = resolved(path, link);
            let found = places.get(to.as_str());
            let found = found.unwrap_or_else(|| panic!("{path}: {link}: no such page"));
            if let Some(place) = place {
                assert!(found.contains(place), "{path}: {link}: no such place");
            }
            reached.insert(to);
            links += 1;
        }
    }
    assert!(links > 1000, "{links}");
    let lost: Vec<&String> = pages.keys().filter(|it| !reached.contains(*it)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn every_table_column_definition_and_entity_is_there() {
    let (catalog, pages) = real();
    for (table, node) in catalog.nodes() {
        let page = &pages[&page_of(table)];
        let ids = values(page, "id");
        for (column, _) in node.columns() {
            assert!(ids.contains(&column), "{table}.{column}");
        }
        for check in checks_of(node) {
            assert!(page.contains(&format!(">{check}<")), "{table}: {check}");
        }
        for definition in node.definitions() {
            assert!(
                page.contains(&format!(">{definition}<")),
                "{table}: {definition}"
            );
        }
    }
    for it in catalog.definitions() {
        let page = &pages[&definition_page(&it.definition_id)];
        assert!(values(page, "id").contains(&format!("v{}", it.version).as_str()));
        let words = |text: &str| {
            text.split(['&', '<', '>', '"', '\''])
                .next()
                .unwrap()
                .to_owned()
        };
        for text in [&it.title_da, &it.title_en, &it.text_da, &it.text_en] {
            assert!(page.contains(&words(text)), "{}: {text}", it.definition_id);
        }
    }
    for entity in contract::entities() {
        let page = &pages[&entity_page(&entity.name)];
        for field in &entity.fields {
            assert!(values(page, "id").contains(&field.name.as_str()));
            assert!(page.contains(tag_name(field.pii)), "{}", field.name);
        }
    }
    assert!(pages["table/ref.benefit.html"].contains("counts_as_support"));
}

fn checks_of(node: &crate::models::Node) -> Vec<String> {
    crate::checks::described(node)
        .into_iter()
        .map(|it| it.name)
        .collect()
}

#[test]
fn the_same_models_give_the_same_bytes() {
    assert_eq!(real().1, real().1);
}

#[test]
fn nothing_is_asked_of_another_host_and_every_element_is_closed() {
    let (_, pages) = real();
    for (path, text) in pages.iter().filter(|it| it.0.ends_with(".html")) {
        assert!(!text.contains("<script"), "{path}");
        for attribute in ["href", "src"] {
            for value in values(text, attribute) {
                assert!(!value.contains("//"), "{path}: {value}");
            }
        }
        let mut open: Vec<&str> = Vec::new();
        for part in text.split('<').skip(1) {
            let tag = part.split(['>', ' ']).next().unwrap();
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed), "{path}"),
                None if ["!doctype", "meta", "link"].contains(&tag) => {}
                None => open.push(tag),
            }
        }
        assert!(open.is_empty(), "{path}: {open:?}");
    }
}
