//! Releases over a real lake: frozen rows, revisions and their causes, audiences by date, and what two releases tell together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod rolling;
mod stage;
mod together;

use std::time::Duration;

use warehouse::{Draft, Outcome};

use stage::{
    DEFINITION, FROZEN, KINDS, MODEL, OPEN, Stage, answer, ask, built, correction, draft, february,
    january, participation, release,
};

#[tokio::test]
async fn a_release_stays_and_what_comes_later_is_a_revision_with_its_cause() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, "select * from mart.revision")
            .await
            .is_empty()
    );
    let made = release(&warehouse, "groups-2010H2").await;
    assert_eq!((made.release.publication_id, made.kept), (1, 0));
    assert_eq!(made.release.definitions, ["group_size@1"]);
    assert_eq!(
        made.release.inputs.keys().collect::<Vec<_>>(),
        ["raw.participation"]
    );
    let frozen = ask(&warehouse, FROZEN).await;
    assert_eq!(
        frozen,
        [
            "groups-2010H2|101|2010H2|A|all|21|false|group_size@1||",
            "groups-2010H2|101|2010H2|A|cash_benefit_1|9|false|group_size@1||",
            "groups-2010H2|101|2010H2|A|rehabilitation|12|false|group_size@1||",
            "groups-2010H2|101|2010H2|B|all|23|false|group_size@1||",
            "groups-2010H2|101|2010H2|B|cash_benefit_1||true|group_size@1||",
            "groups-2010H2|101|2010H2|B|rehabilitation||true|group_size@1||",
        ]
    );

    // Five come late to A.
    stage.participations("A", "cash_benefit_1", 9, 5).await;
    built(&warehouse).await;
    let late =
        "data: participation added (through pejl.participation/0@48, 2011-01-05 08:00 UTC)|2";
    let cell = |offer: &str, group: &str| {
        format!("municipality_code=101, period=2010H2, offer_id={offer}, target_group={group}")
    };
    assert_eq!(
        ask(&warehouse, OPEN).await,
        [
            format!("{}|n|21|26|{late}", cell("A", "all")),
            format!("{}|n|9|14|{late}", cell("A", "cash_benefit_1")),
        ]
    );
    built(&warehouse).await;
    assert_eq!(
        warehouse.publication().await.unwrap().unwrap().id,
        2,
        "nothing changed"
    );

    // They were a mistake and are deleted; six of the others never came.
    let gone = |from: usize, to: usize, group: &str| -> Vec<String> {
        (from..to)
            .map(|it| format!(r#""participation_id":"A-{group}-{it}""#))
            .collect()
    };
    stage
        .land("participation", &gone(9, 14, "cash_benefit_1"))
        .await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, OPEN).await.is_empty(),
        "it is as it was released"
    );
    stage
        .land("participation", &gone(0, 6, "rehabilitation"))
        .await;
    built(&warehouse).await;
    let open = ask(&warehouse, OPEN).await;
    assert_eq!(open.len(), 2);
    assert!(
        open[1].starts_with(&format!(
            "{}|n|12|6|data: participation deleted (",
            cell("A", "rehabilitation")
        )),
        "{open:?}"
    );
    assert_eq!(
        ask(&warehouse, "select new, since_publication, until_publication from mart.revision order by since_publication, new").await,
        ["14|2|3", "26|2|3", "15|4|", "6|4|"]
    );

    // One moves from B to another offer: what is hidden stays hidden, and both offers are told why.
    stage
        .land(
            "participation",
            &[participation("B-rehabilitation-0", "C", "rehabilitation")],
        )
        .await;
    built(&warehouse).await;
    let of_b = "select column_name, old, new, why from mart.revision where cell like '%offer_id=B%' order by cell, column_name";
    let of_b = ask(&warehouse, of_b).await;
    assert_eq!(of_b.len(), 1, "{of_b:?}");
    assert!(
        of_b[0].starts_with("n|23|22|data: participation corrected ("),
        "{of_b:?}"
    );
    let of_c = ask(
        &warehouse,
        "select column_name, old, new from mart.revision where cell like '%offer_id=C%'",
    )
    .await;
    assert_eq!(
        of_c,
        ["||present", "||present"],
        "rows that were not released"
    );

    assert_eq!(
        ask(&warehouse, FROZEN).await,
        frozen,
        "a release never changes"
    );
    let verified = warehouse.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        (
            &verified[0].copy,
            &verified[0].pinned,
            &verified[0].computed
        ),
        (&Outcome::Same, &Outcome::Same, &Outcome::Same)
    );
}

