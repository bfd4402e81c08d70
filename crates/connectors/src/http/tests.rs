//! REST interfaces with the paging, envelopes and moods of real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Query, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use connector_api::{Batch, Error, entry};
use connector_testkit::{conforms, read, rows, serve};
use serde_json::json;

use super::*;

type Params = BTreeMap<String, String>;

/// Serves what `answer` makes of the query, the headers and the body of a request.
async fn served(
    answer: impl Fn(Params, HeaderMap, Value) -> Response + Clone + Send + Sync + 'static,
) -> String {
    let handler = move |Query(query): Query<Params>, headers: HeaderMap, body: String| {
        let reply = answer(
            query,
            headers,
            serde_json::from_str(&body).unwrap_or_default(),
        );
        async move { reply }
    };
    serve(Router::new().route("/things", any(handler))).await + "/things"
}

fn json_reply(value: &Value) -> Response {
    value.to_string().into_response()
}

/// Ten things, changed one second after another, of which those later than `since` are shown.
fn things(since: Option<&str>) -> Vec<Value> {
    let all = (1..=10)
        .map(|i| json!({"id": i, "meta": {"changed": format!("2025-01-01T00:00:{i:02}Z")}}));
    all.filter(|it| since.is_none_or(|since| it["meta"]["changed"].as_str().unwrap() > since))
        .collect()
}

/// The things from `start`, at most four.
fn slice(things: &[Value], start: usize) -> &[Value] {
    let rest = things.get(start..).unwrap_or_default();
    &rest[..rest.len().min(4)]
}

fn number(query: &Params, name: &str) -> usize {
    query.get(name).map_or(0, |it| it.parse().unwrap())
}

fn ids(batches: &[Batch]) -> Vec<String> {
    rows(batches)
        .into_iter()
        .map(|(_, columns)| columns["id"].clone().unwrap())
        .collect()
}

fn one_to_ten() -> Vec<String> {
    (1..=10).map(|it| it.to_string()).collect()
}

async fn error(settings: Value) -> Error {
    let mut source = (entry::<Http>().open)(settings, None).await.unwrap();
    loop {
        match source.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(err) => return err,
        }
    }
}

#[tokio::test]
async fn page_numbers_with_incremental_reading_conform() {
    let url = served(|query, _, _| {
        let things = things(query.get("since").map(String::as_str));
        json_reply(&json!({"data": slice(&things, (number(&query, "p") - 1) * 4), "through": "2025-01-01T12:00:00"}))
    })
    .await;
    let settings = json!({
        "url": url,
        "records": "/data",
        "paging": {"kind": "page", "param": "p"},
        "incremental": {"param": "since", "field": "meta.changed"},
        "complete_through": "/through",
    });
    conforms::<Http>(settings.clone()).await;
    let all = read::<Http>(&settings, None).await;
    assert_eq!(ids(&all), one_to_ten());
    assert_eq!(
        all[1].origins,
        [
            "page 2 record 1",
            "page 2 record 2",
            "page 2 record 3",
            "page 2 record 4"
        ]
    );
    let positions: Vec<Value> = all
        .iter()
        .map(|it| it.position.clone().unwrap().0)
        .collect();
    assert_eq!(
        positions,
        [
            json!({"reading": {"done": 1, "seen": "2025-01-01T00:00:04Z", "complete_through": "2025-01-01"}}),
            json!({"reading": {"done": 2, "seen": "2025-01-01T00:00:08Z", "complete_through": "2025-01-01"}}),
            json!({"reading": {"done": 3, "seen": "2025-01-01T00:00:10Z", "complete_through": "2025-01-01"}}),
            json!({"since": "2025-01-01T00:00:10Z", "complete_through": "2025-01-01"}),
        ]
    );
    let through: Vec<bool> = all.iter().map(|it| it.complete_through.is_some()).collect();
    assert_eq!(
        through,
        [false, false, false, true],
        "complete only once everything is read"
    );
}

#[tokio::test]
async fn offsets_without_incremental_reading_conform_and_pass_over_unchanged_pages() {
    let changed = Arc::new(Mutex::new(json!(null)));
    let seen = Arc::clone(&changed);
    let url = served(move |query, _, _| {
        let mut things = things(None);
        things[5]["note"] = seen.lock().unwrap().clone();
        assert_eq!(query["limit"], "4");
        json_reply(&json!(slice(&things, number(&query, "skip"))))
    })
    .await;
    let settings = json!({
        "url": url,
        "paging": {"kind": "page", "param": "skip", "start": 0, "step": 4, "size_param": "limit", "size": 4},
    });
    conforms::<Http>(settings.clone()).await;
    let all = read::<Http>(&settings, None).await;
    assert_eq!(ids(&all), one_to_ten());
    *changed.lock().unwrap() = json!("new");
    let again = read::<Http>(&settings, all.last()).await;
    assert_eq!(
        ids(&again),
        ["5", "6", "7", "8"],
        "only the page that changed"
    );
    assert!(read::<Http>(&settings, again.last()).await.is_empty());
}

