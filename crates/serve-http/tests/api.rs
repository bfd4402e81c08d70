//! The HTTP interface as a monitor and an operator's script use it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::sync::{Arc, LazyLock};

use bus::{EmbeddedLog, SharedLog};
use connector_api::{Batch, BoxFuture, Connector, Entry, Error, Result, Source, entry};
use contract::Position;
use ingest::{Control, Pipelines};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use serve_http::{Metrics, Obstacle, Parts, Question, Readiness, Token, serve};
use spec::parse_pipeline;
use telemetry::metric;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};
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

/// Measuring is started once in a process.
static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::start("1.2.3").unwrap());

const TOKEN: &str = "open sesame";

struct Site {
    address: std::net::SocketAddr,
    log: SharedLog,
    readiness: Readiness,
    /// Told when an audit may end.
    audited: Arc<Notify>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(EmbeddedLog::open(folder.path()).await.unwrap());
        let readiness = Readiness::starting(&["landing", "reading"]);
        let audited = Arc::new(Notify::new());
        let ending = Arc::clone(&audited);
        let audit = Question::new(move |asked| {
            let ending = Arc::clone(&ending);
            async move {
                ending.notified().await;
                Ok(json!({ "verdict": "clean", "asked": asked }))
            }
        });
        let pipelines: ingest::ReadPipelines = Arc::new(|| Ok(pipelines()));
        let parts = Parts {
            metrics: METRICS.clone(),
            readiness: readiness.clone(),
            control: Some(Control::new(Arc::clone(&log), &CONNECTORS, pipelines)),
            settle: None,
            status: None,
            verify: Some(audit.one_at_a_time()),
            tokens: token.into_iter().map(Token::new).collect(),
        };
        let stop = CancellationToken::new();
        let listen = ([127, 0, 0, 1], 0).into();
        let serving = serve(listen, parts, stop.clone()).await.unwrap();
        Self {
            address: serving.addr,
            log,
            readiness,
            audited,
            stop,
            task: serving.task,
            _folder: folder,
        }
    }

    /// The status and the text of an answer.
    async fn ask(&self, request: &str, token: &str, body: &str) -> (u16, String) {
        let text = format!(
            "{request} HTTP/1.0\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// With the token; the answer as JSON.
    async fn json(&self, request: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.ask(request, TOKEN, body).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A refusal is for a program too: what is wrong, who can fix it, and how.
fn step(answer: &Value) -> &str {
    assert!(
        answer["error"].is_string() && answer["fix_by"].is_string(),
        "{answer}"
    );
    answer["step"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let site = Site::start(Some(TOKEN)).await;
    assert!(Metrics::start("1.2.3").is_err());
    let alive = site.ask("GET /healthz", "", "").await;
    assert_eq!(alive, (200, "ok\n".to_owned()));

    metric::SOURCE_READ.add(["attendance"], 7);
    metric::SOURCE_ROUND.record(["attendance"], 0.02);
    let (_, text) = site.ask("GET /metrics", "", "").await;
    for line in [
        r#"pejl_source_read_records_total{source="attendance"} 7"#,
        r#"pejl_source_round_seconds_bucket{source="attendance",le="0.025"} 1"#,
        r#"pejl_build_info{version="1.2.3"} 1"#,
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(line), "{text}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_every_role_works_and_else_says_what_is_in_the_way() {
    let site = Site::start(None).await;
    let (status, answer) = site.json("GET /readyz", "").await;
    assert_eq!((status, &answer["ready"]), (503, &Value::Bool(false)));
    let roles = |answer: &Value| -> Vec<String> {
        let waiting = answer["waiting_for"].as_array().unwrap();
        assert!(
            waiting
                .iter()
                .all(|it| it["why"].is_string() && it["step"].is_string())
        );
        let role = |it: &Value| it["role"].as_str().unwrap().to_owned();
        waiting.iter().map(role).collect()
    };
    assert_eq!(roles(&answer), ["landing", "reading"]);

    site.readiness.set("reading", None);
    let away = Obstacle {
        why: "the store does not answer".to_owned(),
        step: "see to the store".to_owned(),
    };
    site.readiness.set("landing", Some(away));
    let (status, answer) = site.json("GET /readyz", "").await;
    assert_eq!((status, roles(&answer)), (503, vec!["landing".to_owned()]));
    assert_eq!(answer["waiting_for"][0]["step"], "see to the store");

    site.readiness.set("landing", None);
    let ready = json!({ "ready": true, "waiting_for": [] });
    assert_eq!(site.json("GET /readyz", "").await, (200, ready));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeing_is_for_everybody_and_steering_for_who_has_the_token() {
    let site = Site::start(Some(TOKEN)).await;
    let (_, listed) = site.ask("GET /sources", "", "").await;
    assert!(
        listed.contains("attendance") && listed.contains("old"),
        "{listed}"
    );
    let guarded = [
        "POST /sources/attendance/pause",
        "POST /sources/attendance/resume",
        "POST /sources/attendance/restart",
        "GET /sources/attendance/position",
        "PUT /sources/attendance/position",
        "POST /verify",
        "POST /quarantine/retry",
        "POST /quarantine/discard",
    ];
    for request in guarded {
        for token in ["guess", ""] {
            let (status, answer) = site.ask(request, token, "null").await;
            let answer = serde_json::from_str(&answer).unwrap();
            assert_eq!(status, 401, "{request}: {answer}");
            assert!(step(&answer).contains("Authorization: Bearer"));
        }
    }
    site.end().await;

    let closed = Site::start(None).await;
    for request in guarded {
        let (status, answer) = closed.json(request, "null").await;
        assert_eq!(status, 403, "{request}: {answer}");
        assert!(step(&answer).contains("[http] token"));
    }
    closed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_steered() {
    let site = Site::start(Some(TOKEN)).await;
    let place = "GET /sources/attendance/position";
    let (status, paused) = site.json("POST /sources/attendance/pause", "").await;
    assert_eq!((status, &paused["paused"]), (200, &Value::Bool(true)));
    assert_eq!(site.json(place, "").await, (200, Value::Null));
    let set = "PUT /sources/attendance/position";
    let there = (200, json!({ "next": 1 }));
    assert_eq!(site.json(set, r#"{"next":1}"#).await, there);
    assert_eq!(site.json(place, "").await, there);
    assert_eq!(site.json(set, "null").await, (200, Value::Null));
    assert_eq!(site.json(place, "").await, (200, Value::Null));
    let (_, resumed) = site.json("POST /sources/attendance/resume", "").await;
    assert_eq!(resumed["paused"], false);

    // One that was created stopped.
    let (_, old) = site.json("GET /sources/old", "").await;
    assert_eq!(
        (&old["paused"], &old["attended"]),
        (&true.into(), &false.into())
    );
    assert_eq!(
        site.json("PUT /sources/old/position", r#"{"next":7}"#)
            .await
            .0,
        200
    );
    let (_, started) = site.json("POST /sources/old/resume", "").await;
    assert_eq!(started["paused"], false);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_what_to_do() {
    let site = Site::start(Some(TOKEN)).await;
    let set = "PUT /sources/attendance/position";
    for (request, body, status, said) in [
        ("GET /sources/nobody", "", 404, "attendance, old"),
        ("POST /sources/nobody/pause", "", 404, "attendance, old"),
        (
            "PUT /sources/nobody/position",
            "null",
            404,
            "attendance, old",
        ),
        (set, r#"{"nxet":1}"#, 400, "no number as `next`"),
        (set, "{", 400, "not what this takes"),
        (
            "POST /quarantine/retry",
            "{}",
            400,
            "missing field `filter`",
        ),
        (set, "", 400, "no position in the body"),
        (
            "POST /sources/attendance/dance",
            "",
            404,
            "nothing by this name",
        ),
        ("GET /nowhere", "", 404, "nothing by this name"),
        (
            "PUT /sources/attendance/pause",
            "",
            405,
            "not with this method",
        ),
        ("GET /status", "", 404, "this process has not"),
    ] {
        let (answered, answer) = site.json(request, body).await;
        assert_eq!(answered, status, "{request}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(said), "{answer}");
        assert!(!step(&answer).is_empty());
    }

    // A worker is at it, as far as its report goes.
    let report = json!({
        "source": "attendance", "state": "waiting", "since": chrono::Utc::now(), "at": chrono::Utc::now(), "worker": "one",
        "rows": 0, "accepted": 0, "quarantined": 0, "trace_id": "", "failures": 0, "trouble": null, "next": null,
    });
    let text = report.to_string();
    site.log
        .post(bus::Board::Reports, "attendance", Some(&text))
        .await
        .unwrap();
    let (status, answer) = site.json(set, "null").await;
    assert_eq!(status, 409, "{answer}");
    assert!(step(&answer).contains("pejl source pause attendance"));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_audit_runs_at_a_time() {
    let site = Site::start(Some(TOKEN)).await;
    let ask = || site.json("POST /verify", r#"{"since":"last"}"#);
    // Whichever comes second is refused, and only then may the first end.
    let (mut one, mut other) = (Box::pin(ask()), Box::pin(ask()));
    let (refused, answered) = tokio::select! {
        refused = &mut one => (refused, other),
        refused = &mut other => (refused, one),
    };
    assert_eq!(refused.0, 409, "{refused:?}");
    assert!(step(&refused.1).contains("wait"));
    site.audited.notify_one();
    let answer = json!({ "verdict": "clean", "asked": { "since": "last" } });
    assert_eq!(answered.await, (200, answer));
    site.stop.cancel();
}
