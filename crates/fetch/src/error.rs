//! What can go wrong with a request, sorted by who can fix it.

use contract::FixBy;

/// The result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed request.
///
/// `request` is the method and the address, without the values of the query. `body` is the beginning
/// of the answer, at most 200 characters, without secrets and CPR numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request cannot be made, or its answer cannot be accepted, as the settings are.
    #[error("{request}: {reason}")]
    Settings {
        /// What was asked.
        request: String,
        /// What to change.
        reason: String,
    },
    /// 401, 403, or a status the source is known to refuse credentials by.
    #[error(
        "{request} answered {status}: check the credentials and what they give access to{}",
        quoted(body)
    )]
    Refused {
        /// What was asked.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// Any other 4xx: the source does not accept what we ask.
    #[error(
        "{request} answered {status}: check the address and the parameters{}",
        quoted(body)
    )]
    NotAccepted {
        /// What was asked.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// 408, 429, 5xx, a timeout or a broken connection, after all attempts.
    #[error("{request} failed, attempts: {attempts}; {reason}")]
    Unavailable {
        /// What was asked.
        request: String,
        /// How often it was tried.
        attempts: u32,
        /// What came of the last attempt.
        reason: String,
        /// How long the source asked us to stay away then.
        wait: Option<std::time::Duration>,
    },
    /// The answer is larger than allowed.
    #[error("{request}: the answer is larger than {limit} bytes; ask for less at a time")]
    TooLarge {
        /// What was asked.
        request: String,
        /// [`Limits::max_body_bytes`](crate::Limits::max_body_bytes).
        limit: usize,
    },
    /// The answer arrived and is not what it should be.
    #[error("{request}: {reason}{}", quoted(body))]
    Unreadable {
        /// What was asked.
        request: String,
        /// Why it cannot be read.
        reason: String,
        /// The beginning of the answer.
        body: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings { .. }
            | Self::Refused { .. }
            | Self::NotAccepted { .. }
            | Self::TooLarge { .. } => FixBy::Settings,
            Self::Unavailable { .. } => FixBy::Source,
            Self::Unreadable { .. } => FixBy::Record,
        }
    }
}

fn quoted(body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("; it says: {body}")
}

/// The beginning of an answer, fit for an error text.
pub(crate) fn excerpt(body: &[u8], secrets: &[String]) -> String {
    /// What an error text shows.
    const SHOWN: usize = 200;
    /// Scrubbed before it is cut, so that no half CPR number or secret is left at the edge.
    const READ: usize = 4096;
    let text = String::from_utf8_lossy(&body[..body.len().min(READ)]);
    let text = text.trim_start_matches('\u{feff}');
    let text = secrets.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "[secret]")
    });
    let one_line: Vec<&str> = text.split_whitespace().collect();
    contract::scrub(&one_line.join(" "))
        .chars()
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_holds_no_secret_and_no_cpr_number() {
        let body = format!("\u{feff}token hush\n for 010180-1234 {}", "x".repeat(500));
        let shown = excerpt(body.as_bytes(), &["hush".into()]);
        assert!(shown.starts_with("token [secret] for [cpr] xxx"), "{shown}");
        assert_eq!(shown.chars().count(), 200);
    }

    #[test]
    fn a_cpr_number_across_the_cut_is_not_shown_in_part() {
        let body = format!("{} 0101801234", "x".repeat(194));
        assert_eq!(
            excerpt(body.as_bytes(), &[]),
            format!("{} [cpr]", "x".repeat(194))
        );
    }
}
