//! The page of a table: what it holds, its columns and where they come from, its checks and definitions, its query.

use std::collections::{BTreeMap, BTreeSet};

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{
    Site, column_link, definition_page, entity_page, first_sentence, graph, html::Html, tag_name,
};
use crate::{
    checks,
    lineage::{Kind, Sources},
    models::{Node, Origin, type_name},
};

impl Site<'_> {
    pub(super) fn table(&self, table: &str) -> String {
        Html::new(1).page(table, |html| {
            html.element("h1", &[], table);
            html.element("p", &[], &self.doc(table));
            let node = self.catalog.node(table);
            self.facts(html, table, node);
            html.element("h2", &[], "Lineage");
            html.within("div", &[("class", "scroll")], |html| {
                graph::draw(html, self.lineage, table);
            });
            self.columns(html, table, node);
            if let Some(lineage) = self.lineage.table(table) {
                html.element("h2", &[], "What decides which rows there are");
                sources(html, &lineage.rows);
            }
            if let Some(node) = node {
                checked(html, node);
            }
            if let Some(Origin::Written(model)) = node.map(|it| &it.origin) {
                html.element("h2", &[], "Query");
                html.within("pre", &[], |html| html.element("code", &[], &model.sql));
            }
            self.codes(html, table);
        })
    }

    fn facts(&self, html: &mut Html, table: &str, node: Option<&Node>) {
        html.within("table", &[("class", "facts")], |html| {
            let mut fact = |name: &str, write: &dyn Fn(&mut Html)| {
                html.within("tr", &[], |html| {
                    html.element("td", &[], name);
                    html.within("td", &[], write);
                });
            };
            let entity = table.split_once('.').and_then(|it| contract::entity(it.1));
            let is_of_entity = match node {
                Some(node) => matches!(node.origin, Origin::Current(_)),
                None => table.starts_with("raw."),
            };
            if let Some(entity) = entity.filter(|_| is_of_entity) {
                fact("entity", &|html| {
                    html.link(&entity_page(&entity.name), &entity.name)
                });
            }
            let Some(node) = node else { return };
            fact("grain", &|html| html.say(&node.grain().join(", ")));
            if !node.partition_by().is_empty() {
                fact("split by", &|html| {
                    html.say(&node.partition_by().join(", "))
                });
            }
            if let Origin::Written(model) = &node.origin {
                fact("model", &|html| {
                    html.element(
                        "code",
                        &[],
                        &format!("models/{}/{}.sql", model.schema, model.name),
                    );
                });
            }
            if !node.definitions().is_empty() {
                fact("definitions", &|html| {
                    html.listed(node.definitions(), |html, it| {
                        let page = format!("{}#v{}", definition_page(&it.id), it.version);
                        html.link(&page, &it.to_string());
                    });
                });
            }
        });
    }

    fn columns(&self, html: &mut Html, table: &str, node: Option<&Node>) {
        html.element("h2", &[], "Columns");
        let docs: BTreeMap<&str, &str> = match node {
            Some(node) => node.columns().into_iter().collect(),
            None => landed_docs(table),
        };
        let schema = self.lineage.schemas().get(table);
        let fields = schema.into_iter().flat_map(|it| it.fields());
        let used = self.used(table);
        let headers = [
            "column",
            "type",
            "of a person",
            "what it holds",
            "comes from",
            "goes into",
        ];
        html.within("div", &[("class", "scroll")], |html| {
            html.table(&headers, fields, |html, field| {
                let name = field.name().as_str();
                html.within("tr", &[("id", name)], |html| {
                    html.within("td", &[], |html| html.element("code", &[], name));
                    html.element("td", &[], &type_name(field.data_type()));
                    html.within("td", &[], |html| {
                        for tag in self.lineage.tags(table, name) {
                            html.element("span", &[("class", "tag")], tag_name(tag));
                        }
                    });
                    html.element("td", &[], docs.get(name).copied().unwrap_or_default());
                    html.within("td", &[], |html| {
                        let lineage = self.lineage.table(table);
                        match lineage.and_then(|it| it.column(name)) {
                            Some(none) if none.is_empty() => html.say("a constant"),
                            Some(found) => sources(html, found),
                            None => {}
                        }
                    });
                    html.within("td", &[], |html| {
                        let readers = used.get(name).into_iter().flatten();
                        html.listed(readers, |html, (table, column)| {
                            column_link(html, table, Some(column));
                        });
                    });
                });
            });
        });
    }

    /// For each column of a table the columns that carry its values on.
    fn used(&self, table: &str) -> BTreeMap<String, BTreeSet<(String, String)>> {
        let mut used: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for reader in self.lineage.readers(table) {
            let lineage = self.lineage.table(reader).into_iter();
            for (column, sources) in lineage.flat_map(|it| &it.columns) {
                let of_table =
                    |it: &&crate::lineage::Source| it.table == table && it.kind.is_direct();
                for source in sources.iter().filter(of_table) {
                    let Some(from) = &source.column else { continue };
                    let to = (reader.to_owned(), column.clone());
                    used.entry(from.clone()).or_default().insert(to);
                }
            }
        }
        used
    }

    /// The rows of a code list.
    fn codes(&self, html: &mut Html, table: &str) {
        let list = table.strip_prefix("ref.").and_then(contract::code_list);
        let Some(batch) = list.map(|it| it.batch()) else {
            if table == "ref.definition" {
                html.element("h2", &[], "Definitions");
                html.within("ul", &[], |html| {
                    for (id, versions) in self.definitions() {
                        html.within("li", &[], |html| {
                            html.link(&definition_page(id), id);
                            let text = versions.last().map_or("", |it| it.text_en.as_str());
                            html.say(&format!(": {}", first_sentence(text)));
                        });
                    }
                });
            }
            return;
        };
        html.element("h2", &[], "Codes");
        let schema = batch.schema();
        let headers: Vec<&str> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        let options = FormatOptions::default();
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .filter_map(|it| ArrayFormatter::try_new(it.as_ref(), &options).ok())
            .collect();
        html.table(&headers, 0..batch.num_rows(), |html, row| {
            html.within("tr", &[], |html| {
                for column in &columns {
                    html.element("td", &[], &column.value(row).to_string());
                }
            });
        });
    }
}

