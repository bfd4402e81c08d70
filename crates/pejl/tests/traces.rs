//! A record's way as a collector sees it: one trace id from the read of a source to the landed row and its commit, and links from there on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use bus::{Assignment, EmbeddedLog, Log};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::Link},
};
use prost::Message;
use stage::Stage;
use telemetry::Traceparent;
use tokio::runtime::Runtime;

/// What no span may tell: a value of a record, and a literal of a query.
const NAME: &str = "Kommunens Hemmelige Enhed";

#[test]
fn one_trace_id_leads_from_the_source_to_the_row_and_its_commit() {
    let collector = Collector::start();
    let stage = units(&collector.endpoint);
    stage.ok(&["run", "--once"]);
    // Nothing new: nothing more to see.
    stage.ok(&["run", "--once"]);
    let sql = format!("select name from core.unit where name = '{NAME}'");
    assert!(stage.ok(&["query", &sql]).contains(NAME));

    let seen = collector.seen();
    assert!(!seen.bodies_contain(NAME), "{:#?}", seen.spans);
    assert_eq!(seen.services, BTreeSet::from(["pejl".to_owned()]));

    let read = seen.one("read", &[("source", "unit")]);
    assert!(read.parent_span_id.is_empty(), "a round begins its trace");
    let id = hex(&read.trace_id);
    let transaction = seen.one("transaction", &[("source", "unit")]);
    assert!(is_child(transaction, read));
    assert_eq!(attribute(transaction, "rows"), "2");

    // The header names the transaction, and the row its trace.
    let headers = traceparents(&stage.path("data"), "pejl.unit");
    assert_eq!(headers.len(), 2);
    for header in headers {
        let place = format!("00-{id}-{}-01", hex(&transaction.span_id));
        assert_eq!(header, place);
    }
    let ids = stage.sorted("select distinct _trace_id from raw.unit");
    assert_eq!(ids, format!("_trace_id\n{id}"));

    let commit = seen.one("commit", &[("table", "raw.unit")]);
    assert!(is_child(commit, transaction));
    assert_eq!(attribute(commit, "rows"), "2");
    assert_eq!(attribute(commit, "version"), "0");

    // A build is of many traces: it has its own, points to the commits it reads, and what reads it points to it.
    let build = seen.one("build", &[("publication", "1")]);
    let links: Vec<(&[u8], &[u8])> = build.links.iter().map(place).collect();
    assert!(
        links.contains(&(&read.trace_id, &commit.span_id)),
        "{links:?}"
    );
    let model = seen.one("model", &[("model", "core.unit")]);
    assert!(is_child(model, build));
    let statement = seen.one("statement", &[("publication", "1")]);
    assert_eq!(attribute(statement, "rows"), "1");
    let links: Vec<(&[u8], &[u8])> = statement.links.iter().map(place).collect();
    assert_eq!(links, [(&*build.trace_id, &*build.span_id)]);
}

#[test]
fn work_goes_on_without_a_collector() {
    // Nobody there, and somebody who never answers.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silence = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [nowhere, silence] {
        let stage = units(&endpoint);
        let out = stage.pejl(&["run", "--once"]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert!(said.contains("spans not taken by the collector"), "{said}");
        assert_eq!(
            stage
                .sorted("select unit_id from core.unit")
                .lines()
                .count(),
            3
        );
    }
}

#[test]
fn records_have_a_trace_id_also_where_no_traces_are_exported() {
    let stage = units("");
    stage.ok(&["run", "--once"]);
    let headers = traceparents(&stage.path("data"), "pejl.unit");
    let place = Traceparent::parse(&headers[0]).unwrap();
    let ids = stage.sorted("select distinct _trace_id from raw.unit");
    assert_eq!(ids, format!("_trace_id\n{}", place.trace_id()));
}

#[test]
fn a_wrong_endpoint_is_a_mistake_in_the_settings() {
    let stage = units("no address at all");
    let out = stage.pejl(&["run", "--once"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("[telemetry] otlp_endpoint"), "{said}");
}

/// A source with two units.
fn units(endpoint: &str) -> Stage {
    let stage = Stage::empty().with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let drops = stage.path("drops");
    fs::create_dir_all(&drops).unwrap();
    let text = format!(
        "unit_id,municipality_code,name,kind,updated_at\n\
         u1,101,{NAME},jobcenter,2010-07-01T00:00:00Z\n\
         u2,101,Jobcenter,jobcenter,2010-07-01T00:00:00Z\n"
    );
    fs::write(drops.join("units.csv"), text).unwrap();
    stage.write_source("unit", &drops);
    stage
}

/// The `traceparent` of every record of a topic.
fn traceparents(data: &Path, topic: &str) -> Vec<String> {
    Runtime::new().unwrap().block_on(async {
        let log = EmbeddedLog::open(data).await.unwrap();
        let topics = log.topics(topic).await.unwrap();
        let mut found = Vec::new();
        for partition in 0..topics[0].partitions {
            let start = Assignment {
                topic: topic.to_owned(),
                partition,
                offset: 0,
            };
            let mut consumer = log.consumer(&[start]).await.unwrap();
            let polled = consumer.poll(100, Duration::ZERO).await.unwrap();
            for record in polled.into_iter().flat_map(|it| it.records) {
                let mut headers = record.record.headers.into_iter();
                let (_, value) = headers.find(|it| it.0 == "traceparent").unwrap();
                found.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        found
    })
}

/// An OTLP receiver that keeps what it gets.
struct Collector {
    endpoint: String,
    bodies: Bodies,
    _runtime: Runtime,
}

type Bodies = Arc<Mutex<Vec<Bytes>>>;

impl Collector {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let bodies = Bodies::default();
        let keep = async |State(bodies): State<Bodies>, body: Bytes| {
            bodies.lock().unwrap().push(body);
        };
        let routes = Router::new().route("/v1/traces", post(keep));
        let routes = routes.with_state(Arc::clone(&bodies));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self {
            endpoint,
            bodies,
            _runtime: runtime,
        }
    }

    fn seen(&self) -> Seen {
        let bodies = self.bodies.lock().unwrap().clone();
        let mut seen = Seen::default();
        for body in &bodies {
            let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.unwrap();
                seen.services
                    .insert(value(&resource.attributes, "service.name").unwrap());
                let scopes = of_resource.scope_spans.into_iter();
                seen.spans.extend(scopes.flat_map(|it| it.spans));
            }
        }
        seen.bodies = bodies;
        seen
    }
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    services: BTreeSet<String>,
    bodies: Vec<Bytes>,
}

impl Seen {
    fn bodies_contain(&self, text: &str) -> bool {
        let mut bodies = self.bodies.iter();
        bodies.any(|it| String::from_utf8_lossy(it).contains(text))
    }

    /// The span with this name and these attributes.
    fn one(&self, name: &str, attributes: &[(&str, &str)]) -> &Span {
        let is_it = |span: &&Span| {
            let mut wanted = attributes.iter();
            span.name == name && wanted.all(|(key, value)| attribute(span, key) == *value)
        };
        let found: Vec<&Span> = self.spans.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name} {attributes:?} in {:#?}", self.spans);
        found[0]
    }
}

fn is_child(span: &Span, parent: &Span) -> bool {
    span.parent_span_id == parent.span_id && span.trace_id == parent.trace_id
}

fn place(link: &Link) -> (&[u8], &[u8]) {
    (&link.trace_id, &link.span_id)
}

fn attribute(span: &Span, key: &str) -> String {
    value(&span.attributes, key).unwrap_or_default()
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
