//! Statistics Denmark as far as the labour force needs it: one table in the shapes of api.statbank.dk.
//!
//! Shapes (BOM, `TID` in CSV and `Tid` in JSON-stat, local time without a zone in `updated`) follow
//! recorded answers of the real service. The table is like RAS201 with its age and sex summed away;
//! the codes of its variables are our own, since none were recorded.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::Datelike;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{LabourForce, World};

/// Cells of an answer that is not streamed: rows times variables and value.
const LARGEST: usize = 1_000_000;
const TABLE: &str = "RAS201";
const TEXT: &str = "Befolkningen (ultimo november)";

type Clock = Arc<dyn Fn() -> World + Send + Sync>;

/// Statistics Denmark as it stands on the world's day: `tables`, `tableinfo` and `data` under
/// `/statbank/v1/`, by POST with JSON (the first two also by GET).
///
/// Table `RAS201` has `OMRÅDE` (`000` the whole country, else the municipality), `HERKOMST` (`TOT`
/// all, `30` Danish, `1` western, `2` non-western origin), `SOCIO` (`BES` employed, `LED`
/// unemployed, `UDE` outside the labour force) and `Tid` (the year; end of November).
pub fn statbank(world: &World) -> Router {
    let world = world.clone();
    router(Arc::new(move || world.clone()))
}

/// The same for a world that goes on.
pub(crate) fn router(clock: Clock) -> Router {
    Router::new()
        .route("/statbank/v1/tables", get(tables).post(tables))
        .route(
            "/statbank/v1/tableinfo",
            get(info_by_query).post(info_by_body),
        )
        .route("/statbank/v1/data", axum::routing::post(data))
        .with_state(clock)
}

/// A variable with its values: code, Danish text.
struct Variable {
    id: &'static str,
    text: &'static str,
    elimination: bool,
    values: Vec<(String, String)>,
}

/// The table on a day.
struct Table {
    variables: [Variable; 4],
    rows: Vec<LabourForce>,
    updated: String,
}

impl Table {
    fn of(world: &World) -> Self {
        let rows: Vec<LabourForce> = world
            .seen::<LabourForce>()
            .map(|it| it.into_owned())
            .collect();
        let years: BTreeSet<i32> = rows.iter().map(|it| it.reference_date.year()).collect();
        let regions = world.areas().map(|it| (region(it.code), it.name.clone()));
        let updated = rows
            .iter()
            .map(|it| it.updated_at)
            .max()
            .map_or_else(String::new, |at| at.format("%Y-%m-%dT08:00:00").to_string());
        let fixed = |values: &[(&str, &str)]| {
            values
                .iter()
                .map(|(code, text)| ((*code).to_owned(), (*text).to_owned()))
                .collect()
        };
        let variables = [
            Variable {
                id: "OMRÅDE",
                text: "område",
                elimination: true,
                values: regions.collect(),
            },
            Variable {
                id: "SOCIO",
                text: "socioøkonomisk status",
                elimination: true,
                values: fixed(&[
                    ("BES", "Beskæftigede"),
                    ("LED", "Arbejdsløse"),
                    ("UDE", "Uden for arbejdsstyrken"),
                ]),
            },
            Variable {
                id: "HERKOMST",
                text: "herkomst",
                elimination: true,
                values: fixed(&[
                    ("TOT", "I alt"),
                    ("30", "Dansk oprindelse"),
                    ("1", "Vestlige lande"),
                    ("2", "Ikke-vestlige lande"),
                ]),
            },
            Variable {
                id: "Tid",
                text: "tid",
                elimination: false,
                values: years
                    .into_iter()
                    .map(|year| (year.to_string(), year.to_string()))
                    .collect(),
            },
        ];
        Self {
            variables,
            rows,
            updated,
        }
    }

    /// The number of people in a cell of `OMRÅDE`, `SOCIO`, `HERKOMST`, `Tid`.
    fn people(&self, codes: [&str; 4]) -> Option<f64> {
        let [area, status, origin, year] = codes;
        let origin = match origin {
            "TOT" => "all",
            "30" => "danish",
            "1" => "western",
            _ => "non_western",
        };
        let row = self.rows.iter().find(|it| {
            region(it.municipality_code) == area
                && it.origin == origin
                && it.reference_date.year().to_string() == year
        })?;
        Some(match status {
            "LED" => row.unemployed,
            "BES" => row.labour_force - row.unemployed,
            _ => (row.labour_force * 0.45).round(),
        })
    }

