//! What can stop the server from starting or a session from opening.

use std::net::SocketAddr;

use contract::FixBy;

/// Why the server did not start or a session did not open.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port could not be opened.
    #[error(
        "cannot listen for postgres clients on {address}: {cause}; choose a free address for the pg listener"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system answered.
        cause: std::io::Error,
    },
    /// The list of users cannot be used as it is.
    #[error("cannot serve postgres clients: {0}")]
    Users(String),
    /// The catalogue tables that ship with the server could not be read.
    #[error("the built-in pg_catalog tables cannot be read: {0}")]
    Catalogue(String),
    /// The warehouse did not give a session.
    #[error("cannot open a session on the warehouse: {0}")]
    Session(String),
}

impl ServeError {
    /// Who can fix it.
    #[must_use]
    pub fn fix_by(&self) -> FixBy {
        match self {
            ServeError::Listen { .. } | ServeError::Users(_) => FixBy::Settings,
            ServeError::Catalogue(_) | ServeError::Session(_) => FixBy::Us,
        }
    }
}
