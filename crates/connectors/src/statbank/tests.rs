//! Against answers recorded from api.statbank.dk in September 2025, repeated as they came.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use connector_api::{Error, entry};
use connector_testkit::{conforms, read, rows, serve};
use serde_json::{Value, from_slice, from_value, json};

use super::{table::TableInfo, *};

const TABLES: &[u8] = include_bytes!("fixtures/statbank-tables.json");
const TABLE_INFO: &[u8] = include_bytes!("fixtures/statbank-tableinfo.json");
const DATA_CSV: &[u8] = include_bytes!("fixtures/statbank-data-csv.csv");
const DATA_JSON_STAT: &[u8] = include_bytes!("fixtures/statbank-data-jsonstat.json");

/// An answer as the real server gives it: in chunks, and with its headers.
fn recorded(content_type: &'static str, body: &[u8]) -> Response {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = body
        .chunks(7 + body.len() / 3)
        .map(|it| Ok(it.to_vec()))
        .collect();
    let mut response = Body::from_stream(futures::stream::iter(chunks)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
    headers.insert("server", "Microsoft-IIS/10.0".parse().unwrap());
    headers.insert(
        "statbankapi-request-id",
        "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap(),
    );
    headers.insert(
        "content-disposition",
        "attachment; filename=STRAF42.csv".parse().unwrap(),
    );
    response
}

fn json_of(body: &[u8]) -> Response {
    recorded("application/json; charset=utf-8", body)
}

type Asked = Arc<Mutex<Vec<Value>>>;

/// Statistics Denmark with one table, whose data are what `answer` makes of a request.
async fn bank(
    info: Vec<u8>,
    answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static,
) -> (String, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let data = move |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        let reply = answer(&body);
        log.lock().unwrap().push(body);
        async move { reply }
    };
    let router = Router::new()
        .route("/v1/tableinfo", post(|| async move { json_of(&info) }))
        .route("/v1/tables", post(|| async { json_of(TABLES) }))
        .route("/v1/data", post(data));
    (serve(router).await + "/v1", asked)
}

fn straf42(base: &str) -> Value {
    json!({
        "base_url": base,
        "table": "STRAF42",
        "lang": "en",
        "variables": [{"code": "HERKOMST1", "values": ["00"]}, {"code": "Tid", "values": ["2023"]}],
    })
}

async fn error(settings: Value) -> Error {
    let mut source = (entry::<StatBank>().open)(settings, None).await.unwrap();
    match source.next().await {
        Err(err) => err,
        Ok(batch) => panic!("no error but {batch:?}"),
    }
}

#[tokio::test]
async fn the_recorded_csv_is_read_once_per_publication() {
    let (base, asked) = bank(TABLE_INFO.to_vec(), |_| {
        recorded("text/csv; charset=utf-8", DATA_CSV)
    })
    .await;
    conforms::<StatBank>(straf42(&base)).await;
    let asked = asked.lock().unwrap();
    assert_eq!(
        asked[0],
        json!({
            "table": "STRAF42",
            "lang": "en",
            "format": "csv",
            "valuePresentation": "Code",
            "variables": [{"code": "HERKOMST1", "values": ["00"]}, {"code": "TID", "values": ["2023"]}],
        })
    );
    assert_eq!(asked.len(), 1, "what is up to date is not asked for again");
}