    fn listing(&self) -> Value {
        let times: Vec<&str> = self.variables[3]
            .values
            .iter()
            .map(|it| it.0.as_str())
            .collect();
        json!({
            "id": TABLE,
            "text": TEXT,
            "unit": "Antal",
            "updated": self.updated,
            "firstPeriod": times.first(),
            "latestPeriod": times.last(),
            "active": true,
            "variables": self.variables.each_ref().map(|it| it.text),
        })
    }
}

fn region(code: i32) -> String {
    format!("{code:03}")
}

async fn tables(State(clock): State<Clock>) -> Response {
    Json(json!([Table::of(&clock()).listing()])).into_response()
}

#[derive(Deserialize)]
struct InfoAsked {
    #[serde(alias = "id")]
    table: String,
}

async fn info_by_query(State(clock): State<Clock>, Query(asked): Query<InfoAsked>) -> Response {
    info(&clock(), &asked.table)
}

async fn info_by_body(State(clock): State<Clock>, body: Bytes) -> Response {
    match serde_json::from_slice::<InfoAsked>(&body) {
        Ok(asked) => info(&clock(), &asked.table),
        Err(err) => wrong(StatusCode::BAD_REQUEST, "REQUEST-INVALID", &err.to_string()),
    }
}

fn info(world: &World, asked: &str) -> Response {
    if !asked.eq_ignore_ascii_case(TABLE) {
        return unknown_table(asked);
    }
    let table = Table::of(world);
    let variables: Vec<Value> = table
        .variables
        .iter()
        .map(|it| {
            let values: Vec<Value> = it
                .values
                .iter()
                .map(|(id, text)| json!({ "id": id, "text": text }))
                .collect();
            json!({
                "id": it.id,
                "text": it.text,
                "elimination": it.elimination,
                "time": it.id == "Tid",
                "values": values,
            })
        })
        .collect();
    let body = json!({
        "id": TABLE,
        "text": TEXT,
        "description": "Befolkningen efter område, socioøkonomisk status, herkomst og tid",
        "unit": "Antal",
        "suppressedDataValue": "0",
        "updated": table.updated,
        "active": true,
        "contacts": [],
        "documentation": null,
        "footnote": null,
        "variables": variables,
    });
    Json(body).into_response()
}

#[derive(Deserialize)]
struct DataAsked {
    table: String,
    #[serde(default)]
    format: String,
    #[serde(default, rename = "valuePresentation")]
    presentation: String,
    #[serde(default)]
    variables: Vec<VariableAsked>,
}

#[derive(Deserialize)]
struct VariableAsked {
    code: String,
    #[serde(default)]
    values: Vec<String>,
}

/// A variable as chosen: its place in the table, and the values.
type Chosen<'a> = (usize, Vec<&'a (String, String)>);

async fn data(State(clock): State<Clock>, body: Bytes) -> Response {
    let asked: DataAsked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(err) => return wrong(StatusCode::BAD_REQUEST, "REQUEST-INVALID", &err.to_string()),
    };
    if !asked.table.eq_ignore_ascii_case(TABLE) {
        return unknown_table(&asked.table);
    }
    let table = Table::of(&clock());
    let chosen = match choose(&table, &asked.variables) {
        Ok(chosen) => chosen,
        Err(message) => return wrong(StatusCode::BAD_REQUEST, "EXTRACT-NOTFOUND", &message),
    };
    let rows: usize = chosen.iter().map(|it| it.1.len()).product();
    if rows * (chosen.len() + 1) > LARGEST {
        let message = format!("The requested data exceeds the limit of {LARGEST} cells");
        return wrong(StatusCode::BAD_REQUEST, "EXTRACT-TOOBIG", &message);
    }
    match asked.format.to_ascii_uppercase().as_str() {
        "CSV" | "BULK" => csv(&table, &chosen, &asked.presentation),
        "JSONSTAT" => json_stat(&table, &chosen),
        other => wrong(
            StatusCode::BAD_REQUEST,
            "REQUEST-INVALID",
            &format!("format {other} is not simulated"),
        ),
    }
}

/// What was asked for, and the latest time where none was.
fn choose<'a>(table: &'a Table, asked: &[VariableAsked]) -> Result<Vec<Chosen<'a>>, String> {
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    for variable in asked {
        let place = table
            .variables
            .iter()
            .position(|it| it.id.to_lowercase() == variable.code.to_lowercase())
            .ok_or_else(|| format!("Variable {} was not found", variable.code))?;
        let known = &table.variables[place].values;
        let mut values = Vec::new();
        for wanted in &variable.values {
            if wanted == "*" {
                values.extend(known);
            } else {
                let value = known.iter().find(|it| it.0 == *wanted).ok_or_else(|| {
                    format!("Value {wanted} of variable {} was not found", variable.code)
                })?;
                values.push(value);
            }
        }
        chosen.push((place, values));
    }
    let time = table.variables.len() - 1;
    if chosen.iter().all(|it| it.0 != time) {
        chosen.push((
            time,
            table.variables[time].values.last().into_iter().collect(),
        ));
    }
    Ok(chosen)
}