#[tokio::test]
async fn definitions_models_and_horizons_are_causes() {
    let stage = Stage::new();
    stage.first_delivery().await;
    stage.horizon("2010-12-31").await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;

    stage.write(
        "definitions/group_size.yaml",
        &format!(
            "{DEFINITION}---{}",
            DEFINITION.replace("version: 1", "version: 2")
        ),
    );
    let model = MODEL
        .replace("group_size@1", "group_size@2")
        .replace("count(*) as n", "2 * count(*) as n");
    stage.write("models/mart/group_size.sql", &model);
    let warehouse = stage.open().await;
    let stale = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        stale.contains("mart.group_size has changed since publication 1; run `pejl build`"),
        "{stale}"
    );
    built(&warehouse).await;
    let open = ask(&warehouse, OPEN).await;
    assert_eq!(
        open[1],
        "municipality_code=101, period=2010H2, offer_id=A, target_group=cash_benefit_1|n|9|18|definition changed: group_size@1 to group_size@2; \
         model changed: mart.group_size|2"
    );
    // B is 6 and 40 now: what was hidden is shown in the mart, and was null in the release.
    assert!(
        open.iter()
            .any(|it| it.contains("offer_id=B, target_group=cash_benefit_1|n||6|definition")),
        "{open:?}"
    );

    stage.write("models/mart/group_size.sql", MODEL);
    stage.horizon("2010-08-31").await;
    stage.horizon("2010-09-01").await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    assert!(
        ask(&warehouse, OPEN).await.is_empty(),
        "the numbers are those of the release: only what they rest on moved"
    );
    stage.horizon("2010-08-31").await;
    built(&warehouse).await;
    let open = ask(
        &warehouse,
        "select distinct old, new, why from mart.revision where until_publication is null",
    )
    .await;
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(
        open[0].starts_with("present||data: watermark corrected (through pejl.watermark/0@3"),
        "{open:?}"
    );

    let verified = warehouse.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        verified[0].computed,
        Outcome::Same,
        "by the model and the landed versions of then"
    );
}

#[tokio::test]
async fn an_audience_sees_a_release_from_its_day_on_and_nothing_else() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    let later = stage.try_open(february).await.unwrap();
    for (warehouse, audience, rows) in [
        (&warehouse, "centre_managers", "0"),
        (&later, "centre_managers", "6"),
        (&later, "committee", "6"),
        (&later, "providers", "0"),
    ] {
        let session = warehouse.session_of(audience).unwrap();
        assert_eq!(
            answer(&session, "select count(*) from release.group_size")
                .await
                .unwrap(),
            [rows],
            "{audience}"
        );
        let records = if rows == "0" {
            vec![]
        } else {
            vec!["groups-2010H2"]
        };
        assert_eq!(
            answer(&session, "select name from ops.release")
                .await
                .unwrap(),
            records
        );
        for hidden in [
            "mart.group_size",
            "mart.revision",
            "core.participation",
            "raw.participation",
            "ops.publication",
        ] {
            answer(&session, &format!("select * from {hidden}"))
                .await
                .unwrap_err();
        }
        answer(&session, "select created_by from ops.release")
            .await
            .unwrap_err();
    }
    assert_eq!(
        ask(&warehouse, "select count(*) from release.group_size").await,
        ["6"],
        "operators see all"
    );
    let wrong = warehouse.session_of("council").err().unwrap().to_string();
    assert!(wrong.contains("there is no audience `council`; releases.yaml has: centre_managers, committee, providers"), "{wrong}");
}

