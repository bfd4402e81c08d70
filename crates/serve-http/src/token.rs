//! The token that lets somebody steer.

use std::fmt;

use sha2::{Digest, Sha256};

/// A token, kept as its SHA-256: it is in no memory dump, and how long a comparison takes says nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token as people have it.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether an `Authorization` header shows it.
    pub(crate) fn is_shown_by(&self, header: &str) -> bool {
        let shown = header.strip_prefix("Bearer ").map(Self::new);
        shown.as_ref() == Some(self)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
