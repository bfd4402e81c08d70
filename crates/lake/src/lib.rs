//! Delta tables in a folder or an object store: append with positions, replace, read at a version, keep in order.
//!
//! Only this crate names deltalake. A commit is one put-if-absent of the version right after the
//! snapshot whose `txn`s were compared, so the snapshot compared is the snapshot committed against;
//! when the answer to that put is lost, the commit is looked for by its own id before anything is
//! written again.

mod append;
mod columns;
mod commit;
mod durable;
mod error;
mod files;
mod history;
mod one_of;
mod options;
mod plain;
mod provider;
mod replace;
mod scan;
mod state;
mod storage;
mod upkeep;
mod vacuum;

pub use append::{Appended, Txn};
pub use error::{Error, Result, is_memory};
pub use files::FILE_BYTES;
pub use history::{Changes, DataFile, History};
pub use one_of::one_of;
pub use options::store_options;
pub use replace::{Part, Staged};
pub use state::{Head, Standing};
pub use storage::Lake;