#[tokio::test]
async fn a_name_is_taken_once_and_corrections_follow_each_other() {
    let stage = Stage::new();
    let warehouse = stage.open().await;
    let refused = async |draft: Draft| {
        warehouse
            .create_release(draft)
            .await
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused(draft("groups-2010H2"))
            .await
            .contains("nothing is published yet")
    );
    stage.first_delivery().await;
    built(&warehouse).await;
    let day = |audience: &str, day: &str| (audience.to_owned(), day.parse().unwrap());
    for (draft, expected) in [
        (draft("groups"), "is no release's name"),
        (
            draft("overview-2010H2"),
            "no kind of release `overview`; releases.yaml has: groups",
        ),
        (
            correction("groups-2010H2.1"),
            "would correct groups-2010H2, and there is no such release",
        ),
        (
            draft("groups-2009H2"),
            "releases.yaml says 2010-01-20, which is gone by; name everybody who shall see it, such as --audience centre_managers=2011-01-10",
        ),
        (
            draft("groups-2011H1"),
            "no row to release: mart.group_size where cast(period as varchar) = '2011H1'",
        ),
        (
            Draft {
                table: Some("mart.other".to_owned()),
                ..draft("groups-2010H2")
            },
            "mart.other is no table of `groups`, which has mart.group_size",
        ),
        (
            Draft {
                condition: Some("no_column = 1".to_owned()),
                ..draft("groups-2010H2")
            },
            "does not fit mart.group_size",
        ),
        (
            Draft {
                audiences: vec![day("council", "2011-01-20")],
                ..draft("groups-2010H2")
            },
            "no audience `council` for groups",
        ),
        (
            Draft {
                audiences: vec![
                    day("providers", "2011-02-01"),
                    day("committee", "2011-02-05"),
                ],
                ..draft("groups-2010H2")
            },
            "`providers` would see groups-2010H2 from 2011-02-01, before `committee` from 2011-02-05; the order is centre_managers, committee, providers",
        ),
    ] {
        let said = refused(draft).await;
        assert!(said.contains(expected), "{said}");
    }
    let one = Draft {
        note: Some("for 010190-1234".to_owned()),
        ..draft("groups-101-2010H2")
    };
    let made = warehouse.create_release(one).await.unwrap().release;
    assert_eq!(made.frozen["mart.group_size"].rows, 6);
    assert!(
        !made.note.unwrap().contains("1234"),
        "no CPR number in a note"
    );
    release(&warehouse, "groups-2010H2").await;
    let taken = refused(draft("groups-2010H2")).await;
    assert!(
        taken.contains(
            "groups-2010H2 is there already, made 2011-01-10 08:00 UTC by quality manager"
        ) && taken.contains("with a new one, groups-2010H2.1"),
        "{taken}"
    );
    assert!(
        refused(draft("groups-2010H2.1"))
            .await
            .contains("says 2011-01-20, which is for the first release")
    );
    warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap();
    let names: Vec<String> = warehouse
        .releases()
        .await
        .unwrap()
        .iter()
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(
        names,
        ["groups-101-2010H2", "groups-2010H2", "groups-2010H2.1"]
    );
}

#[tokio::test]
async fn what_a_release_names_stays_readable_and_damage_is_told() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    let made = release(&warehouse, "groups-2010H2").await.release;
    let frozen = ask(&warehouse, FROZEN).await;
    for first in 0..3 {
        stage
            .participations("D", "rehabilitation", first * 10, 10)
            .await;
        built(&warehouse).await;
    }
    // The last publication alone is kept, and no file for its age.
    let pinned = warehouse::pinned(&stage.lake, 1).await.unwrap();
    for (table, version) in made.tables.iter().chain(&made.inputs) {
        assert!(pinned[table].contains(version), "{table}");
    }
    for (table, versions) in &pinned {
        stage.lake.merge(table, lake::FILE_BYTES).await.unwrap();
        stage
            .lake
            .clean(table, Duration::ZERO, versions)
            .await
            .unwrap();
    }
    assert_eq!(ask(&warehouse, FROZEN).await, frozen);
    let afresh = stage.open().await;
    let verified = afresh.verify_release("groups-2010H2").await.unwrap();
    assert_eq!(
        (&verified[0].pinned, &verified[0].computed),
        (&Outcome::Same, &Outcome::Same)
    );

    stage.write(
        "models/mart/group_size.sql",
        &MODEL.replace("count(*) as n", "count(*) + 0 as n"),
    );
    let changed = stage.open().await;
    let verified = changed.verify_release("groups-2010H2").await.unwrap();
    assert!(
        matches!(&verified[0].computed, Outcome::Unknown(why) if why.contains("the model mart.group_size is another one now")),
        "{verified:?}"
    );

    let file = format!(
        "_released/{}.parquet",
        made.frozen["mart.group_size"].sha256
    );
    stage.lake.delete(&file).await.unwrap();
    stage
        .lake
        .put_new(&file, "something else".into())
        .await
        .unwrap();
    let verified = changed.verify_release("groups-2010H2").await.unwrap();
    assert!(
        matches!(&verified[0].copy, Outcome::Differs(what) if what.contains("not what was frozen")),
        "{verified:?}"
    );
    let said = answer(&changed.session().await.unwrap(), FROZEN)
        .await
        .unwrap_err();
    assert!(
        said.contains("not what was frozen; restore the file"),
        "{said}"
    );
    stage.participations("E", "rehabilitation", 0, 10).await;
    let report = changed.build(&|_| {}).await.unwrap();
    assert!(
        report.published.is_some(),
        "a damaged copy keeps no number from being published"
    );
    let told: Vec<String> = report
        .warnings()
        .map(|it| it.to_owned().result.to_string())
        .collect();
    let is_told =
        |it: &String| it.contains("releases_are_readable") && it.contains("restore the file");
    assert!(told.iter().any(is_told), "{told:?}");

    stage.write(
        "releases.yaml",
        &KINDS.replace("counts: [n]", "counts: [m]"),
    );
    let wrong = stage.try_open(january).await.unwrap_err().to_string();
    assert!(
        wrong.contains("releases.yaml:2: `groups`: counts: mart.group_size has no column `m`"),
        "{wrong}"
    );
}
