//! `pejl run --once` over canonical CSV files: everything arrives, and a second run changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::fs;

use stage::Stage;

#[test]
fn a_second_run_changes_nothing() {
    let stage = Stage::canonical(60);
    let first = stage.ok(&["run", "--once"]);
    assert!(first.contains("participation"), "{first}");
    let marts = stage.marts();
    assert!(stage.ok(&["verify"]).contains("clean"));
    let since = stage.ok(&["verify", "--since-last", "--format", "json"]);
    let since: serde_json::Value = serde_json::from_str(&since).unwrap();
    assert_eq!(
        (&since["verdict"], &since["since_last"]),
        (&"clean".into(), &true.into())
    );
    let tables = since["tables"].as_array().unwrap();
    assert!(!tables.is_empty() && tables.iter().all(|it| it["files_read"] == 0));
    let state = state(&stage);

    let second = stage.ok(&["run", "--once"]);
    assert!(second.contains("nothing new"), "{second}");
    assert_eq!(stage.marts(), marts);
    assert_eq!(
        self::state(&stage),
        state,
        "a table or the publication moved"
    );
    let plan = stage.ok(&["build", "--plan"]);
    assert!(plan.contains("0 models to compute, "), "{plan}");
    let built = stage.ok(&["build"]);
    assert!(
        built.contains("nothing changed; publication 1 stays"),
        "{built}"
    );
}

/// A build says what it would do before anything is built, and why.
#[test]
fn a_first_build_is_planned_whole() {
    let stage = Stage::canonical(20);
    let plan = stage.ok(&["build", "--plan", "--format", "json"]);
    let overview = plan
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|it| it["model"] == "mart.offer_overview")
        .unwrap();
    assert_eq!(
        (&overview["computed"], &overview["why"]),
        (&"all".into(), &"it is new".into())
    );
}

/// Every row of every file is either landed or set aside, counted from the files themselves.
#[test]
fn every_delivered_row_is_accounted_for() {
    let stage = Stage::canonical(40);
    stage.ok(&["run", "--once"]);
    let mut delivered = 0;
    for folder in fs::read_dir(stage.path("drops")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let mut reader = csv::Reader::from_path(file.unwrap().path()).unwrap();
            delivered += reader.records().count();
        }
    }
    let counted = stage.ok(&[
        "query",
        "select sum(rows_read) as rows_read, sum(rows_accepted) + sum(rows_quarantined) as placed from core.delivery",
        "--format",
        "csv",
    ]);
    assert_eq!(
        counted.lines().nth(1).unwrap(),
        format!("{delivered},{delivered}"),
        "of {delivered} rows in the files"
    );
}

/// What a provider gets wrong is set aside with a reason to act on; the rest of the file is in.
#[test]
fn bad_rows_are_set_aside_with_reasons() {
    let stage = Stage::empty();
    let folder = stage.path("drops");
    fs::create_dir_all(&folder).unwrap();
    let citizen = "c".repeat(64);
    let row = |id: &str, code: &str, benefit: &str, from: &str, to: &str| {
        format!("{id},{code},{citizen},{benefit},,{from},{to},false,,2010-07-01T00:00:00Z\n")
    };
    let header = "spell_id,municipality_code,citizen_id,benefit,match_group,from_date,to_date,partial,end_reason,updated_at\n";
    let text = [
        header.to_owned(),
        row("good-1", "101", "cash_benefit", "2010-01-01", "2010-02-01"),
        row("wrong-type", "101", "cash_benefit", "first of May", ""),
        row("unknown-code", "101", "pocket_money", "2010-01-01", ""),
        row(
            "end-before-start",
            "101",
            "cash_benefit",
            "2010-03-01",
            "2010-02-01",
        ),
        "too,few,fields\n".to_owned(),
        row("good-2", "101", "cash_benefit", "2010-04-01", ""),
    ]
    .concat();
    fs::write(folder.join("spells.csv"), text).unwrap();
    stage.write_source("benefit_spell", &folder);
    stage.ok(&["run", "--once"]);

    let landed = stage.sorted("select spell_id from raw.benefit_spell");
    assert_eq!(landed, "spell_id\ngood-1\ngood-2");
    let aside = stage.sorted("select origin, field, reason from raw.quarantine");
    let line_of = |origin: &str| {
        aside
            .lines()
            .find(|it| it.starts_with(origin))
            .unwrap_or_else(|| panic!("nothing about {origin} in\n{aside}"))
            .to_owned()
    };
    assert!(line_of("spells.csv:3").contains("from_date"), "{aside}");
    assert!(line_of("spells.csv:3").contains("first of May"), "{aside}");
    assert!(line_of("spells.csv:4").contains("pocket_money"), "{aside}");
    assert!(line_of("spells.csv:5").contains("to_date"), "{aside}");
    assert!(line_of("spells.csv:6").contains("fields"), "{aside}");
    assert_eq!(aside.lines().count(), 5, "{aside}");
    let audit = stage.ok(&["verify"]);
    assert!(
        audit.contains("clean") && audit.contains("1 delivered files"),
        "{audit}"
    );

    let json: serde_json::Value =
        serde_json::from_str(&stage.ok(&["verify", "--format", "json"])).unwrap();
    assert_eq!(json["verdict"], "clean");
    assert_eq!(json["deliveries_counted"], 1);
    let of_topic = |name: &str, what: &str| -> i64 {
        let partitions = json["partitions"].as_array().unwrap().iter();
        let named = partitions.filter(|it| it["topic"] == name);
        named.map(|it| it[what].as_i64().unwrap()).sum()
    };
    assert_eq!(of_topic("pejl.benefit_spell", "landed"), 2);
    assert_eq!(of_topic("pejl.quarantine", "landed"), 4);
}

