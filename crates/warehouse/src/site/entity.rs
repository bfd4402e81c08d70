//! The page of an entity: its key, its fields with their rules, and what they tell of a person.

use contract::{Entity, Field};

use super::{Site, html::Html, page_of, tag_name};
use crate::models::type_name;

impl Site<'_> {
    pub(super) fn entity(&self, entity: &Entity) -> String {
        Html::new(1).page(&entity.name, |html| {
            html.element("h1", &[], &entity.name);
            html.element("p", &[], &entity.doc);
            html.within("table", &[("class", "facts")], |html| {
                let mut fact = |name: &str, write: &dyn Fn(&mut Html)| {
                    html.within("tr", &[], |html| {
                        html.element("td", &[], name);
                        html.within("td", &[], write);
                    });
                };
                fact("key", &|html| html.say(&entity.key.join(", ")));
                fact("topic", &|html| html.element("code", &[], &entity.topic()));
                let tables = [
                    ("every version", entity.raw_table()),
                    ("current", entity.core_table()),
                ];
                for (name, table) in tables {
                    fact(name, &|html| html.link(&page_of(&table), &table));
                }
                for (first, second) in &entity.ordered {
                    fact("rule", &|html| {
                        html.say(&format!("{first} is not after {second}"))
                    });
                }
            });
            html.element("h2", &[], "Fields");
            let headers = [
                "field",
                "type",
                "may be null",
                "of a person",
                "values",
                "what it holds",
            ];
            html.within("div", &[("class", "scroll")], |html| {
                html.table(&headers, &entity.fields, field);
            });
        })
    }
}

fn field(html: &mut Html, it: &Field) {
    html.within("tr", &[("id", &it.name)], |html| {
        html.within("td", &[], |html| html.element("code", &[], &it.name));
        html.element("td", &[], &type_name(&it.kind.arrow_type()));
        html.element("td", &[], if it.nullable { "yes" } else { "" });
        html.within("td", &[], |html| match tag_name(it.pii) {
            "" => {}
            tag => html.element("span", &[("class", "tag")], tag),
        });
        html.within("td", &[], |html| {
            if let Some(code) = &it.code_list {
                html.link(&page_of(&format!("ref.{}", code.list)), &code.list);
            }
            html.say(&it.values.join(", "));
            if let Some(minimum) = it.minimum {
                html.say(&format!("at least {minimum} "));
            }
            if let Some(maximum) = it.maximum {
                html.say(&format!("at most {maximum}"));
            }
        });
        html.element("td", &[], &it.doc);
    });
}
