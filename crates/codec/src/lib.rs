//! Rows of an entity as topic values and back: Avro single-object encoding, a whole batch at a time.
//!
//! A value is `C3 01`, the 64-bit Rabin fingerprint of the schema it was written with (little
//! endian), and the Avro body: <https://avro.apache.org/docs/1.11.1/specification/#single-object-encoding>.

mod decode;
mod encode;

use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm};
use contract::FixBy;

pub use decode::{Decoded, Decoder, Failure};
pub use encode::encode;

/// The first two bytes of every value.
pub const MAGIC: [u8; 2] = [0xC3, 0x01];

/// Length of the magic and the fingerprint together, in bytes.
pub const HEADER: usize = 10;

/// The fingerprint in the header of `value`; `None` when it is not single-object encoded.
pub fn fingerprint_of(value: &[u8]) -> Option<u64> {
    let bytes = value.strip_prefix(&MAGIC)?.get(..8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The Rabin fingerprint of a schema's parsing canonical form; docs and our own attributes do not count.
pub fn fingerprint(avsc: &str) -> Result<u64> {
    let print = AvroSchema::new(avsc.to_owned())
        .fingerprint(FingerprintAlgorithm::Rabin)
        .map_err(|err| Error::Schema(err.to_string()))?;
    match print {
        Fingerprint::Rabin(print) => Ok(print),
        other => Err(Error::Schema(format!(
            "asked for a Rabin fingerprint, got {other:?}"
        ))),
    }
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. A value that cannot be decoded is no error but a [`Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A schema is not one Avro can work with.
    #[error("avro schema: {0}")]
    Schema(String),
    /// The batch does not fit the entity's schema.
    #[error("encoding {entity}: {reason}")]
    Encode {
        /// Name of the entity.
        entity: String,
        /// What does not fit.
        reason: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Schema(_) | Self::Encode { .. } => FixBy::Us,
        }
    }
}
