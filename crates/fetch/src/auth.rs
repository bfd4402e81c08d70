//! Who we say we are, and secrets that do not print themselves.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Text that is never shown: `Debug` prints `Secret(..)` and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

/// How a source knows us.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// Nothing is sent.
    None {},
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token; write a reference such as `${JOBINDSATS_TOKEN}`.
        token: Secret,
    },
    /// HTTP Basic.
    Basic {
        /// The user's name.
        user: String,
        /// The password; write a reference such as `${SURVEY_PASSWORD}`.
        password: Secret,
    },
    /// One header of any name, such as `api-key`, or `Authorization` with a raw token.
    Header {
        /// The header's name.
        name: String,
        /// The header's whole value; write a reference such as `${OS2FORMS_KEY}`.
        value: Secret,
    },
}

impl Default for Auth {
    fn default() -> Self {
        Self::None {}
    }
}

impl Auth {
    /// The secret that must not come back in an error text.
    pub(crate) fn secret(&self) -> Option<&str> {
        match self {
            Self::None {} => None,
            Self::Bearer { token: secret }
            | Self::Basic {
                password: secret, ..
            }
            | Self::Header { value: secret, .. } => Some(secret.expose()),
        }
        .filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn debug_never_prints_a_secret() {
        for settings in [
            json!({"kind": "bearer", "token": "hush"}),
            json!({"kind": "basic", "user": "me", "password": "hush"}),
            json!({"kind": "header", "name": "api-key", "value": "hush"}),
        ] {
            let auth: Auth = from_value(settings).unwrap();
            assert!(!format!("{auth:?}").contains("hush"), "{auth:?}");
        }
    }

    #[test]
    fn unknown_settings_are_refused_in_every_kind() {
        let refuses = |settings: Value| from_value::<Auth>(settings).is_err();
        assert!(refuses(json!({"kind": "none", "token": "x"})));
        assert!(refuses(
            json!({"kind": "bearer", "token": "x", "user": "me"})
        ));
        assert!(refuses(json!({"kind": "basic", "user": "me"})));
        assert!(!refuses(json!({"kind": "none"})));
    }
}
