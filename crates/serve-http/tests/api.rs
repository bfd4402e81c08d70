//! The HTTP interface as a monitor and an operator's script use it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::sync::Arc;

use bus::{EmbeddedLog, SharedLog};
use connector_api::{Batch, BoxFuture, Connector, Entry, Error, Result, Source, entry};
use contract::Position;
use fetch::{Address, Client, Limits, Method, Request};
use ingest::{Control, Pipelines};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use serve_http::{Metrics, Parts, Readiness, Token, serve};
use spec::parse_pipeline;
use telemetry::metric;
use tokio_util::sync::CancellationToken;

/// A source that has nothing, from a number on.
struct Numbers;

#[derive(Deserialize, JsonSchema)]
struct Config {}

impl Connector for Numbers {
    const NAME: &'static str = "numbers";
    const SUMMARY: &'static str = "Nothing.";
    type Config = Config;

    fn check_position(position: &Position) -> Result<()> {
        match position.0["next"].as_i64() {
            Some(_) => Ok(()),
            None => Err(Error::Settings("it has no number as `next`".to_owned())),
        }
    }

    async fn open(_: Config, _: Option<Position>) -> Result<Box<dyn Source>> {
        Ok(Box::new(Self))
    }
}

impl Source for Numbers {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

static CONNECTORS: [Entry; 1] = [entry::<Numbers>()];

/// One that works and one that was created stopped.
fn pipelines() -> Pipelines {
    let sources = [("attendance", true), ("old", false)];
    let pipeline = |(name, enabled)| {
        let text = format!("doc: Nothing.\nconnector: numbers\nentity: unit\nenabled: {enabled}\n");
        let parsed = parse_pipeline(name, "numbers.yaml", &text, &|_| None);
        (name.to_owned(), parsed)
    };
    sources.into_iter().map(pipeline).collect()
}

struct Site {
    root: Address,
    readiness: Readiness,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start(metrics: &Metrics, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(EmbeddedLog::open(folder.path()).await.unwrap());
        let readiness = Readiness::of(&["landing"]);
        let parts = Parts {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            control: Some(Control::new(log, &CONNECTORS, Arc::new(|| Ok(pipelines())))),
            settle: None,
            token: token.map(Token::new),
        };
        let stop = CancellationToken::new();
        let listen = ([127, 0, 0, 1], 0).into();
        let serving = serve(listen, parts, stop.clone()).await.unwrap();
        Self {
            root: Address::parse(&format!("http://{}", serving.addr)).unwrap(),
            readiness,
            stop,
            task: serving.task,
            _folder: folder,
        }
    }

    /// The answer, or what the refusal says.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> std::result::Result<String, String> {
        let limits = Limits {
            max_attempts: 1,
            ..Limits::default()
        };
        let mut request = Request::new(method, self.root.below(path))
            .header("Authorization", &format!("Bearer {token}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = Client::new(limits).unwrap().send(&request).await;
        reply
            .map(|it| String::from_utf8(it.into_bytes()).unwrap())
            .map_err(|err| err.to_string())
    }

    async fn json(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let text = self.ask(method, path, "open sesame", body).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// One test, because measuring is started once in a process.
#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_steering() {
    let metrics = Metrics::start("1.2.3").unwrap();
    assert!(Metrics::start("1.2.3").is_err());
    let site = Site::start(&metrics, Some("open sesame")).await;

    assert_eq!(
        site.ask(Method::Get, "healthz", "", None).await.unwrap(),
        "ok\n"
    );
    let waiting = site.ask(Method::Get, "readyz", "", None).await.unwrap_err();
    assert!(waiting.contains("503"), "{waiting}");
    site.readiness.ready("landing");
    assert_eq!(
        site.ask(Method::Get, "readyz", "", None).await.unwrap(),
        "ready\n"
    );

    metric::SOURCE_READ.add(["attendance"], 7);
    metric::SOURCE_ROUND.record(["attendance"], 0.02);
    let text = site.ask(Method::Get, "metrics", "", None).await.unwrap();
    assert!(
        text.contains(r#"pejl_source_read_records_total{source="attendance"} 7"#),
        "{text}"
    );
    assert!(
        text.contains(r#"pejl_source_round_seconds_bucket{source="attendance",le="0.025"} 1"#),
        "{text}"
    );
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
    assert!(
        text.contains(r#"pejl_build_info{version="1.2.3"} 1"#),
        "{text}"
    );

    // Seeing is for everybody, steering is not.
    let listed = site.ask(Method::Get, "sources", "", None).await.unwrap();
    assert!(
        listed.contains("attendance") && listed.contains("old"),
        "{listed}"
    );
    for (method, path) in [
        (Method::Post, "sources/attendance/pause"),
        (Method::Get, "sources/attendance/position"),
        (Method::Put, "sources/attendance/position"),
    ] {
        let body = matches!(method, Method::Put).then(|| json!({ "next": 1 }));
        let refused = site.ask(method, path, "guess", body).await.unwrap_err();
        assert!(refused.contains("401"), "{path}: {refused}");
    }

    let paused = site
        .json(Method::Post, "sources/attendance/pause", None)
        .await;
    assert_eq!(paused["paused"], true);
    assert_eq!(
        site.json(Method::Get, "sources/attendance/position", None)
            .await,
        Value::Null
    );
    let place = json!({ "next": 1 });
    site.json(
        Method::Put,
        "sources/attendance/position",
        Some(place.clone()),
    )
    .await;
    assert_eq!(
        site.json(Method::Get, "sources/attendance/position", None)
            .await,
        place
    );
    let resumed = site
        .json(Method::Post, "sources/attendance/resume", None)
        .await;
    assert_eq!(resumed["paused"], false);
    let wrong = json!({ "nxet": 1 });
    let path = "sources/attendance/position";
    let refused = site
        .ask(Method::Put, path, "open sesame", Some(wrong))
        .await;
    assert!(refused.unwrap_err().contains("no number as `next`"));
    let unknown = site
        .ask(
            Method::Post,
            "sources/attendance/dance",
            "open sesame",
            None,
        )
        .await;
    assert!(unknown.unwrap_err().contains("404"));
    let unknown = site
        .ask(Method::Post, "sources/nobody/pause", "open sesame", None)
        .await;
    assert!(unknown.unwrap_err().contains("409"));
    site.end().await;

    let closed = Site::start(&metrics, None).await;
    let refused = closed
        .ask(Method::Post, "sources/attendance/pause", "", None)
        .await;
    assert!(refused.unwrap_err().contains("403"));
    closed.end().await;
}
