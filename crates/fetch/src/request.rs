//! A request before it is sent; it can be sent any number of times.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::Address;

/// The methods sources are read by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The usual one.
    #[default]
    Get,
    /// Searches with a body.
    Post,
    /// Searches with a body, in systems such as KMD Nova.
    Put,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        })
    }
}

/// What is asked. `Display` is the method and the address, fit for logs.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) address: Address,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, address: Address) -> Self {
        Self {
            method,
            address,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Sets a parameter of the query in place of any of the same name.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let url = &mut self.address.0;
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(other, _)| other != name)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(others)
            .append_pair(name, value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a JSON body and its content type.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self.header("content-type", "application/json")
    }

    /// The address asked, for links relative to it.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.address)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({self})")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_once_and_encoded() {
        let address = Address::parse("https://host.dk/things?page=1&area=Hele%20landet").unwrap();
        let request = Request::new(Method::Get, address)
            .query("page", "2")
            .query("navn", "Ø&Å");
        assert_eq!(
            request.address.0.as_str(),
            "https://host.dk/things?area=Hele+landet&page=2&navn=%C3%98%26%C3%85"
        );
        assert_eq!(
            request.to_string(),
            "GET https://host.dk/things?area=…&page=…&navn=…"
        );
    }
}
