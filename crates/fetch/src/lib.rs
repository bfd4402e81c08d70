//! The one HTTP client: limits, retries, authentication and errors, the same for every source.
//!
//! Every request made here reads something, also a `POST` or a `PUT` (some systems are searched that
//! way), so every request may be repeated.

mod address;
mod auth;
mod client;
mod error;
mod limits;
mod reply;
mod request;
mod retry;

pub use address::Address;
pub use auth::{Auth, Secret};
pub use client::Client;
pub use error::{Error, Result};
pub use limits::Limits;
pub use reply::Reply;
pub use request::{Method, Request};
