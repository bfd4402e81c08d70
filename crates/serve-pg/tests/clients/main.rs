//! Real clients against a real socket: tokio-postgres, psql and psycopg.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]
#![allow(clippy::print_stderr, reason = "a skipped client must be seen")]

mod access;
mod programs;
mod protocol;
mod query_log;
mod server;
mod stopping;
mod types;
