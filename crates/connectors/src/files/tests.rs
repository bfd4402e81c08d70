//! Folders of files as providers really send them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{fs, time::SystemTime};

use connector_api::Reject;
use connector_testkit::{conforms, read, rows};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn settings(dir: &TempDir) -> Value {
    json!({ "path": dir.path() })
}

/// Rows as `origin a=1 b=2`, nulls left out.
fn shown(batches: &[Batch]) -> Vec<String> {
    let cells = |columns: std::collections::BTreeMap<String, Option<String>>| {
        let cells = columns
            .into_iter()
            .filter_map(|(name, value)| Some(format!(" {name}={}", value?)));
        cells.collect::<String>()
    };
    rows(batches)
        .into_iter()
        .map(|(origin, columns)| origin + &cells(columns))
        .collect()
}

fn rejects(batches: &[Batch]) -> Vec<Reject> {
    batches.iter().flat_map(|it| it.rejects.clone()).collect()
}

async fn error(settings: Value) -> String {
    let opened = connector_api::entry::<Files>();
    let mut source = (opened.open)(settings, None).await.unwrap();
    loop {
        match source.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(err) => return err.to_string(),
        }
    }
}

#[tokio::test]
async fn conforms_with_files_larger_than_a_batch() {
    let mut large = String::from("id;navn\n");
    for i in 0..20_000 {
        large.push_str(&format!("{i};\"linje\n{i}\"\n"));
    }
    let dir = folder(&[
        ("b.csv", large.as_bytes()),
        ("a.csv", b"id;navn\n1;Bo\n2\n"),
        ("c.csv", b""),
        ("d.csv", b"id;navn\n"),
    ]);
    conforms::<Files>(settings(&dir)).await;
    let all = read::<Files>(&settings(&dir), None).await;
    let sizes: Vec<(usize, bool)> = all
        .iter()
        .map(|it| (it.rows.num_rows(), it.position.is_some()))
        .collect();
    assert_eq!(
        sizes,
        [
            (1, true),
            (8192, false),
            (8192, false),
            (3616, true),
            (0, true),
            (0, true)
        ]
    );
    assert_eq!(all[3].origins[0], "b.csv:32770");
    let names: Vec<String> = all
        .iter()
        .filter_map(|it| Some(it.delivery.clone()?.file_name))
        .collect();
    assert_eq!(names, ["a.csv", "b.csv", "c.csv", "d.csv"]);
}

#[tokio::test]
async fn content_counts_and_not_the_name() {
    let dir = folder(&[("a.csv", b"id\n1\n")]);
    let settings = settings(&dir);
    let first = read::<Files>(&settings, None).await;
    assert_eq!(shown(&first), ["a.csv:2 id=1"]);

    fs::write(dir.path().join("copy.csv"), b"id\n1\n").unwrap();
    assert!(read::<Files>(&settings, first.last()).await.is_empty());

    fs::write(dir.path().join("a.csv"), b"id\n2\n").unwrap();
    let second = read::<Files>(&settings, first.last()).await;
    assert_eq!(
        shown(&second),
        ["a.csv:2 id=2"],
        "the copy must not undo the correction"
    );
    assert!(read::<Files>(&settings, second.last()).await.is_empty());
}

