//! A case system as one meets them: JSON pages in its own words, a token, and a limit on haste.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Cell, Error, Moment, Municipality, Result, World, canonical::complete_through, danish,
    record::Table, statbank,
};

/// Every so many requests one is told to come again at once (429).
const HASTE: u64 = 13;
/// This request, once, meets a system being restarted (503).
const RESTART: u64 = 5;
/// Records on a page where nobody asks, and at most.
const PAGE: usize = 500;
const LARGEST_PAGE: usize = 5000;
/// Readings that may be under way at a time; the oldest are then forgotten all together.
const READINGS: usize = 4096;

/// The case systems of all municipalities of a world, and its Statistics Denmark, on one port.
///
/// * `GET /api/{municipality}/{entity}?page=1&page_size=500&changed_since=…` with a bearer token
///   answers `{"data": […], "page": 1, "pages": n, "complete_through": "2012-12-31"}`.
///   `changed_since` leaves out what was last changed at that moment or before. The pages of one
///   reading show the moment of its first page, so nothing slips from page to page while time goes on.
/// * `POST /control/advance?days=7` with the token lets time go on.
/// * `/statbank/v1/…` is [`crate::statbank()`].
#[derive(Debug, Clone)]
pub struct CaseSystem {
    state: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    world: Mutex<World>,
    token: String,
    requests: AtomicU64,
    readings: Mutex<HashMap<Reading, Arc<Snapshot>>>,
}

/// What one client reads page by page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reading {
    municipality: i32,
    entity: String,
    since: Option<String>,
    size: usize,
}

#[derive(Debug)]
struct Snapshot {
    at: Moment,
    rows: Vec<usize>,
}

impl CaseSystem {
    /// The systems of `world`, open to whoever has `token`.
    pub fn new(world: &World, token: &str) -> Self {
        Self {
            state: Arc::new(Inside {
                world: Mutex::new(world.clone()),
                token: token.to_owned(),
                requests: AtomicU64::new(0),
                readings: Mutex::default(),
            }),
        }
    }

    /// The world as it stands.
    pub fn world(&self) -> World {
        self.state.world().clone()
    }

    /// Lets time go on; returns the day it is then.
    pub fn advance(&self, days: u32) -> NaiveDate {
        self.state.advance(days)
    }

    /// Everything it answers.
    pub fn router(&self) -> Router {
        let inside = Arc::clone(&self.state);
        Router::new()
            .route("/api/{municipality}/{entity}", get(records))
            .route("/control/advance", post(advance))
            .with_state(Arc::clone(&self.state))
            .merge(statbank::router(Arc::new(move || inside.world().clone())))
    }

    /// Listens on `address` until `stop`; port 0 takes a free one. Returns the address it has.
    pub async fn serve(&self, address: SocketAddr, stop: CancellationToken) -> Result<SocketAddr> {
        let listening = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listening)?;
        let bound = listener.local_addr().map_err(listening)?;
        let router = self.router();
        tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            let ended = serving.with_graceful_shutdown(stop.cancelled_owned());
            if let Err(err) = ended.await {
                tracing::warn!(%bound, error = %err, "simulated case system ended");
            }
        });
        tracing::info!(%bound, "simulated case system listens");
        Ok(bound)
    }
}

impl Inside {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, days: u32) -> NaiveDate {
        let mut world = self.world();
        *world = world.grow(days);
        world.date()
    }

    /// The refusal for strangers, and now and then for friends too.
    fn turned_away(&self, headers: &HeaderMap) -> Option<Response> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|it| it.to_str().ok())
            .and_then(|it| it.strip_prefix("Bearer "));
        if given != Some(self.token.as_str()) {
            let status = StatusCode::UNAUTHORIZED;
            return Some(refusal(status, "ugyldigt eller manglende token"));
        }
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let status = if request == RESTART {
            StatusCode::SERVICE_UNAVAILABLE
        } else if request.is_multiple_of(HASTE) {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            return None;
        };
        let mut response = refusal(status, "prøv igen");
        let now = HeaderValue::from_static("0");
        response.headers_mut().insert(header::RETRY_AFTER, now);
        Some(response)
    }

    /// What the reading shows: fixed by its first page.
    fn snapshot(
        &self,
        reading: Reading,
        since: Option<Moment>,
        first: bool,
        now: Moment,
        table: &dyn Table,
    ) -> Arc<Snapshot> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = readings.get(&reading)
            && !first
        {
            return Arc::clone(known);
        }
        let rows = (0..table.len())
            .filter(|row| {
                table
                    .changed(*row, now)
                    .is_some_and(|changed| since.is_none_or(|since| changed > since))
            })
            .collect();
        let snapshot = Arc::new(Snapshot { at: now, rows });
        if readings.len() >= READINGS {
            readings.clear();
        }
        readings.insert(reading, Arc::clone(&snapshot));
        snapshot
    }
}

