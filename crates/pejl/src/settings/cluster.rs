//! `[cluster]`: builds on several machines.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// `[cluster]`: a scheduler and executors that builds are sent to.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// The scheduler that builders and executors turn to, `host:port`; empty: builds run in the builder's own process.
    pub(crate) scheduler: String,
    /// In how many parts a query is split; best as many as all executors run tasks together.
    pub(crate) parts: usize,
    /// Where `pejl scheduler` listens. There are no passwords: the private network is the guard.
    pub(crate) listen: SocketAddr,
    /// The address that `pejl executor` listens on.
    pub(crate) bind: IpAddr,
    /// Where an executor gives out results.
    pub(crate) port: u16,
    /// The name or address under which builders and other executors reach an executor; empty: the address it listens on.
    pub(crate) host: String,
    /// A folder for an executor's intermediate results; left out: `executor` in the data folder.
    pub(crate) folder: Option<PathBuf>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            scheduler: String::new(),
            parts: 8,
            listen: SocketAddr::from(([127, 0, 0, 1], 50_050)),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 50_051,
            host: String::new(),
            folder: None,
        }
    }
}
