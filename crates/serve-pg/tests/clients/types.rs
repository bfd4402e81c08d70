//! Values of every type, there and back, as parameters and as results, in binary.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::server::served;

async fn echo<T>(client: &tokio_postgres::Client, kind: &str, value: T)
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> FromSql<'a>,
{
    let row = client
        .query_one(&format!("SELECT $1::{kind} AS v"), &[&value])
        .await;
    let row = row.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    assert_eq!(row.get::<_, T>("v"), value, "{kind}");
    let null = client
        .query_one(&format!("SELECT $1::{kind} AS v"), &[&None::<T>])
        .await
        .unwrap();
    assert_eq!(null.get::<_, Option<T>>("v"), None, "null {kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_as_it_went() {
    let served = served().await;
    let client = served.client().await;
    let date = |text: &str| text.parse::<NaiveDate>().unwrap();
    echo(&client, "bool", true).await;
    echo(&client, "int2", -7_i16).await;
    echo(&client, "int4", i32::MIN).await;
    echo(&client, "int8", i64::MAX).await;
    echo(&client, "float4", 0.25_f32).await;
    echo(&client, "float8", -1.5e300_f64).await;
    echo(&client, "text", "æøå 'quoted' \\ {not,an,array}".to_owned()).await;
    echo(&client, "text", String::new()).await;
    echo(&client, "varchar", "v".to_owned()).await;
    echo(&client, "date", date("2010-02-28")).await;
    echo(&client, "date", date("9999-12-31")).await;
    echo(&client, "date", date("1899-12-31")).await;
    echo(
        &client,
        "time",
        NaiveTime::from_hms_micro_opt(23, 59, 59, 1).unwrap(),
    )
    .await;
    echo(
        &client,
        "timestamp(6)",
        "1969-12-31T23:59:59.999999"
            .parse::<NaiveDateTime>()
            .unwrap(),
    )
    .await;
    echo(
        &client,
        "timestamptz(6)",
        "2010-07-01T00:20:00.123456Z"
            .parse::<DateTime<Utc>>()
            .unwrap(),
    )
    .await;
    echo(&client, "bytea", vec![0_u8, 255, 1]).await;
    echo(&client, "int4[]", vec![Some(1), None, Some(-3)]).await;
    echo(&client, "int8[]", Vec::<i64>::new()).await;
    echo(
        &client,
        "text[]",
        vec!["a,b".to_owned(), "\"NULL\"".to_owned()],
    )
    .await;
    echo(&client, "date[]", vec![date("2010-01-01")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_all_types_is_read_in_binary() {
    let served = served().await;
    let client = served.client().await;
    let rows = client
        .query(
            "SELECT * FROM mart.offer_overview ORDER BY offer_id, period",
            &[],
        )
        .await
        .unwrap();
    let kinds: Vec<&Type> = rows[0]
        .columns()
        .iter()
        .map(tokio_postgres::Column::type_)
        .collect();
    assert_eq!(
        kinds,
        [
            &Type::INT4,
            &Type::TEXT,
            &Type::TEXT,
            &Type::TEXT,
            &Type::INT8,
            &Type::FLOAT8,
            &Type::NUMERIC,
            &Type::BOOL,
            &Type::DATE,
            &Type::TIMESTAMPTZ,
            &Type::DATE_ARRAY
        ]
    );
    let row = &rows[1];
    assert_eq!(row.get::<_, i32>("municipality_code"), 101);
    assert_eq!(row.get::<_, &str>("offer_name"), "Jobsøgning på Ærø");
    assert_eq!(row.get::<_, i64>("in_offer"), 38);
    assert_eq!(row.get::<_, f64>("effect_3m"), 1.0);
    assert_eq!(
        row.get::<_, DateTime<Utc>>("built_at"),
        "2010-06-30T23:00:00.123456Z"
            .parse::<DateTime<Utc>>()
            .unwrap()
    );
    assert_eq!(
        rows[2].get::<_, NaiveDate>("data_through"),
        "9999-12-31".parse::<NaiveDate>().unwrap()
    );
    assert_eq!(rows[2].get::<_, Option<f64>>("effect_3m"), None);
    let open: Vec<NaiveDate> = rows[0].get("calendar");
    assert_eq!(open[1].to_string(), "9999-12-31");
    assert_eq!(
        rows[2].get::<_, Vec<NaiveDate>>("calendar"),
        Vec::<NaiveDate>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_parameters_are_inferred_from_where_they_stand() {
    let served = served().await;
    let client = served.client().await;
    let sql = "SELECT offer_id FROM mart.offer_overview WHERE municipality_code = $1 AND data_through <= $2 \
               AND offer_name LIKE $3 AND effect_3m > $4 AND suppressed = $5 ORDER BY 1 LIMIT $6";
    let statement = client.prepare(sql).await.unwrap();
    assert_eq!(
        statement.params(),
        [
            Type::INT4,
            Type::DATE,
            Type::TEXT,
            Type::FLOAT8,
            Type::BOOL,
            Type::INT8
        ]
    );
    for (limit, expected) in [(10_i64, 2), (1, 1), (0, 0)] {
        let date: NaiveDate = "2011-01-01".parse().unwrap();
        let rows = client
            .query(&statement, &[&101, &date, &"Job%", &0.1, &false, &limit])
            .await
            .unwrap();
        assert_eq!(rows.len(), expected, "limit {limit}");
    }
    let any = client
        .query(
            "SELECT 1 FROM ref.benefit WHERE code = ANY($1::text[])",
            &[&vec!["112", "x"]],
        )
        .await
        .unwrap();
    assert_eq!(any.len(), 1);
    let listed = client
        .query(
            "SELECT 1 FROM ref.benefit WHERE code IN ($1, $2)",
            &[&"112", &"113"],
        )
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
    let series = client
        .query(
            "SELECT * FROM generate_series($1::int8, $2::int8)",
            &[&2_i64, &4_i64],
        )
        .await
        .unwrap();
    assert_eq!(series.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_column_is_ever_of_type_unknown() {
    let served = served().await;
    let client = served.client().await;
    for sql in [
        "SELECT NULL",
        "SELECT 'x'",
        "SELECT $1",
        "SELECT NULL UNION ALL SELECT NULL",
        "SELECT CASE WHEN true THEN NULL END",
    ] {
        let statement = client
            .prepare(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(statement.columns()[0].type_(), &Type::TEXT, "{sql}");
        assert!(
            statement.params().iter().all(|kind| *kind == Type::TEXT),
            "{sql}"
        );
    }
    let ranks = client
        .query(
            "SELECT row_number() OVER (ORDER BY code) AS r FROM ref.benefit ORDER BY 1",
            &[],
        )
        .await;
    assert_eq!(
        ranks
            .unwrap()
            .iter()
            .map(|row| row.get::<_, i64>(0))
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_named_as_postgres_names_them() {
    let served = served().await;
    let client = served.client().await;
    let sql = "SELECT count(*), count(*), max(effect_3m), 1 + 1, min(period) AS first FROM mart.offer_overview";
    let statement = client.prepare(sql).await.unwrap();
    let names: Vec<&str> = statement
        .columns()
        .iter()
        .map(tokio_postgres::Column::name)
        .collect();
    assert_eq!(names, ["count", "count", "max", "?column?", "first"]);
    let row = client.query_one(&statement, &[]).await.unwrap();
    assert_eq!(
        (
            row.get::<_, i64>(0),
            row.get::<_, i64>(1),
            row.get::<_, &str>(4)
        ),
        (3, 3, "2010H1")
    );
}
