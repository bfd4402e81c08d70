//! Rows that were set aside: seen, tried again once their mapping is mended, or discarded.
//!
//! What is done about a row is a [mark](contract::Mark) on a topic of its own, in one transaction with whatever is done: a retried
//! row and its mark become visible together or not at all. Marks of a source are written by one producer, whose earlier holders are
//! fenced before the marks are read; so no row is retried twice, whoever is killed when.

mod error;
mod filter;
mod latest;
mod marks;
mod retry;
mod rows;
mod settle;

pub use error::{Error, Result};
pub use filter::{Filter, State};
pub use rows::{Group, Row, groups, list, show};
pub use settle::{Done, Outcome, Settle};