#[derive(Debug, Deserialize)]
struct Ask {
    page: Option<usize>,
    page_size: Option<usize>,
    changed_since: Option<String>,
}

async fn records(
    State(state): State<Arc<Inside>>,
    Path((municipality, entity)): Path<(i32, String)>,
    Query(ask): Query<Ask>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = state.turned_away(&headers) {
        return refused;
    }
    answer(&state, municipality, entity, ask).unwrap_or_else(|refused| *refused)
}

fn answer(
    state: &Inside,
    municipality: i32,
    entity: String,
    ask: Ask,
) -> Result<Response, Box<Response>> {
    let refuse = |status, message: &str| Box::new(refusal(status, message));
    let world = state.world().clone();
    let area = world
        .municipality(municipality)
        .ok_or_else(|| refuse(StatusCode::NOT_FOUND, "ukendt kommune"))?;
    let table = area
        .table(&entity)
        .ok_or_else(|| refuse(StatusCode::NOT_FOUND, "ukendt registertabel"))?;
    let since = match &ask.changed_since {
        None => None,
        Some(text) => Some(moment(text).ok_or_else(|| {
            refuse(
                StatusCode::BAD_REQUEST,
                "changed_since er ikke et tidspunkt",
            )
        })?),
    };
    let page = ask.page.unwrap_or(1).max(1);
    let size = ask.page_size.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let reading = Reading {
        municipality,
        entity,
        since: ask.changed_since,
        size,
    };
    let snapshot = state.snapshot(reading, since, page == 1, world.now(), table);
    let mut data = Vec::with_capacity(size);
    let rows = snapshot.rows.iter().skip((page - 1).saturating_mul(size));
    for row in rows.take(size) {
        table.read(*row, snapshot.at, &mut |cells| {
            data.push(Value::Object(case_record(area, table.columns(), cells)));
        });
    }
    let pages = snapshot.rows.len().div_ceil(size).max(1);
    let body = json!({
        "data": data,
        "page": page,
        "pages": pages,
        "complete_through": complete_through(area, table, snapshot.at),
    });
    Ok(Json(body).into_response())
}

async fn advance(
    State(state): State<Arc<Inside>>,
    Query(by): Query<By>,
    headers: HeaderMap,
) -> Response {
    match state.turned_away(&headers) {
        Some(refused) => refused,
        None => Json(json!({ "today": state.advance(by.days) })).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct By {
    days: u32,
}

fn case_record(
    area: &Municipality,
    columns: &[&'static str],
    cells: &[Cell<'_>],
) -> Map<String, Value> {
    columns
        .iter()
        .zip(cells)
        .map(|(column, cell)| {
            (
                danish::field(column).to_owned(),
                case_value(area, column, cell),
            )
        })
        .collect()
}

fn case_value(area: &Municipality, column: &str, cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Whole(number) => json!(number),
        Cell::Number(number) => json!(number),
        // Money is a number with two decimals at most, which a double holds exactly enough.
        Cell::Money(amount) => json!(amount.0 as f64 / 100.0),
        Cell::Person(person) => match area.cpr(*person) {
            None => Value::Null,
            // Some screens of the system save it as a number.
            Some(cpr) if person.0.is_multiple_of(7) => json!(cpr.number()),
            Some(cpr) => json!(cpr.hyphenated()),
        },
        cell => {
            let text = cell.text();
            match (danish::word(column, &text), cell) {
                (Some(word), _) => json!(word),
                (None, Cell::Bool(truth)) => json!(truth),
                (None, _) => json!(text),
            }
        }
    }
}

/// A moment, or the start of a date.
fn moment(text: &str) -> Option<Moment> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.with_timezone(&Utc));
    }
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let body = json!({ "fejl": { "status": status.as_u16(), "besked": message } });
    (status, Json(body)).into_response()
}