#[tokio::test]
async fn cursors_in_bodies_conform() {
    let url = served(|_, _, body| {
        assert_eq!(body["filter"], "all");
        let start = body
            .pointer("/paging/after")
            .map_or(0, |it| it.as_u64().unwrap() as usize);
        let things = things(None);
        let next = if start + 4 < things.len() {
            json!(start + 4)
        } else {
            json!(null)
        };
        json_reply(&json!({"Results": slice(&things, start), "next": next}))
    })
    .await;
    let settings = json!({
        "url": url,
        "method": "PUT",
        "body": {"filter": "all"},
        "records": "/Results",
        "paging": {"kind": "cursor", "param": "/paging/after", "pointer": "/next"},
    });
    conforms::<Http>(settings.clone()).await;
    let all = read::<Http>(&settings, None).await;
    assert_eq!(ids(&all), one_to_ten());
    assert!(all.iter().all(|it| it.position.is_some()));
}

#[tokio::test]
async fn an_empty_page_with_a_cursor_is_not_the_end() {
    let url = served(|query, _, _| {
        let things = things(None);
        json_reply(&match number(&query, "c") {
            0 => json!({"d": things[..2], "next": "1"}),
            1 => json!({"d": [], "next": "2"}),
            _ => json!({"d": things[2..], "next": ""}),
        })
    })
    .await;
    let settings = json!({
        "url": url, "records": "/d", "paging": {"kind": "cursor", "param": "c", "pointer": "/next"},
    });
    conforms::<Http>(settings.clone()).await;
    assert_eq!(ids(&read::<Http>(&settings, None).await), one_to_ten());
}

#[tokio::test]
async fn links_in_bodies_and_headers_conform_as_one_transaction() {
    let url = served(|query, _, _| {
        let (things, start) = (
            things(query.get("since").map(String::as_str)),
            number(&query, "skip"),
        );
        let page = json!({"data": slice(&things, start), "next": null});
        if start + 4 >= things.len() {
            return json_reply(&page);
        }
        let since = query
            .get("since")
            .map(|it| format!("&since={it}"))
            .unwrap_or_default();
        let link = format!("/things?skip={}{since}", start + 4);
        let header = [("link", format!("<{link}>; rel=\"next\""))];
        (
            header,
            json!({"data": page["data"], "next": link}).to_string(),
        )
            .into_response()
    })
    .await;
    for paging in [
        json!({"kind": "next_link"}),
        json!({"kind": "next_link", "pointer": "/next"}),
    ] {
        let mut settings = json!({"url": url, "records": "/data", "paging": paging});
        conforms::<Http>(settings.clone()).await;
        settings["incremental"] =
            json!({"param": "since", "field": "meta.changed", "start": "2024"});
        conforms::<Http>(settings.clone()).await;
        let all = read::<Http>(&settings, None).await;
        assert_eq!(ids(&all), one_to_ten());
        let positions: Vec<bool> = all.iter().map(|it| it.position.is_some()).collect();
        assert_eq!(positions, [false, false, true]);
    }
}

#[tokio::test]
async fn one_answer_conforms() {
    let url = served(|query, headers, _| {
        assert_eq!(
            (query["area"].as_str(), query["period"].as_str()),
            ("Hele landet", "l(m:12)")
        );
        assert_eq!(headers["accept"], "application/json");
        assert_eq!(headers["authorization"], "raw token");
        format!("\u{feff}{}", json!(things(None))).into_response()
    })
    .await;
    let settings = json!({
        "url": format!("{url}?area=Hele%20landet"),
        "query": {"period": "l(m:12)"},
        "headers": {"accept": "application/json"},
        "auth": {"kind": "header", "name": "Authorization", "value": "raw token"},
    });
    conforms::<Http>(settings.clone()).await;
    let mut source = (entry::<Http>().open)(settings, None).await.unwrap();
    assert!(source.next().await.unwrap().is_some());
    assert!(source.next().await.unwrap().is_none());
    assert!(
        source.next().await.unwrap().is_none(),
        "asked again, and nothing changed"
    );
}

#[tokio::test]
async fn a_watermark_moves_without_records_and_by_the_most_careful_page() {
    let days = Arc::new(Mutex::new(["2025-01-02", "2025-01-03"]));
    let told = Arc::clone(&days);
    let url = served(move |query, _, _| {
        let page = number(&query, "page");
        let data = if page == 1 {
            json!([{"id": 1}])
        } else {
            json!([])
        };
        json_reply(&json!({"data": data, "through": told.lock().unwrap()[page - 1]}))
    })
    .await;
    let settings = json!({
        "url": url, "records": "/data", "paging": {"kind": "page"}, "complete_through": "/through",
    });
    let through = |batches: &[Batch]| -> Vec<String> {
        batches
            .iter()
            .filter_map(|it| Some(it.complete_through?.to_string()))
            .collect()
    };
    let first = read::<Http>(&settings, None).await;
    assert_eq!(through(&first), ["2025-01-02"]);
    *days.lock().unwrap() = ["2025-01-04", "2025-01-04"];
    let second = read::<Http>(&settings, first.last()).await;
    assert_eq!(
        (through(&second), rows(&second).len()),
        (vec!["2025-01-04".to_owned()], 0)
    );
    *days.lock().unwrap() = ["soon", "soon"];
    assert!(
        error(settings)
            .await
            .to_string()
            .contains("`complete_through` is no date: soon")
    );
}

