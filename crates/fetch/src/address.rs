//! An `http` or `https` address that can be shown without showing what its query holds.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use url::Url;

use crate::{Error, Result};

/// An absolute `http` or `https` address.
///
/// `Display` and `Debug` leave out passwords and the values of the query, and anything shaped like a
/// CPR number, so both are fit for logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(pub(crate) Url);

impl Address {
    /// Reads an address; [`Error::Settings`] when it is not an absolute `http` or `https` one.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Settings {
            request: contract::scrub(text.split(['?', '#']).next().unwrap_or_default())
                .into_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|err| wrong(format!("not an address: {err}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("an address begins with http:// or https://".into()));
        }
        Ok(Self(url))
    }

    /// The address of `path` below this one, whether or not this one ends in a slash.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/');
        let path = format!("{base}/{}", path.trim_start_matches('/'));
        url.set_path(&path);
        Self(url)
    }

    /// The address a link found in an answer points to. A link to another scheme, host or port is
    /// refused: it would carry our credentials there.
    pub fn join(&self, link: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Settings {
            request: self.to_string(),
            reason,
        };
        let url = self.0.join(link).map_err(|err| {
            wrong(format!(
                "the link to the next page is not an address: {err}"
            ))
        })?;
        if url.origin() != self.0.origin() {
            return Err(wrong(format!(
                "the answer points to another host ({}); put that address in the settings if it is right",
                Self(url)
            )));
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.0.origin().ascii_serialization();
        write!(f, "{origin}{}", contract::scrub(self.0.path()))?;
        for (i, (name, _)) in self.0.query_pairs().enumerate() {
            write!(f, "{}{name}=…", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn is_shown_without_passwords_query_values_and_cpr_numbers() {
        let address =
            Address::parse("https://me:hush@host.dk:8443/citizens/010180-1234?key=hush&page=2")
                .unwrap();
        let shown = address.to_string();
        assert_eq!(shown, "https://host.dk:8443/citizens/[cpr]?key=…&page=…");
        assert_eq!(format!("{address:?}"), format!("Address({shown})"));
    }

    #[test]
    fn only_absolute_web_addresses_are_accepted() {
        for text in [
            "api.statbank.dk/v1",
            "ftp://host/file",
            "file:///etc/passwd",
            "",
        ] {
            assert!(Address::parse(text).is_err(), "{text} was accepted");
        }
        let err = Address::parse("nowhere?key=hush").unwrap_err().to_string();
        assert!(!err.contains("hush"), "{err}");
    }

    #[test]
    fn links_stay_on_the_host_they_came_from() {
        let address = Address::parse("https://host.dk/v3/things?page=1").unwrap();
        assert_eq!(
            address.join("?page=2").unwrap().0.as_str(),
            "https://host.dk/v3/things?page=2"
        );
        assert!(address.join("https://other.dk/v3/things").is_err());
        assert!(address.join("http://host.dk/v3/things").is_err());
    }

    #[test]
    fn below_joins_with_one_slash() {
        for base in ["https://host.dk/v1", "https://host.dk/v1/"] {
            let address = Address::parse(base).unwrap().below("/tables");
            assert_eq!(address.0.as_str(), "https://host.dk/v1/tables");
        }
    }
}
