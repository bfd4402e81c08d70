//! Each promise, broken by a connector made for it, is noticed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use connector_api::{BoxFuture, Error, Result, Source};
use contract::Position;
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Flaw {
    #[default]
    None,
    ForgetsPosition,
    StartsOver,
    SkipsOne,
    MissesAnOrigin,
    SendsNumbers,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[serde(default)]
    flaw: Flaw,
}

#[derive(Deserialize, JsonSchema)]
struct Lax {}

/// Counts to four, two at a time.
struct Counter {
    last: i64,
    flaw: Flaw,
}

struct Count;

impl Connector for Count {
    const NAME: &'static str = "count";
    const SUMMARY: &'static str = "Counts to four.";
    type Config = Strict;

    fn check_position(Position(at): &Position) -> Result<()> {
        at.as_i64()
            .map(drop)
            .ok_or_else(|| Error::Settings(at.to_string()))
    }

    async fn open(config: Strict, from: Option<Position>) -> Result<Box<dyn Source>> {
        let flaw = config.flaw;
        let last = match from {
            None => 0,
            Some(_) if flaw == Flaw::StartsOver => 0,
            Some(Position(at)) => at.as_i64().ok_or_else(|| Error::Settings(at.to_string()))?,
        };
        let skipped = i64::from(flaw == Flaw::SkipsOne && last > 0);
        Ok(Box::new(Counter {
            last: last + skipped,
            flaw,
        }))
    }
}

/// Counts, and takes everything for a number until it is opened.
struct Trusting;

impl Connector for Trusting {
    const NAME: &'static str = "trusting";
    const SUMMARY: &'static str = "Counts to four.";
    type Config = Strict;

    async fn open(config: Strict, from: Option<Position>) -> Result<Box<dyn Source>> {
        Count::open(config, from).await
    }
}

struct Careless;

impl Connector for Careless {
    const NAME: &'static str = "careless";
    const SUMMARY: &'static str = "Accepts everything.";
    type Config = Lax;

    async fn open(_: Lax, _: Option<Position>) -> Result<Box<dyn Source>> {
        Ok(Box::new(Counter {
            last: 0,
            flaw: Flaw::None,
        }))
    }
}

impl Source for Counter {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            if self.last >= 4 {
                return Ok(None);
            }
            let numbers: Vec<i64> = (self.last + 1..=4).take(2).collect();
            self.last = numbers[numbers.len() - 1];
            let mut origins: Vec<String> = numbers.iter().map(|n| format!("number {n}")).collect();
            if self.flaw == Flaw::MissesAnOrigin {
                origins.pop();
            }
            let column: ArrayRef = match self.flaw {
                Flaw::SendsNumbers => Arc::new(Int64Array::from(numbers)),
                _ => Arc::new(StringArray::from_iter(
                    numbers.iter().map(|n| Some(n.to_string())),
                )),
            };
            Ok(Some(Batch {
                rows: RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap(),
                origins,
                rejects: Vec::new(),
                position: (self.flaw != Flaw::ForgetsPosition).then(|| Position(json!(self.last))),
                delivery: None,
                complete_through: None,
            }))
        })
    }
}

#[tokio::test]
async fn a_faithful_connector_conforms() {
    conforms::<Count>(json!({})).await;
    let all = read::<Count>(&json!({}), None).await;
    assert_eq!(rows(&all).len(), 4);
    assert_eq!(
        rows(&read::<Count>(&json!({}), all.first()).await),
        rows(&all)[2..]
    );
}

#[tokio::test]
#[should_panic(expected = "accepts unknown settings")]
async fn unknown_settings_are_noticed() {
    conforms::<Careless>(json!({})).await;
}

#[tokio::test]
#[should_panic(expected = "accepts any position")]
async fn positions_that_are_not_checked_are_noticed() {
    conforms::<Trusting>(json!({})).await;
}

#[tokio::test]
#[should_panic(expected = "the last batch has no position")]
async fn a_missing_position_is_noticed() {
    conforms::<Count>(json!({"flaw": "forgets_position"})).await;
}

#[tokio::test]
#[should_panic(expected = "loses or repeats something")]
async fn repeated_rows_are_noticed() {
    conforms::<Count>(json!({"flaw": "starts_over"})).await;
}

#[tokio::test]
#[should_panic(expected = "loses or repeats something")]
async fn lost_rows_are_noticed() {
    conforms::<Count>(json!({"flaw": "skips_one"})).await;
}

#[tokio::test]
#[should_panic(expected = "not one origin per row")]
async fn a_missing_origin_is_noticed() {
    conforms::<Count>(json!({"flaw": "misses_an_origin"})).await;
}

#[tokio::test]
#[should_panic(expected = "column `n` is not nullable text")]
async fn typed_columns_are_noticed() {
    conforms::<Count>(json!({"flaw": "sends_numbers"})).await;
}
