//! The warehouse: models built, checked and published together, and SQL over what is published.

mod build;
pub mod checks;
pub mod deliveries;
mod error;
pub mod explain;
pub mod functions;
pub mod lineage;
pub mod models;
pub mod openlineage;
mod publication;
mod query_log;
mod reference;
pub mod rehearsal;
mod release;
mod session;
pub mod site;
mod warehouse;

pub use build::{BuildEvent, BuildReport, BuiltModel, Extent, Failure, Planned, Reason, Work};
pub use error::{Error, Result};
pub use publication::{Checked, Publication, Run, SetAside, pinned};
pub use query_log::{Answering, QUERY_LOG, QueryLog};
pub use release::{Danger, Draft, Finding, Frozen, Made, Outcome, Release, Showing, Verified};
pub use session::{CATALOG, Hold, SCHEMAS, hand, read_only_options};
pub use warehouse::{Docs, TableDoc, Warehouse, WarehouseSettings};