#[tokio::test]
async fn an_open_folder_shows_what_arrives_later() {
    let dir = folder(&[]);
    let mut source = (connector_api::entry::<Files>().open)(settings(&dir), None)
        .await
        .unwrap();
    assert!(source.next().await.unwrap().is_none());
    fs::write(dir.path().join("a.csv"), b"id\n1\n").unwrap();
    assert_eq!(
        shown(&[source.next().await.unwrap().unwrap()]),
        ["a.csv:2 id=1"]
    );
    assert!(source.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_not_taken_for_whole() {
    let rows: String = (0..200_000).map(|i| format!("{i}\n")).collect();
    let dir = folder(&[("a.csv", format!("id\n{rows}").as_bytes())]);
    let mut source = (connector_api::entry::<Files>().open)(settings(&dir), None)
        .await
        .unwrap();
    assert!(source.next().await.unwrap().unwrap().position.is_none());
    let mut file = fs::File::options()
        .append(true)
        .open(dir.path().join("a.csv"))
        .unwrap();
    io::Write::write_all(&mut file, b"200000\n").unwrap();
    let err = loop {
        match source.next().await {
            Ok(batch) => assert!(batch.unwrap().position.is_none()),
            Err(err) => break err,
        }
    };
    assert!(
        err.is_retryable() && err.to_string().contains("a.csv changed while it was read"),
        "{err}"
    );
    let all = read::<Files>(&settings(&dir), None).await;
    assert_eq!(
        all.iter().map(|it| it.rows.num_rows()).sum::<usize>(),
        200_001
    );
}

#[tokio::test]
async fn unfinished_young_and_other_files_wait() {
    let dir = folder(&[
        (".a.csv", b"id\n1\n"),
        ("b.csv.part", b"id\n2\n"),
        ("c.csv.filepart", b"id\n3\n"),
        ("d.csv.TMP", b"id\n4\n"),
        ("e.xml", b"id\n5\n"),
        ("young.csv", b"id\n6\n"),
        ("OLD.CSV", b"id\n7\n"),
    ]);
    fs::create_dir(dir.path().join("folder.csv")).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let old = fs::File::options()
        .append(true)
        .open(dir.path().join("OLD.CSV"))
        .unwrap();
    old.set_modified(hour_ago).unwrap();
    let mut settings = settings(&dir);
    settings["min_age_seconds"] = json!(600);
    assert_eq!(
        shown(&read::<Files>(&settings, None).await),
        ["OLD.CSV:2 id=7"]
    );
    settings["min_age_seconds"] = json!(0);
    settings["pattern"] = json!("*");
    assert_eq!(
        shown(&read::<Files>(&settings, None).await),
        ["OLD.CSV:2 id=7", "e.xml:2 id=5", "young.csv:2 id=6"]
    );
}

#[tokio::test]
async fn encodings_are_told_from_the_bytes_or_named() {
    let utf_16 = |text: &str| "\u{feff}".chars().chain(text.chars()).collect::<String>();
    let utf_16: Vec<u8> = utf_16("by\nÅrhus\n")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let dir = folder(&[
        ("1.csv", "by\nÅrhus\n".as_bytes()),
        ("2.csv", "\u{feff}by\nÅrhus\n".as_bytes()),
        ("3.csv", b"by\r\n\xc5rhus\r\n"),
        ("4.csv", &utf_16),
    ]);
    assert_eq!(
        shown(&read::<Files>(&settings(&dir), None).await),
        [
            "1.csv:2 by=Århus",
            "2.csv:2 by=Århus",
            "3.csv:2 by=Århus",
            "4.csv:2 by=Århus"
        ]
    );

    let dir = folder(&[("dos.csv", b"by\n\x8frhus\n")]);
    let mut settings = settings(&dir);
    settings["encoding"] = json!("ibm866");
    assert_eq!(
        shown(&read::<Files>(&settings, None).await),
        ["dos.csv:2 by=Пrhus"]
    );
}

#[tokio::test]
async fn rows_that_are_none_are_rejected_where_they_stand() {
    let text =
        "\u{feff} Navn ;Alder\n\"Bo\nHansen\";30\nIda;31;x\n\n;\nOle\nEva;\n\"U\"l;33\nÆa;34\n";
    let bytes = text.bytes().chain(*b"\xc5;35\nIb;36").collect::<Vec<u8>>();
    let dir = folder(&[("r.csv", &bytes)]);
    let all = read::<Files>(&settings(&dir), None).await;
    assert_eq!(
        shown(&all),
        [
            "r.csv:2 Alder=30 Navn=Bo\nHansen",
            "r.csv:8 Navn=Eva",
            "r.csv:10 Alder=34 Navn=Æa",
            "r.csv:12 Alder=36 Navn=Ib",
        ]
    );
    let found: Vec<String> = rejects(&all)
        .iter()
        .map(|it| format!("{} {} <- {}", it.origin, it.raw, it.reason))
        .collect();
    assert_eq!(
        found,
        [
            "r.csv:4 Ida;31;x <- fields: 3, where the header has 2",
            "r.csv:7 Ole <- fields: 1, where the header has 2",
            "r.csv:9 \"U\"l;33 <- text follows a closing quote; a quote within a quoted field is written twice",
            "r.csv:11 \u{fffd};35 <- the row holds bytes that are no characters in the file's encoding",
        ]
    );
}

#[tokio::test]
async fn headers_below_titles_totals_and_delimiters() {
    let dir = folder(&[(
        "r.csv",
        b"Report \"Q1\n\n\t\t\nid\t\tb\n1\t\t2\n3\tx\t4\nTotal\t6\n\n",
    )]);
    let mut settings = settings(&dir);
    settings["header_row"] = json!(2);
    settings["totals_row"] = json!(true);
    settings["delimiter"] = json!("tab");
    let all = read::<Files>(&settings, None).await;
    assert_eq!(
        shown(&all),
        ["r.csv:5 b=2 id=1", "r.csv:6 b=4 column_2=x id=3"]
    );
    assert_eq!(rejects(&all), [], "the totals row is no reject either");
}

#[tokio::test]
async fn an_unreadable_file_is_one_reject_that_says_why_and_the_next_file_is_read() {
    let cases: [(&str, &[u8], &str); 5] = [
        (
            "twice.csv",
            b"a;b; a \n",
            "twice.csv:1: column `a` appears twice, as number 1 and 3",
        ),
        (
            "cpr.csv",
            b"010180-1234;010180-1234\n",
            "cpr.csv:1: column `[cpr]` appears twice",
        ),
        (
            "excel.csv",
            b"PK\x03\x04\x14\0",
            "excel.csv:1: this is a ZIP or Excel file",
        ),
        (
            "utf16.csv",
            b"a\0;\0b\0",
            "utf16.csv:1: this is not text, or it is UTF-16",
        ),
        (
            "quote.csv",
            b"a;\"b\n1;2\n",
            "quote.csv:1: the header cannot be read: a quote is opened",
        ),
    ];
    for (name, bytes, expected) in cases {
        let dir = folder(&[(name, bytes), ("z.csv", b"id\n1\n")]);
        let all = read::<Files>(&settings(&dir), None).await;
        let [reject] = &rejects(&all)[..] else {
            panic!("{all:?}");
        };
        let said = format!("{}: {}", reject.origin, reject.reason);
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(reject.raw, "");
        assert_eq!(shown(&all), ["z.csv:2 id=1"]);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|it| it.delivery.is_some()));
        // Counted as read, until its content changes.
        assert!(read::<Files>(&settings(&dir), all.last()).await.is_empty());
        fs::write(dir.path().join(name), b"id\n2\n").unwrap();
        let mended = read::<Files>(&settings(&dir), all.last()).await;
        assert_eq!(shown(&mended), [format!("{name}:2 id=2")]);
    }
    let err = error(json!({"path": "/no/such/folder"})).await;
    assert!(
        err.starts_with("invalid settings: folder /no/such/folder cannot be read"),
        "{err}"
    );
}

