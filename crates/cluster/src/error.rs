//! What goes wrong with a cluster, and who can fix it.

/// [`Error`] or a value.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address, a folder or a size that cannot be.
    #[error("{0}")]
    Settings(String),
    /// Nobody answers where the scheduler should be.
    #[error(
        "no scheduler answers at {address}: {reason}; start `pejl scheduler` there, or take [cluster] scheduler out of the settings and \
         builds run in this process"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What came instead of an answer.
        reason: String,
    },
    /// Ballista gave up.
    #[error("{doing}: {reason}")]
    Failed {
        /// What was done.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}