#[tokio::test]
async fn csv_and_json_stat_give_the_same_columns_and_number() {
    let answer = |body: &Value| match body["format"].as_str() {
        Some("csv") => recorded("text/csv; charset=utf-8", DATA_CSV),
        _ => json_of(DATA_JSON_STAT),
    };
    let (base, _) = bank(TABLE_INFO.to_vec(), answer).await;
    let mut settings = straf42(&base);
    let csv = rows(&read::<StatBank>(&settings, None).await);
    settings["format"] = json!("jsonstat");
    let json_stat = rows(&read::<StatBank>(&settings, None).await);
    for (read, origin) in [(csv, "Total"), (json_stat, "00")] {
        let expected = [
            ("HERKOMST1", Some(origin)),
            ("INDHOLD", Some("233454")),
            ("MARKER", None),
            ("TABLE_ID", Some("STRAF42")),
            ("TID", Some("2023")),
            ("UPDATED", Some("2025-03-25T07:00:00Z")),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(
            read,
            [("page 1 record 1".to_owned(), expected.into_iter().collect())]
        );
    }
}

#[test]
fn the_time_of_publication_is_the_one_json_stat_gives_in_utc() {
    let info: TableInfo = from_slice(TABLE_INFO).unwrap();
    let data: Value = from_slice(DATA_JSON_STAT).unwrap();
    assert_eq!(
        info.updated(),
        data["dataset"]["updated"]
            .as_str()
            .unwrap()
            .parse::<DateTime<Utc>>()
            .unwrap()
    );
}

/// Answers any exact selection with a row for each combination, as the real server does.
fn any_data(body: &Value) -> Response {
    let variables = body["variables"].as_array().unwrap();
    let texts = |it: &Value| it.as_str().unwrap().to_owned();
    let header: Vec<String> = variables.iter().map(|it| texts(&it["code"])).collect();
    let rows = variables
        .iter()
        .fold(vec![String::new()], |rows, variable| {
            let values: Vec<String> = variable["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(texts)
                .collect();
            rows.iter()
                .flat_map(|row| values.iter().map(move |it| format!("{row}{it};")))
                .collect()
        });
    let body = format!(
        "\u{feff}{};INDHOLD\r\n{}1,5\r\n",
        header.join(";"),
        rows.join("1,5\r\n")
    );
    recorded("text/csv; charset=utf-8", body.as_bytes())
}

#[tokio::test]
async fn large_tables_come_in_parts_and_in_one_transaction() {
    let (base, asked) = bank(TABLE_INFO.to_vec(), any_data).await;
    let mut settings = straf42(&base);
    settings["variables"] =
        json!([{"code": "overtræd"}, {"code": "AFGØRELSE"}, {"code": "tid", "values": ["202*"]}]);
    settings["max_cells"] = json!(4000);
    conforms::<StatBank>(settings.clone()).await;
    let all = read::<StatBank>(&settings, None).await;
    let found = rows(&all);
    let distinct: std::collections::BTreeSet<_> =
        found.iter().map(|(_, columns)| columns.clone()).collect();
    assert_eq!((found.len(), distinct.len()), (97 * 47 * 5, 97 * 47 * 5));
    let positions: Vec<bool> = all.iter().map(|it| it.position.is_some()).collect();
    assert_eq!(positions.iter().filter(|it| **it).count(), 1);
    assert_eq!(positions.last(), Some(&true));
    for part in asked.lock().unwrap().iter() {
        let variables = part["variables"].as_array().unwrap();
        let rows: usize = variables
            .iter()
            .map(|it| it["values"].as_array().unwrap().len())
            .product();
        assert!(rows * 4 <= 4000, "{part}");
    }
}

#[tokio::test]
async fn markers_are_null_and_stay_apart_and_what_is_no_number_is_rejected() {
    let data = "\u{feff}HERKOMST1;TID;INDHOLD\r\n00;2023;1,5\r\n80;2023;..\r\n81;2023;-\r\n82;2023;many\r\n83;2023\r\n";
    let (base, _) = bank(TABLE_INFO.to_vec(), |_| {
        recorded("text/csv", data.as_bytes())
    })
    .await;
    let all = read::<StatBank>(&straf42(&base), None).await;
    let found: Vec<[Option<String>; 2]> = rows(&all)
        .into_iter()
        .map(|(_, columns)| ["INDHOLD", "MARKER"].map(|name| columns[name].clone()))
        .collect();
    let text = |it: &str| Some(it.to_owned());
    assert_eq!(
        found,
        [[text("1.5"), None], [None, text("..")], [None, text("-")]]
    );
    let rejects: Vec<String> = all[0]
        .rejects
        .iter()
        .map(|it| format!("{} {}", it.origin, it.raw))
        .collect();
    assert_eq!(
        rejects,
        ["page 1 record 4 82;2023;many", "page 1 record 5 83;2023"]
    );
}

#[tokio::test]
async fn json_stat_nulls_and_sparse_values_are_read() {
    let data = br#"{"dimension": {
        "A": {"category": {"index": ["x", "y"]}},
        "Tid": {"category": {"label": {"2023": "2023"}}},
        "id": ["A", "Tid"], "size": [2, 1]},
        "value": {"1": 2.5}, "status": {"0": "-"}}"#;
    let (base, _) = bank(TABLE_INFO.to_vec(), |_| json_of(data)).await;
    let mut settings = straf42(&base);
    settings["format"] = json!("jsonstat");
    let found: Vec<[Option<String>; 4]> = rows(&read::<StatBank>(&settings, None).await)
        .into_iter()
        .map(|(_, columns)| ["A", "TID", "INDHOLD", "MARKER"].map(|name| columns[name].clone()))
        .collect();
    let text = |it: &str| Some(it.to_owned());
    assert_eq!(
        found,
        [
            [text("x"), text("2023"), None, text("-")],
            [text("y"), text("2023"), text("2.5"), None]
        ]
    );
}

