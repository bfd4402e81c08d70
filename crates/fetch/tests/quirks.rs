//! The client against servers with the habits of real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::RawQuery,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post, put},
};
use connector_testkit::serve;
use fetch::{Address, Auth, Client, Error, Limits, Method, Request};
use serde_json::{from_value, json};

fn quick() -> Limits {
    Limits {
        first_wait: Duration::ZERO,
        ..Limits::default()
    }
}

fn asking(base: &str, path: &str) -> Request {
    Request::new(
        Method::Get,
        Address::parse(&format!("{base}{path}")).unwrap(),
    )
}

/// Answers with each of `replies` in turn, then with the last one for good.
fn in_turn(replies: Vec<fn() -> Response>) -> (Router, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let answer = move || {
        let n = counter.fetch_add(1, Ordering::SeqCst) as usize;
        let reply = replies[n.min(replies.len() - 1)]();
        async move { reply }
    };
    (Router::new().route("/", get(answer)), count)
}

async fn fails(limits: Limits, router: Router) -> Error {
    let base = serve(router).await;
    Client::new(limits)
        .unwrap()
        .send(&asking(&base, "/?key=hush"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn waits_as_long_as_retry_after_says_and_tries_again() {
    let (router, count) = in_turn(vec![
        || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        || {
            let date = "Wed, 21 Oct 2015 07:28:00 GMT";
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", date), ("date", date)],
            )
                .into_response()
        },
        || "\u{feff}{\"ok\":true}".into_response(),
    ]);
    let base = serve(router).await;
    // A day of backoff would be longer than this test may take: only `Retry-After` can end it.
    let limits = Limits {
        first_wait: Duration::from_secs(86_400),
        max_wait: Duration::from_secs(86_400),
        ..Limits::default()
    };
    let client = Client::new(limits).unwrap();
    let request = asking(&base, "/");
    let reply = tokio::time::timeout(Duration::from_secs(60), client.send(&request));
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(reply.json().unwrap(), json!({"ok": true}));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn gives_up_at_once_when_asked_to_wait_too_long() {
    let (router, count) = in_turn(vec![|| {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response()
    }]);
    let err = fails(quick(), router).await;
    assert!(
        matches!(
            err,
            Error::Unavailable {
                attempts: 1,
                wait: Some(wait),
                ..
            } if wait == Duration::from_secs(3600)
        ),
        "{err}"
    );
    assert!(err.to_string().contains("asks us to wait 3600 s"), "{err}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn server_errors_are_tried_again_and_then_reported() {
    let (router, count) = in_turn(vec![|| {
        (
            StatusCode::BAD_GATEWAY,
            format!("for 0101801234 {}", "x".repeat(9000)),
        )
            .into_response()
    }]);
    let err = fails(
        Limits {
            max_attempts: 3,
            ..quick()
        },
        router,
    )
    .await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let text = err.to_string();
    assert!(
        text.contains("attempts: 3; it answered 502: for [cpr] xxx"),
        "{text}"
    );
    assert!(
        text.starts_with("GET http://127.0.0.1:") && text.contains("/?key=…"),
        "{text}"
    );
    assert!(!text.contains("hush") && text.len() < 400, "{text}");
    assert_eq!(err.fix_by(), contract::FixBy::Source);
}

#[tokio::test]
async fn refusals_and_mistakes_are_not_repeated() {
    let statuses = [
        (401, true),
        (403, true),
        (400, false),
        (404, false),
        (412, false),
        (410, false),
    ];
    for (status, is_refused) in statuses {
        let count = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&count);
        let answer = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { (StatusCode::from_u16(status).unwrap(), "no") }
        };
        let err = fails(quick(), Router::new().route("/", get(answer))).await;
        assert_eq!(
            matches!(err, Error::Refused { .. }),
            is_refused,
            "{status}: {err}"
        );
        assert_eq!(
            matches!(err, Error::NotAccepted { .. }),
            !is_refused,
            "{status}: {err}"
        );
        assert!(
            err.to_string().contains(&format!("answered {status}: ")),
            "{err}"
        );
        assert_eq!(err.fix_by(), contract::FixBy::Settings);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_source_that_refuses_credentials_by_500_is_not_hammered() {
    let (router, count) = in_turn(vec![|| StatusCode::INTERNAL_SERVER_ERROR.into_response()]);
    let err = fails(
        Limits {
            refused_statuses: vec![500],
            ..quick()
        },
        router,
    )
    .await;
    assert!(matches!(err, Error::Refused { status: 500, .. }), "{err}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_nobody_answers_is_the_sources_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let limits = Limits {
        max_attempts: 2,
        ..quick()
    };
    let err = Client::new(limits)
        .unwrap()
        .send(&asking(&base, "/?key=hush"))
        .await
        .unwrap_err();
    assert!(
        matches!(err, Error::Unavailable { attempts: 2, .. }),
        "{err}"
    );
    assert!(!err.to_string().contains("hush"), "{err}");
}

#[tokio::test]
async fn an_answer_that_never_ends_runs_into_the_timeout() {
    let router = Router::new().route("/", get(std::future::pending::<&str>));
    let limits = Limits {
        timeout: Duration::from_millis(20),
        max_attempts: 2,
        ..quick()
    };
    let err = fails(limits, router).await;
    assert!(err.to_string().contains("no answer in time"), "{err}");
}

#[tokio::test]
async fn four_kilobytes_that_unpack_into_four_megabytes_are_stopped() {
    const ZEROS: &[u8] = include_bytes!("fixtures/zeros.gz");
    let router = Router::new().route(
        "/",
        get(|| async { ([("content-encoding", "gzip")], ZEROS) }),
    );
    let base = serve(router).await;
    let read = async |max_body_bytes| {
        let client = Client::new(Limits {
            max_body_bytes,
            ..quick()
        })
        .unwrap();
        client.send(&asking(&base, "/")).await
    };
    assert_eq!(read(4 << 20).await.unwrap().into_bytes().len(), 4 << 20);
    let err = read((4 << 20) - 1).await.unwrap_err();
    assert!(
        matches!(
            err,
            Error::TooLarge {
                limit: 4_194_303,
                ..
            }
        ),
        "{err}"
    );
}

#[tokio::test]
async fn credentials_are_sent_and_never_told() {
    let echo = |headers: HeaderMap| async move {
        let header = |name| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        let seen = header("authorization")
            .or(header("api-key"))
            .unwrap_or_default();
        (StatusCode::FORBIDDEN, format!("you sent {seen}"))
    };
    let base = serve(Router::new().route("/", get(echo))).await;
    for (auth, told) in [
        (json!({"kind": "none"}), "you sent"),
        (
            json!({"kind": "bearer", "token": "hush"}),
            "you sent Bearer [secret]",
        ),
        (
            json!({"kind": "header", "name": "api-key", "value": "hush"}),
            "you sent [secret]",
        ),
        (
            json!({"kind": "header", "name": "Authorization", "value": "hush"}),
            "you sent [secret]",
        ),
        (
            json!({"kind": "basic", "user": "me", "password": "hush"}),
            "you sent Basic [secret]",
        ),
    ] {
        let auth: Auth = from_value(auth).unwrap();
        let client = Client::new(quick()).unwrap().with_auth(auth);
        assert!(!format!("{client:?}").contains("hush"));
        let Error::Refused { body, .. } = client.send(&asking(&base, "/")).await.unwrap_err()
        else {
            panic!("not refused");
        };
        assert_eq!(body, told);
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = serve(Router::new().route("/", get(|| async { "caught" }))).await;
    let target = format!("{elsewhere}/?key=hush");
    let router = Router::new()
        .route("/", get(|| async move { Redirect::temporary(&target) }))
        .route("/moved", get(|| async { Redirect::temporary("/here") }))
        .route("/here", get(|| async { "here" }));
    let base = serve(router).await;
    let client = Client::new(quick()).unwrap();
    let err = client.send(&asking(&base, "/")).await.unwrap_err();
    assert!(
        err.to_string()
            .contains(&format!("sends us to {elsewhere}/?key=…; put")),
        "{err}"
    );
    let reply = client.send(&asking(&base, "/moved")).await.unwrap();
    assert_eq!(reply.into_bytes(), b"here");
}

#[tokio::test]
async fn method_query_headers_and_body_arrive() {
    let echo = |headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes| async move {
        let header = |name| headers[name].to_str().unwrap().to_owned();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let (kind, wanted) = (header("content-type"), header("x-wanted"));
        format!("{}|{kind}|{wanted}|{body}", query.unwrap_or_default())
    };
    let base = serve(
        Router::new()
            .route("/", post(echo))
            .route("/put", put(echo)),
    )
    .await;
    for (method, path) in [(Method::Post, ""), (Method::Put, "/put")] {
        let request = Request::new(method, Address::parse(&format!("{base}{path}")).unwrap())
            .query("limit", "500")
            .header("x-wanted", "yes")
            .json(&json!({"kle": "15.20"}));
        let reply = Client::new(quick()).unwrap().send(&request).await.unwrap();
        assert_eq!(
            String::from_utf8(reply.into_bytes()).unwrap(),
            r#"limit=500|application/json|yes|{"kle":"15.20"}"#
        );
    }
}
