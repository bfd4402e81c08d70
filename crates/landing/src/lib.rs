//! Topics into tables, each record exactly once.
//!
//! Every topic `pejl.<entity>` lands in `raw.<entity>`; how far each partition has come is a Delta
//! `txn` in the very commit that holds its rows, so a crash at any moment leaves either both or
//! neither. Records that break their contract go to `raw.quarantine`, in a commit of its own that
//! comes first; what of it is there already is read back before a partition is read again.

mod again;
mod audit;
mod backlog;
mod coordinates;
mod entity;
mod error;
mod lander;
mod mark;
mod observe;
mod offsets;
mod progress;
mod quarantine;
mod reader;
mod refused;
mod retention;
mod schemas;
mod settings;
mod share;
mod standing;
mod topic;
mod upkeep;

pub use again::{Judged, judge, row_topic, unlanded};
pub use audit::{Audit, DeliveryAudit, Extent, PartitionAudit, Stranger, TableAudit, verify};
pub use error::{Error, Result};
pub use lander::Lander;
pub use observe::{Landed, LandedTopic, Observe, What};
pub use offsets::Offsets;
pub use progress::landed_offsets;
pub use settings::LandingSettings;
pub use standing::Standing;
pub use upkeep::{Pinned, Upkeep};
