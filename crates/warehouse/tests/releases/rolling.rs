//! Releases of numbers whose window moves with the data: a municipality's that moved on is no longer compared, another's still is.

use crate::stage::{DEFINITION, Stage, ask, built, draft, participation};

const KINDS: &str = "
- kind: guide
  tables:
  - table: mart.group_size
    counts: [n]
  audiences:
  - {name: centre_managers, from: 20 days after the period}
";

const MODEL: &str = "\
-- doc: Participations of each offer so far.
-- grain: municipality_code, offer_id
-- definition: group_size@1
select
    p.municipality_code,  -- Municipality.
    p.offer_id,  -- The offer.
    count(*) as n,  -- Participations.
    false as suppressed,  -- Nothing is hidden.
    'group_size@1' as definition_version,  -- Definition.
    h.complete_through as data_through  -- Horizon.
from core.participation as p
join core.watermark as h on h.municipality_code = p.municipality_code
group by p.municipality_code, p.offer_id, h.complete_through
";

#[tokio::test]
async fn a_row_that_goes_is_told_where_the_window_stood() {
    let stage = Stage::new();
    stage.write("definitions/group_size.yaml", DEFINITION);
    stage.write("models/mart/group_size.sql", MODEL);
    stage.write("releases.yaml", KINDS);
    let of_147 = |record: String| record.replace(":101,", ":147,");
    let horizon = |code: &str, day: &str| {
        format!(
            r#""municipality_code":{code},"entity":"participation","complete_through":"{day}","updated_at":"2011-01-05T08:00:00Z""#
        )
    };
    let both = ["101", "147"].map(|code| horizon(code, "2010-12-31"));
    stage.land("watermark", &both).await;
    stage.participations("A", "rehabilitation", 0, 6).await;
    stage.participations("B", "rehabilitation", 0, 6).await;
    let there = ["C", "D"].map(|offer| of_147(participation(offer, offer, "rehabilitation")));
    stage.land("participation", &there).await;
    let warehouse = stage.open().await;
    built(&warehouse).await;
    warehouse
        .create_release(draft("guide-2010-12"))
        .await
        .unwrap();

    // The window of 101 moves on, and an offer comes with it; 147 stands still and loses one.
    stage
        .land("watermark", &[horizon("101", "2011-01-31")])
        .await;
    stage.participations("E", "rehabilitation", 0, 6).await;
    let withdrawn = r#""participation_id":"D""#.to_owned();
    stage.land("participation", &[withdrawn]).await;
    built(&warehouse).await;
    let open =
        "select cell, column_name, old, new from mart.revision where until_publication is null";
    assert_eq!(
        ask(&warehouse, open).await,
        ["municipality_code=147, offer_id=D||present|"]
    );
}
