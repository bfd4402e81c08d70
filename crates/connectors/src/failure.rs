//! What a failed request means to a connector.

use connector_api::Error;

/// Sorts a client's error by who can fix it.
pub(crate) fn failure(err: fetch::Error) -> Error {
    use fetch::Error as E;
    if let E::Unavailable {
        wait: Some(wait), ..
    } = err
    {
        return Error::Busy {
            reason: err.to_string(),
            wait,
        };
    }
    match err {
        E::Refused { .. } => Error::Refused(err.to_string()),
        E::Unavailable { .. } => Error::Source(err.to_string()),
        E::Unreadable { .. } => Error::Delivery(err.to_string()),
        E::Settings { .. } | E::NotAccepted { .. } | E::TooLarge { .. } => {
            Error::Settings(err.to_string())
        }
    }
}
