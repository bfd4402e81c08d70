//! Places in traces: what a record's header says, and how spans of different processes are joined by it.

use std::fmt;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of every span that is exported: `tracing::info_span!(target: SPANS, …)`. Spans of libraries are not exported: what they
/// put in their fields is not known here.
pub const SPANS: &str = "pejl";

/// A span's place in its trace, written as [W3C Trace Context](https://www.w3.org/TR/trace-context/) has it:
/// `00-<trace id>-<span id>-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace: TraceId,
    span: SpanId,
}

impl Traceparent {
    /// The place of `span`. Where nothing is exported it is made up, so that records carry an id all the same.
    pub fn of(span: &Span) -> Self {
        exported(span).unwrap_or_else(|| Self {
            trace: RandomIdGenerator::default().new_trace_id(),
            span: RandomIdGenerator::default().new_span_id(),
        })
    }

    /// The place of the span at hand, where it is exported.
    pub fn current() -> Option<Self> {
        exported(&Span::current())
    }

    /// The place of `span`, which is below this one.
    pub fn below(self, span: &Span) -> Self {
        exported(span).unwrap_or_else(|| Self {
            trace: self.trace,
            span: RandomIdGenerator::default().new_span_id(),
        })
    }

    /// Reads what [`fmt::Display`] writes, and what others' newer versions of it begin with.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = parts.next()?;
        let is_hex = |it: &str, length| {
            it.len() == length && it.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let reads = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2);
        let place = Self {
            trace: TraceId::from_hex(trace).ok().filter(|_| reads)?,
            span: SpanId::from_hex(span).ok()?,
        };
        (place.trace != TraceId::INVALID && place.span != SpanId::INVALID).then_some(place)
    }

    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// Puts `span`, which nothing has entered yet, below this place.
    pub fn continue_in(self, span: &Span) {
        // It fails where nothing is exported, and then there is nothing to continue.
        let _ = span.set_parent(Context::new().with_remote_span_context(self.context()));
    }

    /// Has `span` point to this place.
    pub fn link_from(self, span: &Span) {
        span.add_link(self.context());
    }

    fn context(self) -> SpanContext {
        let state = TraceState::default();
        SpanContext::new(self.trace, self.span, TraceFlags::SAMPLED, true, state)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

/// The trace id in a record's header. A producer that is not Pejl may put an id of its own there.
pub fn trace_id_in(header: &str) -> &str {
    match Traceparent::parse(header) {
        Some(_) => header.split('-').nth(1).unwrap_or(header),
        None => header,
    }
}

/// The attribute of spans that are not exported.
pub(crate) const IDLE: &str = "pejl.idle";

/// Marks `span` as one that found nothing to do. It is not exported: there is one every few seconds.
pub fn idle(span: &Span) {
    span.set_attribute(IDLE, true);
}

/// Marks `span` as failed; `why` is a class of errors, never their text.
pub fn failed(span: &Span, why: impl fmt::Display) {
    span.set_status(Status::error(why.to_string()));
}

fn exported(span: &Span) -> Option<Traceparent> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| Traceparent {
        trace: context.trace_id(),
        span: context.span_id(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    /// The examples of W3C Trace Context, section 3.2.
    #[test]
    fn headers_are_read_as_the_standard_has_them() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let place = Traceparent::parse(text).unwrap();
        assert_eq!(place.to_string(), text);
        assert_eq!(place.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace_id_in(text), place.trace_id());
        let newer = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes";
        assert_eq!(Traceparent::parse(newer), Some(place));
        for wrong in [
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "",
        ] {
            assert_eq!(Traceparent::parse(wrong), None, "{wrong}");
        }
        assert_eq!(trace_id_in("an id of their own"), "an id of their own");
    }

    #[test]
    fn records_have_an_id_also_where_nothing_is_exported() {
        let round = Traceparent::of(&Span::none());
        assert_ne!(round, Traceparent::of(&Span::none()));
        let transaction = round.below(&Span::none());
        assert_eq!(transaction.trace_id(), round.trace_id());
        assert_ne!(transaction, round);
        assert_eq!(Traceparent::parse(&round.to_string()), Some(round));
    }
}