/// Every combination of the chosen values with its number of people; what was not chosen is summed.
fn cells<'a>(table: &Table, chosen: &[Chosen<'a>]) -> Vec<(Vec<&'a (String, String)>, f64)> {
    let mut combinations: Vec<Vec<&(String, String)>> = vec![Vec::new()];
    for (_, values) in chosen {
        combinations = combinations
            .into_iter()
            .flat_map(|known| {
                values.iter().map(move |value| {
                    let mut longer = known.clone();
                    longer.push(*value);
                    longer
                })
            })
            .collect();
    }
    combinations
        .into_iter()
        .filter_map(|combination| {
            // What is not chosen is the total where there is one, else the sum.
            let mut codes = ["000", "", "TOT", ""];
            for ((place, _), value) in chosen.iter().zip(&combination) {
                codes[*place] = &value.0;
            }
            let statuses: &[&str] = match codes[1] {
                "" => &["BES", "LED", "UDE"],
                _ => &codes[1..2],
            };
            let people: Option<f64> = statuses
                .iter()
                .map(|status| table.people([codes[0], status, codes[2], codes[3]]))
                .sum();
            Some((combination, people?))
        })
        .collect()
}

fn csv(table: &Table, chosen: &[Chosen<'_>], presentation: &str) -> Response {
    let mut text = "\u{feff}".to_owned();
    for (place, _) in chosen {
        text.push_str(&table.variables[*place].id.to_uppercase());
        text.push(';');
    }
    text.push_str("INDHOLD\r\n");
    for (values, people) in cells(table, chosen) {
        for (code, name) in values {
            let shown = match presentation.to_ascii_lowercase().as_str() {
                "code" => code.clone(),
                "codeandvalue" => format!("{code} {name}"),
                "valueandcode" => format!("{name} {code}"),
                _ => name.clone(),
            };
            text.push_str(&shown);
            text.push(';');
        }
        text.push_str(&format!("{people}\r\n"));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=RAS201.csv",
        ),
    ];
    (headers, text).into_response()
}

fn json_stat(table: &Table, chosen: &[Chosen<'_>]) -> Response {
    let mut dimension = serde_json::Map::new();
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    for (place, values) in chosen {
        let variable = &table.variables[*place];
        let index: serde_json::Map<String, Value> = values
            .iter()
            .enumerate()
            .map(|(rank, it)| (it.0.clone(), json!(rank)))
            .collect();
        let label: serde_json::Map<String, Value> = values
            .iter()
            .map(|it| (it.0.clone(), json!(it.1)))
            .collect();
        let about = json!({
            "label": variable.text,
            "category": { "index": index, "label": label },
        });
        dimension.insert(variable.id.to_owned(), about);
        // The contents stand before the time, as in the recorded answer.
        if variable.id == "Tid" {
            ids.push("ContentsCode");
            sizes.push(1);
        }
        ids.push(variable.id);
        sizes.push(values.len());
    }
    let contents = json!({
        "label": "Indhold",
        "category": {
            "index": { TABLE: 0 },
            "label": { TABLE: TEXT },
            "unit": { TABLE: { "base": "Antal", "decimals": 0 } },
        },
    });
    dimension.insert("ContentsCode".to_owned(), contents);
    dimension.insert("id".to_owned(), json!(ids));
    dimension.insert("size".to_owned(), json!(sizes));
    let role = json!({ "metric": ["ContentsCode"], "time": ["Tid"] });
    dimension.insert("role".to_owned(), role);
    let value: Vec<f64> = cells(table, chosen).into_iter().map(|it| it.1).collect();
    let body = json!({
        "dataset": {
            "dimension": dimension,
            "label": TEXT,
            "source": "Danmarks Statistik (simuleret)",
            "updated": table.updated.replace("T08", "T07") + "Z",
            "value": value,
            "extension": { "px": { "tableid": TABLE, "decimals": 0 } },
        }
    });
    Json(body).into_response()
}

fn unknown_table(asked: &str) -> Response {
    let message = format!("Table {asked} was not found");
    wrong(StatusCode::NOT_FOUND, "TABLE-NOTFOUND", &message)
}

fn wrong(status: StatusCode, code: &str, message: &str) -> Response {
    (
        status,
        Json(json!({ "errorTypeCode": code, "message": message })),
    )
        .into_response()
}
