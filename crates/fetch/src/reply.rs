//! An answer that was read whole and within bounds.

use serde_json::Value;

use crate::{Error, Result, error::excerpt};

/// A successful (2xx) answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as it came, a byte order mark included.
    pub fn into_bytes(self) -> Vec<u8> {
        self.body
    }

    /// The body as JSON; a byte order mark before it is passed over.
    pub fn json(&self) -> Result<Value> {
        let body = self
            .body
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.body);
        serde_json::from_slice(body)
            .map_err(|err| self.unreadable(format!("the answer is not JSON: {err}")))
    }

    /// The target of `Link: <...>; rel="next"` (RFC 8288), if there is one.
    pub fn next_link(&self) -> Option<&str> {
        self.headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("link"))
            .flat_map(|(_, value)| links(value))
            .find(|(_, parameters)| is_next(parameters))
            .map(|(target, _)| target)
    }

    /// An error about this answer, quoting its beginning.
    pub fn unreadable(&self, reason: impl Into<String>) -> Error {
        Error::Unreadable {
            request: self.request.clone(),
            reason: reason.into(),
            body: excerpt(&self.body, &[]),
        }
    }
}

/// The targets of a `Link` header and the parameters that follow each.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split('<').skip(1).filter_map(|it| it.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|it| {
        it.trim().split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("next"))
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn reply(header: &str, body: &[u8]) -> Reply {
        Reply {
            request: "GET https://host.dk/".into(),
            status: 200,
            headers: vec![("link".into(), header.into())],
            body: body.into(),
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let find = |header: &str| reply(header, b"").next_link().map(str::to_owned);
        assert_eq!(
            find(
                r#"<https://h.dk/?page=1>; rel="prev", </x?a=1,2&page=3>; title="a, b"; rel="next""#
            )
            .unwrap(),
            "/x?a=1,2&page=3"
        );
        assert_eq!(find("<?page=2>; rel=next").unwrap(), "?page=2");
        assert_eq!(find(r#"<?page=9>; rel="last""#), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn json_is_read_past_a_byte_order_mark() {
        assert_eq!(
            reply("", b"\xef\xbb\xbf[1]").json().unwrap(),
            serde_json::json!([1])
        );
        let err = reply("", b"<html>Service for 0101801234 is down</html>")
            .json()
            .unwrap_err();
        assert!(
            err.to_string()
                .ends_with("it says: <html>Service for [cpr] is down</html>"),
            "{err}"
        );
    }
}
