//! Every source the platform can read: one folder each, one line in [`ALL`].

use connector_api::{Entry, entry};

mod delimited;
mod failure;
mod files;
mod http;
mod records;
mod reference;
mod rows;
mod statbank;
mod transcode;

pub use reference::reference;

/// The registry, in alphabetical order.
pub static ALL: &[Entry] = &[
    entry::<files::Files>(),
    entry::<http::Http>(),
    entry::<statbank::StatBank>(),
];

/// Finds a connector by the name used in pipeline files.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn registry_is_sorted_unique_and_documented() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
        for entry in ALL {
            assert!(
                entry.summary.ends_with('.'),
                "{}: end the summary with a full stop",
                entry.name
            );
            let schema = serde_json::to_value((entry.schema)()).unwrap();
            assert!(
                schema["description"].is_string(),
                "{}: say what its position is",
                entry.name
            );
            is_documented(entry.name, &schema);
        }
    }

    /// Every property, however deep, has a description.
    fn is_documented(path: &str, schema: &Value) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (field, spec) in properties
                .iter()
                .filter(|(_, spec)| spec.get("const").is_none())
            {
                assert!(
                    spec["description"].is_string(),
                    "{path}.{field}: add a doc comment"
                );
            }
        }
        match schema {
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(name, it)| is_documented(&format!("{path}.{name}"), it));
            }
            Value::Array(items) => items.iter().for_each(|it| is_documented(path, it)),
            _ => {}
        }
    }

    #[test]
    fn every_folder_is_registered() {
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        for dir in std::fs::read_dir(src)
            .unwrap()
            .flatten()
            .filter(|it| it.path().join("mod.rs").is_file())
        {
            let name = dir.file_name().into_string().unwrap();
            assert!(find(&name).is_some(), "src/{name} is not in `ALL`");
        }
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        expect_test::expect_file!["../../../docs/connectors.md"].assert_eq(&reference());
    }
}