#[test]
fn an_unreadable_file_does_not_keep_the_others_back() {
    let stage = Stage::empty();
    let folder = stage.path("drops");
    fs::create_dir_all(&folder).unwrap();
    let header = "unit_id,municipality_code,name,kind,updated_at\n";
    let row = |id: &str| format!("{id},101,Jobcenter,jobcenter,2010-07-01T00:00:00Z\n");
    fs::write(
        folder.join("a.csv"),
        b"PK\x03\x04 an Excel file by another name",
    )
    .unwrap();
    fs::write(folder.join("b.csv"), header.to_owned() + &row("b")).unwrap();
    stage.write_source("unit", &folder);
    stage.ok(&["run", "--once"]);
    assert_eq!(stage.sorted("select unit_id from core.unit"), "unit_id\nb");
    let aside = stage.sorted("select origin, rule, reason from raw.quarantine");
    assert_eq!(aside.lines().count(), 2, "{aside}");
    assert!(
        aside.contains("a.csv:1,unreadable,") && aside.contains("save it as CSV"),
        "{aside}"
    );
    let delivered =
        "select file_name, rows_read, rows_accepted, rows_quarantined from core.delivery";
    assert!(stage.sorted(delivered).contains("\na.csv,1,0,1\n"));

    // The sender's second try, under the same name.
    fs::write(folder.join("a.csv"), header.to_owned() + &row("a")).unwrap();
    stage.ok(&["run", "--once"]);
    assert_eq!(
        stage.sorted("select unit_id from core.unit"),
        "unit_id\na\nb"
    );
}

#[test]
fn tidying_changes_no_answer() {
    let stage = Stage::canonical(30);
    stage.ok(&["run", "--once"]);
    // The same units again under another name and hash: a second file in their table.
    let folder = stage.path("drops/unit");
    let file = fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(folder.join("again.csv"), text + "\n").unwrap();
    stage.ok(&["run", "--once"]);
    let before = stage.marts();
    let tidied = stage.ok(&["tidy", "--format", "csv"]);
    let merged = |table: &str| {
        let row = tidied
            .lines()
            .find(|it| it.starts_with(&format!("{table},")));
        let row = row.unwrap_or_else(|| panic!("no {table} in\n{tidied}"));
        row.split(',').nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(merged("raw.unit") >= 2, "{tidied}");
    assert_eq!(merged("mart.offer_overview"), 0, "{tidied}");
    // The log says nothing of texts, also not of the files that were put together.
    let log = stage.path("data/lake/raw/unit/_delta_log");
    for file in fs::read_dir(log).unwrap().map(|it| it.unwrap().path()) {
        if file.extension().is_some_and(|it| it == "json") {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("Jobcenter"), "{text}");
        }
    }
    assert_eq!(stage.marts(), before);
    assert!(stage.ok(&["verify"]).contains("clean"));
    // A second time there is nothing to do, and neither time anything to warn of.
    let mut again = stage.command(&["tidy", "--format", "csv"]);
    let again = again.env("PEJL_LOG", "warn").output().unwrap();
    let told = String::from_utf8(again.stdout).unwrap();
    assert!(
        told.lines().skip(1).all(|it| it.contains(",0,0,")),
        "{told}"
    );
    assert_eq!(String::from_utf8(again.stderr).unwrap(), "");
    // What was put together is no news to the models.
    let built = stage.ok(&["build"]);
    assert!(built.contains("nothing changed"), "{built}");
}

#[test]
fn a_cpr_number_reaches_no_table() {
    let stage = Stage::empty();
    let folder = stage.path("drops");
    fs::create_dir_all(&folder).unwrap();
    // Day 61 cannot exist; it is still shaped like a CPR number and must be treated as one.
    let cpr = "610170-1234";
    let text = format!(
        "citizen_id,municipality_code,birth_year,origin,exit_date,exit_reason,updated_at\n\
         {cpr},101,1970,danish,,,2010-07-01T00:00:00Z\n\
         {},101,1970,danish,,,2010-07-01T00:00:00Z\n",
        "d".repeat(64)
    );
    fs::write(folder.join("citizens.csv"), text).unwrap();
    stage.write_source("citizen", &folder);
    let out = stage.pejl(&["run", "--once", "--log-level", "trace"]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let tables = [
        stage.ok(&["query", "select * from raw.citizen", "--format", "json"]),
        stage.ok(&["query", "select * from raw.quarantine", "--format", "json"]),
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    ];
    assert!(tables[1].contains("citizens.csv:2"), "{}", tables[1]);
    // Whole, in the shapes it is written in: six digits alone are also the microseconds of some line of the log.
    for shape in ["610170-1234", "610170 1234", "6101701234"] {
        for text in &tables {
            let found = text.lines().find(|it| it.contains(shape));
            assert_eq!(found, None);
        }
    }
}

/// Versions of all tables and the current publication.
fn state(stage: &Stage) -> String {
    let mut logs: Vec<String> = Vec::new();
    let mut folders = vec![stage.path("data/lake")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(stage.folder.path()).unwrap();
                logs.push(name.display().to_string());
            }
        }
    }
    logs.sort();
    logs.join("\n")
}
