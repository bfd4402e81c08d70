//! A source of numbers that grows when told and fails when told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, LazyLock, Mutex},
};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use connector_api::{Batch, BoxFuture, Connector, Entry, Error, Result, Source, entry};
use contract::Position;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// What a source by this name does.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<State>>);

struct State {
    /// Numbers there are, from 0.
    there: i64,
    /// One past the highest number given away.
    served: i64,
    failures: VecDeque<Failure>,
    tried: u32,
    opened: u32,
}

enum Failure {
    Says(Error),
    Panics,
}

static SCRIPTS: LazyLock<Mutex<HashMap<String, Script>>> = LazyLock::new(Mutex::default);

impl Script {
    pub(crate) fn named(name: &str, there: i64) -> Self {
        let state = State {
            there,
            served: 0,
            failures: VecDeque::new(),
            tried: 0,
            opened: 0,
        };
        let script = Self(Arc::new(Mutex::new(state)));
        SCRIPTS
            .lock()
            .unwrap()
            .insert(name.to_owned(), script.clone());
        script
    }

    pub(crate) fn grow(&self, by: i64) {
        self.0.lock().unwrap().there += by;
    }

    pub(crate) fn fail_next(&self, failure: Error) {
        self.0
            .lock()
            .unwrap()
            .failures
            .push_back(Failure::Says(failure));
    }

    pub(crate) fn panic_next(&self) {
        self.0.lock().unwrap().failures.push_back(Failure::Panics);
    }

    /// How often it was to be opened.
    pub(crate) fn tried(&self) -> u32 {
        self.0.lock().unwrap().tried
    }

    pub(crate) fn served(&self) -> i64 {
        self.0.lock().unwrap().served
    }

    /// How often it was opened without failing.
    pub(crate) fn opened(&self) -> u32 {
        self.0.lock().unwrap().opened
    }
}

struct Numbers;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    script: String,
}

impl Connector for Numbers {
    const NAME: &'static str = "numbers";
    const SUMMARY: &'static str = "Counts.";
    type Config = Config;

    fn check_position(position: &Position) -> Result<()> {
        match position.0["next"].as_i64() {
            Some(_) => Ok(()),
            None => Err(Error::Settings("it has no number as `next`".to_owned())),
        }
    }

    async fn open(config: Config, from: Option<Position>) -> Result<Box<dyn Source>> {
        let script = SCRIPTS.lock().unwrap()[&config.script].clone();
        let mut state = script.0.lock().unwrap();
        state.tried += 1;
        let failure = state.failures.pop_front();
        if failure.is_none() {
            state.opened += 1;
        }
        drop(state);
        match failure {
            Some(Failure::Says(failure)) => return Err(failure),
            Some(Failure::Panics) => panic!("a bug that quotes 010180-1234"),
            None => {}
        }
        let next = from.map_or(0, |it| it.0["next"].as_i64().unwrap());
        Ok(Box::new(Counting { script, next }))
    }
}

struct Counting {
    script: Script,
    next: i64,
}

impl Source for Counting {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            let mut state = self.script.0.lock().unwrap();
            if self.next >= state.there {
                return Ok(None);
            }
            let numbers: Vec<i64> = (self.next..state.there).collect();
            self.next = state.there;
            state.served = state.served.max(self.next);
            Ok(Some(batch(&numbers, self.next)))
        })
    }
}

fn batch(numbers: &[i64], next: i64) -> Batch {
    let column = |text: fn(i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            numbers.iter().map(|it| text(*it)),
        ))
    };
    Batch {
        rows: RecordBatch::try_from_iter([
            ("unit_id", column(|it| it.to_string())),
            ("municipality_code", column(|_| "101".to_owned())),
            ("name", column(|it| format!("Jobcenter {it}"))),
            ("kind", column(|_| "jobcenter".to_owned())),
            ("updated_at", column(|_| "2010-07-01T00:00:00Z".to_owned())),
        ])
        .unwrap(),
        origins: numbers.iter().map(|it| format!("record {it}")).collect(),
        rejects: vec![],
        position: Some(Position(json!({ "next": next }))),
        delivery: None,
        complete_through: None,
    }
}

pub(crate) static CONNECTORS: [Entry; 1] = [entry::<Numbers>()];
