//! What Pejl tells of its own work: one list of everything it measures, and traces that follow a record from source to query.
//!
//! The door to OpenTelemetry. Crates measure with the constants of [`metric`], make their spans for [`SPANS`], and join them
//! with [`Traceparent`]. No label, attribute or header holds a value of a record or the text of a query.

mod export;
mod kind;
pub mod metric;
mod reference;
mod trace;

pub use export::{Export, ExportError, ExportSettings};
pub use kind::{Counter, Gauge, Histogram, Kind, Metric, Unit};
pub use reference::reference;
pub use trace::{SPANS, Traceparent, failed, idle, trace_id_in};