#[test]
fn settings_are_checked_before_anything_is_opened() {
    let check = connector_api::entry::<Files>().check;
    for wrong in [
        json!({"path": "in", "delimiter": ";;"}),
        json!({"path": "in", "delimiter": "ø"}),
        json!({"path": "in", "encoding": "klingon"}),
        json!({"pattern": "*"}),
    ] {
        assert!(check(&wrong).is_err(), "{wrong}");
    }
    for wrong in [
        json!({"kind": "guess"}),
        json!({"kind": "column"}),
        json!({"kind": "name", "pattern": "{quarter}.csv"}),
        json!({"kind": "name", "column": "Dato"}),
    ] {
        assert!(
            check(&json!({"path": "in", "watermark": wrong})).is_err(),
            "{wrong}"
        );
    }
    check(&json!({"path": "in", "delimiter": "|", "encoding": "UTF-16LE"})).unwrap();
}

#[tokio::test]
async fn a_cpr_number_in_a_file_name_goes_nowhere() {
    let dir = folder(&[("0101801234 plan.csv", b"id\n1\n2;3\n")]);
    let all = read::<Files>(&settings(&dir), None).await;
    assert_eq!(shown(&all), ["[cpr] plan.csv:2 id=1"]);
    assert!(!format!("{all:?}").contains("0101801234"), "{all:?}");
    assert!(read::<Files>(&settings(&dir), all.last()).await.is_empty());
}

