//! What an earlier release and a new one tell together: refused, kept as it was, or told.

use warehouse::{Danger, Draft, Error, Outcome};

use crate::stage::{FROZEN, Stage, ask, built, correction, release};

#[tokio::test]
async fn what_two_releases_would_tell_together_is_refused() {
    let stage = Stage::new();
    stage.first_delivery().await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    let frozen = ask(&warehouse, FROZEN).await;

    // One more in A, which would show; six more in B's hidden group, which shows it and so tells that it was 3; ten in a new offer.
    stage.participations("A", "cash_benefit_1", 9, 1).await;
    stage.participations("B", "cash_benefit_1", 3, 6).await;
    stage.participations("C", "rehabilitation", 0, 10).await;
    let report = warehouse.build(&|_| {}).await.unwrap();
    let warnings: Vec<&str> = report
        .warnings()
        .filter(|it| it.result.model == "mart.revision")
        .map(|it| it.result.check.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "no_small_difference_from_a_release",
            "no_hidden_number_of_a_release_told"
        ]
    );
    assert!(
        report.published.is_some(),
        "numbers are published all the same"
    );

    let refused = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap_err();
    let said = refused.to_string();
    let Error::Disclosure { findings, .. } = refused else {
        panic!("{said}");
    };
    let dangers: Vec<(Danger, &str)> = findings
        .iter()
        .map(|it| (it.danger, it.cell.rsplit_once("offer_id=").unwrap().1))
        .collect();
    assert_eq!(
        dangers,
        [
            (Danger::SmallDifference, "A, target_group=all"),
            (Danger::SmallDifference, "A, target_group=cash_benefit_1"),
            (Danger::HiddenThen, "B, target_group=cash_benefit_1"),
        ]
    );
    assert!(
        said.contains("groups-2010H2.1 is not made") && said.contains("--keep-earlier"),
        "{said}"
    );
    assert!(
        said.contains("`n` was hidden in groups-2010H2, and is given away now"),
        "{said}"
    );
    assert_eq!(warehouse.releases().await.unwrap().len(), 1);

    let keep = Draft {
        keep_earlier: true,
        ..correction("groups-2010H2.1")
    };
    let made = warehouse.create_release(keep).await.unwrap();
    assert_eq!(
        (made.kept, made.release.corrects.as_deref()),
        (6, Some("groups-2010H2"))
    );
    let corrected = "select offer_id, target_group, n, kept_from from release.group_size where release = 'groups-2010H2.1' order by 1, 2";
    assert_eq!(
        ask(&warehouse, corrected).await,
        [
            "A|all|21|groups-2010H2",
            "A|cash_benefit_1|9|groups-2010H2",
            "A|rehabilitation|12|groups-2010H2",
            "B|all|23|groups-2010H2",
            "B|cash_benefit_1||groups-2010H2",
            "B|rehabilitation||groups-2010H2",
            "C|all|10|",
            "C|rehabilitation|10|",
        ]
    );
    assert_eq!(ask(&warehouse, FROZEN).await, frozen);
    let verified = warehouse.verify_release("groups-2010H2.1").await.unwrap();
    assert_eq!(
        verified[0].pinned,
        Outcome::Same,
        "the rows that are its own"
    );
}

#[tokio::test]
async fn a_number_that_is_hidden_now_and_was_shown_is_a_warning() {
    let stage = Stage::new();
    stage.first_delivery().await;
    stage.participations("A", "sickness_benefit", 0, 20).await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    release(&warehouse, "groups-2010H2").await;
    // 9 and 12 become 2 and 3: both are small, 20 stays, and 41 becomes 25; who has both finds 5 in the two together.
    let gone = |group: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|it| format!(r#""participation_id":"A-{group}-{it}""#))
            .collect()
    };
    stage
        .land("participation", &gone("cash_benefit_1", 7))
        .await;
    stage
        .land("participation", &gone("rehabilitation", 9))
        .await;
    built(&warehouse).await;
    let made = warehouse
        .create_release(correction("groups-2010H2.1"))
        .await
        .unwrap();
    let public: Vec<String> = made
        .already_public
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        public,
        [
            "mart.group_size municipality_code=101, period=2010H2, offer_id=A, target_group=cash_benefit_1: `n` is hidden, and was shown in groups-2010H2",
            "mart.group_size municipality_code=101, period=2010H2, offer_id=A, target_group=rehabilitation: `n` is hidden, and was shown in groups-2010H2"
        ]
    );
}
