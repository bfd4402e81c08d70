//! Where values stand in answers and where they go in requests.

use std::fmt;

use connector_api::{Error, Result};
use fetch::Request;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::records::text;

/// A JSON pointer (RFC 6901): empty for the whole, else beginning with `/`.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", inline, extend("format" = "json-pointer"))]
pub(super) struct Pointer(String);

impl Pointer {
    pub(super) fn find<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        body.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Ok(Self(text));
        }
        Err(format!("`{text}` is no JSON pointer: begin it with `/`"))
    }
}

/// A parameter of the query, or a place in the body.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String", inline)]
pub(super) enum Place {
    Query(String),
    Body(String),
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        if text.starts_with('/') {
            Self::Body(text)
        } else {
            Self::Query(text)
        }
    }
}

impl Place {
    /// Puts a value there. Objects on the way to it are made where there are none.
    pub(super) fn put(
        &self,
        value: &Value,
        request: Request,
        body: &mut Option<Value>,
    ) -> Result<Request> {
        match self {
            Self::Query(name) => Ok(request.query(name, &text(value).unwrap_or_default())),
            Self::Body(pointer) => {
                let body = body.get_or_insert_with(|| Value::Object(Map::new()));
                set(body, pointer, value.clone())?;
                Ok(request)
            }
        }
    }
}

fn set(body: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let mut at = body;
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = at
            .as_object_mut()
            .ok_or_else(|| {
                Error::Settings(format!(
                    "`{pointer}` leads through something in `body` that is no object"
                ))
            })?
            .entry(name)
            .or_insert(Value::Null);
    }
    *at = value;
    Ok(())
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Self::Query(text) | Self::Body(text)) = self;
        serializer.serialize_str(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_put_into_bodies_by_pointer() {
        let mut body = json!({"paging": {"rows": 1}, "list": [1]});
        set(&mut body, "/paging/a~1b", json!(2)).unwrap();
        set(&mut body, "/new/deep", json!("x")).unwrap();
        assert_eq!(
            body,
            json!({"paging": {"rows": 1, "a/b": 2}, "list": [1], "new": {"deep": "x"}})
        );
        let err = set(&mut body, "/list/0", json!(1)).unwrap_err().to_string();
        assert!(err.contains("`/list/0` leads through"), "{err}");
    }
}
