//! `pejl calendar`: which deliveries are missing, and which may still come in time.

use chrono::NaiveDate;
use warehouse::deliveries::{Owed, Status, batch};

use crate::{args::Format, exit, output, settings::Settings, wiring};

/// What is asked of the calendar.
pub(crate) struct Asked {
    /// The day it is asked for; today where left out.
    pub(crate) as_of: Option<NaiveDate>,
    /// Also what has come.
    pub(crate) all: bool,
    /// Whether something missing is a failure.
    pub(crate) fail_on_overdue: bool,
}

pub(crate) async fn run(settings: &Settings, asked: Asked, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let mut owed = warehouse.delivery_calendar(asked.as_of).await?;
    owed.sort_by(|a, b| {
        let urgency = |it: &Owed| (it.status, it.due, it.municipality_code);
        (urgency(a), &a.obligation).cmp(&(urgency(b), &b.obligation))
    });
    let shown: Vec<Owed> = owed
        .iter()
        .filter(|it| asked.all || !matches!(it.status, Status::Late | Status::OnTime))
        .cloned()
        .collect();
    match format {
        Format::Table => {
            output::line(&table(&shown))?;
            output::line(&format!("\n{}", summary(&owed)))?;
        }
        Format::Csv | Format::Json => output::line(&output::batches(format, &[batch(&shown)?])?)?,
    }
    let is_missing = owed.iter().any(|it| it.status.is_missing());
    Ok(if asked.fail_on_overdue && is_missing {
        exit::UNCLEAN
    } else {
        0
    })
}

fn table(owed: &[Owed]) -> String {
    let headers = [
        "status",
        "due",
        "days late",
        "municipality",
        "period",
        "obligation",
        "sender",
        "contact",
        "come through",
        "received",
    ];
    let rows: Vec<Vec<String>> = owed
        .iter()
        .map(|it| {
            vec![
                it.status.as_str().to_owned(),
                it.due.to_string(),
                shown(it.days_late),
                it.municipality_code.to_string(),
                it.period.to_string(),
                it.obligation.clone(),
                it.sender.clone(),
                it.contact.clone(),
                shown(it.covered_through),
                shown(it.received_at.map(|it| it.format("%Y-%m-%d %H:%M UTC"))),
            ]
        })
        .collect();
    output::table(&headers, &rows)
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |it| it.to_string())
}

fn summary(owed: &[Owed]) -> String {
    let count = |wanted: Status| owed.iter().filter(|it| it.status == wanted).count();
    format!(
        "{} overdue, {} in part, {} not due, {} came late, {} in time",
        count(Status::Overdue),
        count(Status::Partial),
        count(Status::NotDue),
        count(Status::Late),
        count(Status::OnTime),
    )
}