#[tokio::test]
async fn a_new_publication_and_a_changed_selection_are_read_and_nothing_else() {
    let (base, _) = bank(TABLE_INFO.to_vec(), any_data).await;
    let settings = straf42(&base);
    let first = read::<StatBank>(&settings, None).await;
    assert!(read::<StatBank>(&settings, first.last()).await.is_empty());

    let mut other = settings.clone();
    other["variables"][1]["values"] = json!(["2024"]);
    assert_eq!(rows(&read::<StatBank>(&other, first.last()).await).len(), 1);

    let mut info: Value = from_slice(TABLE_INFO).unwrap();
    info["updated"] = json!("2026-03-25T08:00:00");
    let (base, _) = bank(info.to_string().into_bytes(), any_data).await;
    assert_eq!(
        rows(&read::<StatBank>(&straf42(&base), first.last()).await).len(),
        1
    );
}

#[tokio::test]
async fn the_recorded_catalogue_is_read_when_it_changed() {
    let (base, _) = bank(TABLE_INFO.to_vec(), any_data).await;
    let settings = json!({"base_url": base, "catalogue": true});
    conforms::<StatBank>(settings.clone()).await;
    let found = rows(&read::<StatBank>(&settings, None).await);
    assert_eq!(found.len(), 2234);
    let (origin, first) = &found[0];
    assert_eq!(origin, "page 1 record 1");
    assert_eq!(first["id"].as_deref(), Some("FOLK1A"));
    assert_eq!(first["active"].as_deref(), Some("true"));
    assert_eq!(
        first["variables"].as_deref(),
        Some(r#"["region","sex","age","marital status","time"]"#)
    );
}

#[tokio::test]
async fn errors_say_what_to_change() {
    let too_big = r#"{"errorTypeCode":"EXTRACT-TOOBIG","message":"Too many cells"}"#;
    for (status, body, expected) in [
        (
            400,
            too_big,
            "finds this extract of STRAF42 too big, cells asked for: 3; lower `max_cells`",
        ),
        (413, too_big, "too big"),
        (
            404,
            "{}",
            "Statistics Denmark knows no table STRAF42; `catalogue: true` lists",
        ),
        (
            400,
            r#"{"message":"bad TID"}"#,
            "does not accept what is asked of STRAF42; it says: {\"message\":\"bad TID\"}",
        ),
    ] {
        let answer = move |_: &Value| (StatusCode::from_u16(status).unwrap(), body).into_response();
        let (base, _) = bank(TABLE_INFO.to_vec(), answer).await;
        let err = error(straf42(&base)).await;
        assert!(
            matches!(&err, Error::Settings(text) if text.contains(expected)),
            "{err}"
        );
    }
}

#[tokio::test]
async fn answers_that_are_something_else_are_unreadable_deliveries() {
    for (format, body) in [
        ("csv", ""),
        ("csv", "<html>\r\n"),
        ("csv", "INDHOLD\r\n1\r\n"),
        ("jsonstat", "{}"),
        (
            "jsonstat",
            r#"{"dimension":{"id":["A"],"A":{"category":{"index":["x"]}}},"value":[1,2]}"#,
        ),
    ] {
        let (base, _) = bank(TABLE_INFO.to_vec(), move |_| json_of(body.as_bytes())).await;
        let mut settings = straf42(&base);
        settings["format"] = json!(format);
        let err = error(settings).await;
        assert!(matches!(err, Error::Delivery(_)), "{body}: {err}");
    }
}

#[test]
fn settings_name_a_table_or_the_catalogue() {
    let check = entry::<StatBank>().check;
    for wrong in [
        json!({}),
        json!({"table": "RAS200", "catalogue": true}),
        json!({"catalogue": true, "variables": [{"code": "TID"}]}),
        json!({"table": "RAS200", "base_url": "api.statbank.dk"}),
        json!({"table": "RAS200", "format": "px"}),
    ] {
        assert!(check(&wrong).is_err(), "{wrong}");
    }
    check(&json!({"table": "RAS200", "variables": [{"code": "TID"}]})).unwrap();
    assert!(
        from_value::<Stored>(json!({"updated": "2025-03-25T07:00:00Z", "asked": "x", "more": 1}))
            .is_err()
    );
}

#[tokio::test]
async fn a_table_is_complete_through_its_latest_period_that_is_over() {
    // Published on 25 March 2025.
    for (codes, expected) in [
        (&["2024M09", "2025M02", "2024M12"][..], Some("2025-02-28")),
        (&["2024K3", "2024K4"], Some("2024-12-31")),
        (&["2023", "2024"], Some("2024-12-31")),
        (&["2024", "2030"], Some("2024-12-31")),
        (&["2023:2024"], None),
    ] {
        let rows: String = codes.iter().map(|it| format!("00;{it};1\r\n")).collect();
        let data = format!("\u{feff}HERKOMST1;TID;INDHOLD\r\n{rows}");
        let (base, _) = bank(TABLE_INFO.to_vec(), move |_| {
            recorded("text/csv", data.as_bytes())
        })
        .await;
        let all = read::<StatBank>(&straf42(&base), None).await;
        let through = all
            .last()
            .unwrap()
            .complete_through
            .map(|it| it.to_string());
        assert_eq!(through.as_deref(), expected, "{codes:?}");
    }
    // In parts, whichever holds the latest; also where the time is not asked for.
    let (base, _) = bank(TABLE_INFO.to_vec(), any_data).await;
    let mut settings = straf42(&base);
    settings["variables"] = json!([{"code": "TID", "values": ["2024", "2020"]}]);
    settings["max_cells"] = json!(2);
    let all = read::<StatBank>(&settings, None).await;
    let through: Vec<Option<String>> = all
        .iter()
        .map(|it| it.complete_through.map(|it| it.to_string()))
        .collect();
    assert_eq!(through, [None, Some("2024-12-31".to_owned())]);
    let (base, _) = bank(TABLE_INFO.to_vec(), |_| json_of(DATA_JSON_STAT)).await;
    let mut settings = straf42(&base);
    settings["format"] = json!("jsonstat");
    let all = read::<StatBank>(&settings, None).await;
    assert_eq!(
        all[0].complete_through.map(|it| it.to_string()).as_deref(),
        Some("2023-12-31")
    );
}

/// Two kinds of decision of the recorded table side by side, as employed and unemployed are wanted of a labour force.
#[tokio::test]
async fn the_values_of_a_variable_come_side_by_side() {
    let (base, _) = bank(TABLE_INFO.to_vec(), any_data).await;
    let mut settings = straf42(&base);
    settings["variables"] = json!([
        {"code": "HERKOMST1", "values": ["00"]},
        {"code": "afgørelse", "values": ["*"]},
        {"code": "Tid", "values": ["202*"]},
    ]);
    let long = rows(&read::<StatBank>(&settings, None).await);
    settings["pivot"] = json!("Afgørelse");
    conforms::<StatBank>(settings.clone()).await;
    let wide = rows(&read::<StatBank>(&settings, None).await);
    let numbers = |columns: &std::collections::BTreeMap<String, Option<String>>| {
        let numbers = columns.iter().filter(|it| it.0.starts_with("INDHOLD"));
        numbers.filter(|it| it.1.is_some()).count()
    };
    let times: std::collections::BTreeSet<_> = wide.iter().map(|it| it.1["TID"].clone()).collect();
    assert_eq!(times.len(), wide.len(), "one row a year");
    assert_eq!(
        wide.iter().map(|it| numbers(&it.1)).sum::<usize>(),
        long.len()
    );
    assert!(
        wide.iter()
            .all(|it| !it.1.contains_key("AFGØRELSE") && !it.1.contains_key("INDHOLD"))
    );

    // However small the parts, what shares a row is asked for at once.
    settings["max_cells"] = json!(4);
    let parts = rows(&read::<StatBank>(&settings, None).await);
    let columns =
        |rows: &[connector_testkit::Row]| rows.iter().map(|it| it.1.clone()).collect::<Vec<_>>();
    assert_eq!(columns(&parts), columns(&wide));
}

#[tokio::test]
async fn a_pivot_keeps_markers_and_rejects_what_was_not_asked_for() {
    let data = "\u{feff}HERKOMST1;TID;INDHOLD\r\n00;2022;7\r\n80;2023;..\r\n00;2023;1,5\r\n81;2023;2\r\n00;2023;9\r\n";
    let (base, _) = bank(TABLE_INFO.to_vec(), |_| {
        recorded("text/csv", data.as_bytes())
    })
    .await;
    let mut settings = straf42(&base);
    settings["variables"] = json!([{"code": "HERKOMST1", "values": ["00", "80"]}, {"code": "Tid", "values": ["2022", "2023"]}]);
    settings["pivot"] = json!("HERKOMST1");
    let all = read::<StatBank>(&settings, None).await;
    let found: Vec<Vec<Option<String>>> = rows(&all)
        .into_iter()
        .map(|(_, columns)| {
            ["TID", "INDHOLD_00", "MARKER_00", "INDHOLD_80", "MARKER_80"]
                .map(|it| columns[it].clone())
                .to_vec()
        })
        .collect();
    let text = |it: &str| Some(it.to_owned());
    assert_eq!(
        found,
        [
            vec![text("2022"), text("7"), None, None, None],
            vec![text("2023"), text("1.5"), None, None, text("..")],
        ]
    );
    let reasons: Vec<&str> = all[0].rejects.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "`81` is none of the values asked for: 00, 80",
            "`00` is there twice for 00; 2023"
        ]
    );

    settings["variables"][0]["values"] = json!(["(1)"]);
    let err = error(settings.clone()).await.to_string();
    assert!(
        err.contains("`pivot` needs codes or patterns of HERKOMST1"),
        "{err}"
    );
    settings["pivot"] = json!("KØN");
    let check = entry::<StatBank>().check;
    assert!(
        check(&settings)
            .unwrap_err()
            .to_string()
            .contains("`pivot` is KØN, which is not in `variables`")
    );
}