/// `file period complete_through` of each file read.
fn deliveries(batches: &[Batch]) -> Vec<String> {
    let told = batches.iter().filter_map(|batch| {
        let delivery = batch.delivery.as_ref()?;
        let period = delivery
            .period
            .map_or_else(|| "-".to_owned(), |it| it.to_string());
        let through = batch
            .complete_through
            .map_or_else(|| "-".to_owned(), |it| it.to_string());
        Some(format!("{} {period} {through}", delivery.file_name))
    });
    told.collect()
}

#[tokio::test]
async fn names_tell_how_far_the_files_are_complete_up_to_the_first_gap() {
    let dir = folder(&[
        ("a-2010-01.csv", b"id\n1\n"),
        ("a-2010-02.csv", b"PK\x03\x04"),
        ("a-2010-04.csv", b"id\n4\n"),
        ("a-2099-01.csv", b"id\n99\n"),
    ]);
    let mut settings = settings(&dir);
    settings["watermark"] = json!({"kind": "name"});
    let first = read::<Files>(&settings, None).await;
    assert_eq!(
        deliveries(&first),
        [
            "a-2010-01.csv 2010-01 2010-01-31",
            "a-2010-02.csv 2010-02 -",
            "a-2010-04.csv 2010-04 2010-01-31",
            "a-2099-01.csv 2099-01 2010-01-31",
        ],
        "what could not be read as rows is a gap"
    );
    fs::write(dir.path().join("a-2010-02.csv"), b"id\n2\n").unwrap();
    fs::write(dir.path().join("a-2010-03.csv"), b"id\n").unwrap();
    let second = read::<Files>(&settings, first.last()).await;
    assert_eq!(
        deliveries(&second),
        [
            "a-2010-02.csv 2010-02 2010-02-28",
            "a-2010-03.csv 2010-03 2010-04-30"
        ]
    );

    settings["watermark"] = json!({"kind": "name", "pattern": "?-{year}-0{quarter}.csv"});
    assert_eq!(
        deliveries(&read::<Files>(&settings, None).await)[0],
        "a-2010-01.csv 2010Q1 2010-03-31"
    );
}

#[tokio::test]
async fn a_column_tells_how_far_each_file_is_complete() {
    let mut large = String::from("Dato;n\n");
    for i in 0..9000 {
        let date = if i == 10 { "30-06-2010" } else { "2010-05-31" };
        large.push_str(&format!("{date};{i}\n"));
    }
    let dir = folder(&[
        ("1.csv", large.as_bytes()),
        (
            "2.csv",
            b"Dato;n\n31-03-2010;1\n01-01-2099;2\nsnart;3\n;4\n",
        ),
        ("3.csv", b"date;n\n2010-01-31;1\n"),
    ]);
    let mut settings = settings(&dir);
    settings["watermark"] = json!({"kind": "column", "column": "Dato"});
    assert_eq!(
        deliveries(&read::<Files>(&settings, None).await),
        ["1.csv - 2010-06-30", "2.csv - 2010-03-31", "3.csv - -"],
        "the latest of all its batches; not a day to come; none without the column"
    );
}

#[tokio::test]
async fn files_without_rows_are_alike_and_each_is_read() {
    let dir = folder(&[
        ("a-2010-01.csv", b"id\n"),
        ("a-2010-02.csv", b"id\n"),
        ("a-2010-03.csv", b"id\n1\n"),
        ("copy.csv", b"id\n1\n"),
    ]);
    let settings = settings(&dir);
    conforms::<Files>(settings.clone()).await;
    let all = read::<Files>(&settings, None).await;
    let names = [
        "a-2010-01.csv - -",
        "a-2010-02.csv - -",
        "a-2010-03.csv - -",
    ];
    assert_eq!(deliveries(&all), names);
}
