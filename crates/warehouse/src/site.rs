//! The documentation as a static site: a page for every table, definition and entity, with links between them.

mod definition;
mod entity;
mod graph;
mod html;
mod table;

use std::collections::BTreeMap;

use contract::Pii;

use crate::{lineage::Lineage, models::Catalog};
use html::Html;

/// What the site is made from.
struct Site<'a> {
    catalog: &'a Catalog,
    lineage: &'a Lineage,
}

/// Every file of the site by its path, `table/mart.offer_overview.html`. The same models give the same bytes.
pub fn pages(catalog: &Catalog, lineage: &Lineage) -> BTreeMap<String, String> {
    let site = Site { catalog, lineage };
    let mut pages = BTreeMap::from([
        ("index.html".to_owned(), site.index()),
        (
            "style.css".to_owned(),
            include_str!("site/style.css").to_owned(),
        ),
    ]);
    for table in lineage.schemas().keys() {
        pages.insert(page_of(table), site.table(table));
    }
    for (id, versions) in site.definitions() {
        pages.insert(definition_page(id), site.definition(id, &versions));
    }
    for entity in contract::entities() {
        pages.insert(entity_page(&entity.name), site.entity(entity));
    }
    pages
}

/// The page of a table.
fn page_of(table: &str) -> String {
    format!("table/{table}.html")
}

/// The page of a definition.
fn definition_page(id: &str) -> String {
    format!("definition/{id}.html")
}

/// The page of an entity.
fn entity_page(name: &str) -> String {
    format!("entity/{name}.html")
}

/// A column of a table, as a link from elsewhere.
fn column_link(html: &mut Html, table: &str, column: Option<&str>) {
    match column {
        Some(column) => html.link(
            &format!("{}#{column}", page_of(table)),
            &format!("{table}.{column}"),
        ),
        None => html.link(&page_of(table), table),
    }
}

/// What a tag is called.
fn tag_name(tag: Pii) -> &'static str {
    match tag {
        Pii::None => "",
        Pii::Pseudonym => "pseudonym",
        Pii::Indirect => "indirect",
        Pii::FreeText => "free text",
    }
}

/// The first sentence.
fn first_sentence(text: &str) -> &str {
    match text.find(". ") {
        Some(end) => text.get(..=end).unwrap_or(text),
        None => text,
    }
}

impl Site<'_> {
    fn index(&self) -> String {
        Html::new(0).page("Pejl: tables and definitions", |html| {
            html.element("h1", &[], "Tables and definitions");
            let schemas = [
                ("mart", "Published tables", "Small cells are hidden here."),
                (
                    "core",
                    "Facts and current state",
                    "Complete, row by row, and not for publication.",
                ),
                (
                    "raw",
                    "Landed records",
                    "Every version of everything that came, with where it came from.",
                ),
                ("ref", "Code lists and definitions", ""),
            ];
            for (schema, title, note) in schemas {
                html.element("h2", &[("id", schema)], title);
                html.element("p", &[("class", "quiet")], note);
                let tables = self.lineage.schemas().keys();
                let tables = tables.filter(|it| it.split('.').next() == Some(schema));
                html.table(&["table", "what it holds"], tables, |html, table| {
                    html.within("tr", &[], |html| {
                        html.within("td", &[], |html| html.link(&page_of(table), table));
                        html.element("td", &[], first_sentence(&self.doc(table)));
                    });
                });
            }
            html.element("h2", &[("id", "definitions")], "Definitions");
            let headers = ["definition", "på dansk", "in English", "versions"];
            html.table(&headers, self.definitions(), |html, (id, versions)| {
                let last = versions.last();
                html.within("tr", &[], |html| {
                    html.within("td", &[], |html| html.link(&definition_page(id), id));
                    let title = last.map_or("", |it| it.title_da.as_str());
                    html.element("td", &[("lang", "da")], title);
                    html.element("td", &[], last.map_or("", |it| it.title_en.as_str()));
                    html.element("td", &[], &versions.len().to_string());
                });
            });
            html.element("h2", &[("id", "entities")], "Entities");
            html.table(
                &["entity", "key", "what one is"],
                contract::entities(),
                |html, it| {
                    html.within("tr", &[], |html| {
                        html.within("td", &[], |html| {
                            html.link(&entity_page(&it.name), &it.name)
                        });
                        html.element("td", &[], &it.key.join(", "));
                        html.element("td", &[], &it.doc);
                    });
                },
            );
        })
    }

    /// What a table holds.
    fn doc(&self, table: &str) -> String {
        if let Some(node) = self.catalog.node(table) {
            return node.doc().to_owned();
        }
        match table.split_once('.') {
            Some(("raw", "quarantine")) => {
                "Rows that were set aside, with what was wrong.".to_owned()
            }
            Some(("raw", "quarantine_mark")) => {
                "What was done about rows that were set aside.".to_owned()
            }
            Some(("raw", name)) => {
                let doc = contract::entity(name).map_or("", |it| it.doc.as_str());
                format!("{doc} Every version that landed.")
            }
            Some(("ref", "definition")) => "What the numbers mean, version by version.".to_owned(),
            Some(("ref", name)) => format!("The code list {name}."),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
