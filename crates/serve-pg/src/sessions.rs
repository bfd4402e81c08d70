//! Where a connection gets its session from.

use async_trait::async_trait;
use datafusion::prelude::SessionContext;

use crate::ServeError;

/// Gives every connection a context of its own.
///
/// The server copies what it gets into a state of its own (catalogue list, configuration, functions), so two
/// connections never see each other's `SET` even when an implementation hands out the same context twice.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Opens a session for a user who has proved the password.
    ///
    /// # Errors
    /// [`ServeError::Session`] when there is nothing to serve; the client is told `XX000` and is disconnected.
    async fn open(&self, user: &str) -> Result<SessionContext, ServeError>;
}

#[async_trait]
impl Sessions for warehouse::Warehouse {
    async fn open(&self, _user: &str) -> Result<SessionContext, ServeError> {
        self.session()
            .await
            .map_err(|cause| ServeError::Session(cause.to_string()))
    }
}
