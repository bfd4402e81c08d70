//! The page of a definition: its versions, in Danish and English.

use std::collections::BTreeMap;

use spec::Definition;

use super::{Site, html::Html, page_of};

impl Site<'_> {
    /// Every definition with its versions, the first one first.
    pub(super) fn definitions(&self) -> BTreeMap<&str, Vec<&Definition>> {
        let mut all: BTreeMap<&str, Vec<&Definition>> = BTreeMap::new();
        for it in self.catalog.definitions() {
            all.entry(&it.definition_id).or_default().push(it);
        }
        for versions in all.values_mut() {
            versions.sort_by_key(|it| it.version);
        }
        all
    }

    pub(super) fn definition(&self, id: &str, versions: &[&Definition]) -> String {
        Html::new(1).page(id, |html| {
            html.element("h1", &[], id);
            for it in versions.iter().rev() {
                let anchor = format!("v{}", it.version);
                html.within("section", &[("id", &anchor)], |html| self.version(html, it));
            }
        })
    }

    fn version(&self, html: &mut Html, it: &Definition) {
        html.element("h2", &[], &it.reference().to_string());
        html.within("div", &[("lang", "da")], |html| {
            html.element("h3", &[], &it.title_da);
            html.element("p", &[], &it.text_da);
        });
        html.within("div", &[("lang", "en")], |html| {
            html.element("h3", &[], &it.title_en);
            html.element("p", &[], &it.text_en);
        });
        if let Some(quote) = &it.quote {
            html.element("blockquote", &[("lang", "da")], quote);
        }
        html.within("table", &[("class", "facts")], |html| {
            let mut fact = |name: &str, write: &dyn Fn(&mut Html)| {
                html.within("tr", &[], |html| {
                    html.element("td", &[], name);
                    html.within("td", &[], write);
                });
            };
            if let Some(seed) = &it.seed {
                fact("seed", &|html| html.say(seed));
            }
            fact("valid from", &|html| html.say(&it.valid_from.to_string()));
            for (name, value) in it.parameters.as_object().into_iter().flatten() {
                let value = match value.as_str() {
                    Some(text) => text.to_owned(),
                    None => value.to_string(),
                };
                fact(name, &|html| html.element("code", &[], &value));
            }
            fact("followed by", &|html| {
                html.listed(self.catalog.named_by(it), |html, table| {
                    html.link(&page_of(table), table);
                });
            });
        });
    }
}
