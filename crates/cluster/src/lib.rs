//! Builds spread over machines: a scheduler that splits queries, executors that run the pieces, and the planner that sends
//! queries there. The only door to Ballista.
//!
//! A query is planned where it is asked, since only there is known which versions of which tables it reads; what is sent is the
//! physical plan. Scheduler and executors know the functions and the store, and nothing of models or publications.

mod error;
mod executor;
mod joins;
mod planner;
mod scheduler;
mod sent;
mod windows;

pub use error::{Error, Result};
pub use executor::{ExecutorSettings, execute};
pub use planner::Cluster;
pub use scheduler::{SchedulerSettings, schedule};

/// A plan with the rows it carries, and a batch between two executors, are at most as large.
const MESSAGE_BYTES: u32 = 256 << 20;

/// How Ballista wants addresses to begin.
const SCHEME: &str = "http://";
