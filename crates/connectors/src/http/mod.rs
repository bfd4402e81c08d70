//! `http`: JSON records from a REST interface.
//!
//! Position: [`State`]. Delivery: at least once; what is read twice is an upsert of the same record.

use std::{collections::BTreeMap, time::Duration};

use connector_api::{Connector, Result, Source};
use contract::Position;
use fetch::{Address, Auth, Client, Limits, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::failure;
use pages::Pages;
use place::{Place, Pointer};
use state::State;

mod pages;
mod place;
mod state;
#[cfg(test)]
mod tests;

/// JSON over REST.
pub(crate) struct Http;

/// Nested objects become dotted columns (`address.city`), arrays JSON text, numbers their JSON text and
/// booleans `true` and `false`. Both `null` and a field that is not there are null.
///
/// A page is a transaction, and an interrupted read goes on with the page after it; only `next_link`
/// paging makes the whole read one transaction, because links go stale. With `incremental`, the next
/// read asks for what is later than the latest value seen; sources that answer with that record once
/// more cause no harm, since a record is an upsert. Without it everything is asked for each time, and
/// pages that are the same as last time are passed over.
///
/// Position: `{"since": "<latest value of the incremental field>", "complete_through": "<date>", "pages":
/// ["<digest of each page>"], "reading": {"done": <pages>, "cursor": …}}`, each part only where it is needed;
/// `reading` only in the middle of a read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the records are. The query may be part of it.
    url: Address,
    /// `GET`, or `POST` or `PUT` for interfaces that are searched that way.
    #[serde(default)]
    method: Method,
    /// The JSON body to send.
    #[serde(default)]
    body: Option<Value>,
    /// Headers to send.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Parameters to add to the query.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// How the source knows us.
    #[serde(default)]
    auth: Auth,
    /// JSON pointer to the array of records, such as `/data/items`; without it the answer is the array.
    #[serde(default)]
    records: Pointer,
    /// How to come from one page to the next.
    #[serde(default)]
    paging: Paging,
    /// How to ask only for what is new.
    #[serde(default)]
    incremental: Option<Incremental>,
    /// JSON pointer to the date through which the source says it is complete (`2025-01-31`, or a
    /// timestamp). It counts once the whole read is stored; of several pages the earliest date.
    #[serde(default)]
    complete_through: Option<Pointer>,
    /// JSON pointer to an error text in answers that claim success; anything but null or an empty
    /// text there is a failure. LimeSurvey has it at `/result/status`.
    #[serde(default)]
    error_pointer: Option<Pointer>,
    /// Statuses besides 401 and 403 that mean our credentials are refused; SurveyXact answers 500.
    #[serde(default)]
    refused_statuses: Vec<u16>,
    /// The most requests in a second.
    #[serde(default)]
    requests_per_second: Option<f64>,
    /// Seconds one answer may take.
    #[serde(default = "a_minute")]
    timeout_seconds: u64,
}

/// How a read is cut into pages.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Paging {
    /// Everything is in one answer.
    None {},
    /// A number that grows from page to page; the first page without records is the end.
    Page {
        /// Where the number goes: a parameter of the query, or a JSON pointer into the body.
        #[serde(default = "page")]
        param: Place,
        /// The first page's number.
        #[serde(default = "one")]
        start: u64,
        /// What the number grows by: 1, or the page size where it is an offset.
        #[serde(default = "one")]
        step: u64,
        /// Where the page size goes, if it is sent.
        #[serde(default)]
        size_param: Option<Place>,
        /// The page size sent.
        #[serde(default = "hundred")]
        size: u64,
    },
    /// Each page says what to ask for the next one; the page that says nothing is the last.
    Cursor {
        /// Where the cursor goes: a parameter of the query, or a JSON pointer into the body.
        param: Place,
        /// JSON pointer to the next cursor.
        pointer: Pointer,
    },
    /// Each page links to the next one on the same host; the page without a link is the last.
    NextLink {
        /// JSON pointer to the link; without it the `Link` header with `rel="next"`.
        #[serde(default)]
        pointer: Option<Pointer>,
    },
}

/// How to ask only for what is new.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Incremental {
    /// Where the latest value goes: a parameter of the query, or a JSON pointer into the body.
    param: Place,
    /// The column whose latest value is remembered: a timestamp, a number, or text that sorts.
    field: String,
    /// What to ask for the first time. Without it the parameter is left out then.
    #[serde(default)]
    start: Option<String>,
}

impl Default for Paging {
    fn default() -> Self {
        Self::None {}
    }
}

fn a_minute() -> u64 {
    60
}

fn page() -> Place {
    Place::Query("page".into())
}

fn one() -> u64 {
    1
}

fn hundred() -> u64 {
    100
}

impl Connector for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "JSON records from a REST interface, page by page.";
    type Config = Config;

    fn check_position(position: &Position) -> Result<()> {
        State::from_position(position.clone()).map(drop)
    }

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        let limits = Limits {
            timeout: Duration::from_secs(config.timeout_seconds),
            requests_per_second: config.requests_per_second,
            refused_statuses: config.refused_statuses.clone(),
            ..Limits::default()
        };
        let client = Client::new(limits)
            .map_err(failure)?
            .with_auth(config.auth.clone());
        let stored = from
            .map(State::from_position)
            .transpose()?
            .unwrap_or_default();
        let mut state = stored.clone();
        // The settings may have changed in the middle of a read.
        state.reading = state.reading.filter(|reading| match config.paging {
            Paging::Page { .. } => true,
            Paging::Cursor { .. } => reading.cursor.is_some(),
            Paging::None {} | Paging::NextLink { .. } => false,
        });
        Ok(Box::new(Pages::new(client, config, stored, state)))
    }
}