/// What the columns of a landed table hold.
fn landed_docs(table: &str) -> BTreeMap<&'static str, &'static str> {
    let entity = table.strip_prefix("raw.").and_then(contract::entity);
    let fields = entity.into_iter().flat_map(|it| &it.fields);
    let mut docs: BTreeMap<&str, &str> = fields
        .map(|it| (it.name.as_str(), it.doc.as_str()))
        .collect();
    docs.extend(contract::COORDINATE_DOCS);
    docs
}

/// Sources, those of one kind together.
fn sources(html: &mut Html, all: &Sources) {
    for kind in Kind::ALL {
        let of_kind: Vec<_> = all.iter().filter(|it| it.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        html.within("div", &[], |html| {
            html.element("span", &[("class", "quiet")], kind.as_str());
            html.say(" ");
            html.listed(of_kind, |html, it| {
                column_link(html, &it.table, it.column.as_deref());
            });
        });
    }
}

fn checked(html: &mut Html, node: &Node) {
    html.element("h2", &[], "Checks");
    html.table(
        &["check", "where it fails", "what has to hold"],
        checks::described(node),
        |html, it| {
            html.within("tr", &[], |html| {
                html.within("td", &[], |html| html.element("code", &[], &it.name));
                let effect = match it.severity {
                    spec::Severity::Error => "nothing is published",
                    spec::Severity::Warning => "it is told",
                    spec::Severity::SetAside => "the row is left out and counted",
                };
                html.element("td", &[], effect);
                html.within("td", &[], |html| html.element("code", &[], &it.rule));
            });
        },
    );
}