#[tokio::test]
async fn records_that_are_none_are_rejected() {
    let url =
        served(|_, _, _| json_reply(&json!([{"id": 1}, 7, {"a.b": 1, "a": {"b": 2}}, {"id": 2}])))
            .await;
    let all = read::<Http>(&json!({"url": url}), None).await;
    let origins: Vec<String> = rows(&all).into_iter().map(|(origin, _)| origin).collect();
    assert_eq!(origins, ["page 1 record 1", "page 1 record 4"]);
    let rejects: Vec<String> = all[0]
        .rejects
        .iter()
        .map(|it| format!("{}: {} <- {}", it.origin, it.raw, it.reason))
        .collect();
    assert_eq!(
        rejects,
        [
            "page 1 record 2: 7 <- the record is not a JSON object",
            "page 1 record 3: {\"a\":{\"b\":2},\"a.b\":1} <- two values would be column `a.b`",
        ]
    );
}

#[tokio::test]
async fn misbehaving_sources_are_told_from_wrong_settings() {
    let same = json!([{"id": 1}]);
    let envelope = json!({"data": [], "next": "c", "result": {"status": "Invalid session key for 0101801234"}});
    for (answer, settings, expected) in [
        (
            same.clone(),
            json!({"paging": {"kind": "page"}}),
            "invalid settings: .*page 2 is the same as the one before it",
        ),
        (
            same.clone(),
            json!({"records": "/data"}),
            "unreadable delivery: .*no array of records at `/data`",
        ),
        (
            same,
            json!({"incremental": {"param": "s", "field": "no"}}),
            "invalid settings: no record on page 1 has the incremental field `no`",
        ),
        (
            envelope.clone(),
            json!({"records": "/data", "error_pointer": "/result/status"}),
            "source unavailable: .*answered with an error: Invalid session key for [cpr]",
        ),
        (
            envelope,
            json!({"records": "/data", "paging": {"kind": "cursor", "param": "c", "pointer": "/next"}}),
            "source unavailable: .*page 2 names itself as the next page",
        ),
    ] {
        let url = served(move |_, _, _| json_reply(&answer)).await;
        let mut settings = settings;
        settings["url"] = json!(url);
        let err = error(settings).await.to_string();
        let (start, end) = expected.split_once(".*").unwrap_or((expected, ""));
        assert!(err.starts_with(start) && err.contains(end), "{err}");
    }
}

#[tokio::test]
async fn refusals_are_not_retried_and_say_nothing_secret() {
    let count = Arc::new(Mutex::new(0));
    let handler = |Shared(count): Shared<Arc<Mutex<u32>>>| async move {
        *count.lock().unwrap() += 1;
        (StatusCode::INTERNAL_SERVER_ERROR, "no basic auth")
    };
    let router = Router::new()
        .route("/", get(handler))
        .with_state(Arc::clone(&count));
    let err = error(json!({
        "url": serve(router).await + "/?key=hush",
        "auth": {"kind": "basic", "user": "me", "password": "hush"},
        "refused_statuses": [500],
    }))
    .await;
    assert!(matches!(err, Error::Refused(_)), "{err}");
    assert!(!err.to_string().contains("hush"), "{err}");
    assert_eq!(*count.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let url = served(|_, _, _| {
        json_reply(&json!({"data": [{"id": 1}], "next": "https://elsewhere.dk/?page=2"}))
    })
    .await;
    let err = error(json!({
        "url": url, "records": "/data", "paging": {"kind": "next_link", "pointer": "/next"},
    }))
    .await;
    assert!(
        matches!(&err, Error::Settings(text) if text.contains("points to another host")),
        "{err}"
    );
}

#[test]
fn settings_are_checked_before_anything_is_opened() {
    let check = entry::<Http>().check;
    for wrong in [
        json!({"url": "host.dk"}),
        json!({"url": "https://host.dk", "records": "data"}),
        json!({"url": "https://host.dk", "method": "DELETE"}),
        json!({"url": "https://host.dk", "paging": {"kind": "page", "pointer": "/x"}}),
        json!({"url": "https://host.dk", "paging": {"kind": "cursor", "param": "c"}}),
        json!({"url": "https://host.dk", "auth": {"kind": "bearer"}}),
    ] {
        assert!(check(&wrong).is_err(), "{wrong}");
    }
}
