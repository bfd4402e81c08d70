//! Whether each period owed has come, and when all of it had: days covered against days owed.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use contract::{Period, civil_day};
use spec::{Obligation, Proof};

use super::{Owed, Status};

/// A row of `core.delivery_coverage`: something that came, and the days it covers.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    pub(crate) municipality_code: i32,
    pub(crate) entity: String,
    pub(crate) proof: String,
    pub(crate) source: String,
    pub(crate) file_name: Option<String>,
    /// None: everything up to the last day.
    pub(crate) first_day: Option<NaiveDate>,
    /// None: no day that could be told.
    pub(crate) last_day: Option<NaiveDate>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) row_count: Option<i64>,
    /// It came, and covers nothing.
    pub(crate) refused: bool,
}

/// Every obligation's periods that have begun by `as_of`, with what was known at the end of that day.
pub(crate) fn judge(obligations: &[Obligation], came: &[Coverage], as_of: NaiveDate) -> Vec<Owed> {
    let mut by_what: HashMap<(i32, &str, &str), Vec<&Coverage>> = HashMap::new();
    for it in came {
        if civil_day(it.received_at) <= as_of {
            let what = (it.municipality_code, it.entity.as_str(), it.proof.as_str());
            by_what.entry(what).or_default().push(it);
        }
    }
    let mut owed = Vec::new();
    for obligation in obligations {
        for municipality in &obligation.municipality_codes {
            let came = relevant(obligation, *municipality, &by_what);
            let periods = obligation.periods(as_of);
            owed.extend(
                periods.map(|period| settle(obligation, *municipality, period, &came, as_of)),
            );
        }
    }
    owed
}

/// What can count for an obligation, in the order in which it came.
fn relevant<'a>(
    obligation: &Obligation,
    municipality: i32,
    by_what: &HashMap<(i32, &str, &str), Vec<&'a Coverage>>,
) -> Vec<&'a Coverage> {
    let found = |code| {
        let what = (
            code,
            obligation.entity.name.as_str(),
            obligation.proof.as_str(),
        );
        by_what.get(&what).into_iter().flatten().copied()
    };
    // A watermark for the whole country counts for every municipality, as it does for the horizon.
    let national = (obligation.proof == Proof::Watermark && municipality != 0).then(|| found(0));
    let mut came: Vec<&Coverage> = found(municipality)
        .chain(national.into_iter().flatten())
        .filter(|it| {
            obligation
                .source
                .as_ref()
                .is_none_or(|source| *source == it.source)
        })
        .filter(|it| {
            let name = it.file_name.as_deref().unwrap_or_default().to_lowercase();
            let pattern = obligation.files.as_ref();
            pattern.is_none_or(|pattern| contract::matches(pattern, &name))
        })
        .collect();
    came.sort_by_key(|it| it.received_at);
    came
}

fn settle(
    obligation: &Obligation,
    municipality_code: i32,
    period: Period,
    came: &[&Coverage],
    as_of: NaiveDate,
) -> Owed {
    let (first, last) = obligation.days(period);
    let mut covered = Days::default();
    let mut touched = false;
    let mut complete: Option<&Coverage> = None;
    // The last version of each file; rows that speak of a day are each for themselves.
    let mut rows: BTreeMap<(&str, Option<&str>, Option<NaiveDate>), i64> = BTreeMap::new();
    for it in came {
        let Some((from, through)) = days_of(it, obligation.proof, (first, last)) else {
            continue;
        };
        touched = true;
        if it.refused {
            continue;
        }
        if let Some(count) = it.row_count {
            rows.insert((&it.source, it.file_name.as_deref(), it.first_day), count);
        }
        covered.add(from, through);
        if complete.is_none() && covered.through(first).is_some_and(|it| it >= last) {
            complete = Some(it);
        }
    }
    let due = obligation.due(period);
    let status = match complete.map(|it| civil_day(it.received_at)) {
        Some(day) if day <= due => Status::OnTime,
        Some(_) => Status::Late,
        None if as_of <= due => Status::NotDue,
        None if touched => Status::Partial,
        None => Status::Overdue,
    };
    let day = complete.map_or(as_of, |it| civil_day(it.received_at));
    Owed {
        obligation: obligation.name.clone(),
        municipality_code,
        sender: obligation.sender.clone(),
        entity: obligation.entity.name.clone(),
        period,
        due,
        status,
        received_at: complete.map(|it| it.received_at),
        days_late: (day > due).then(|| (day - due).num_days()),
        covered_through: covered.through(first).map(|it| it.min(last)),
        rows: (!rows.is_empty()).then(|| rows.values().sum()),
        source: complete.map(|it| it.source.clone()),
        contact: obligation.contact.clone(),
    }
}

/// The days owed that a thing covers; `None` where it has nothing to do with them.
fn days_of(
    it: &Coverage,
    proof: Proof,
    (first, last): (NaiveDate, NaiveDate),
) -> Option<(NaiveDate, NaiveDate)> {
    let (begins, ends) = (it.first_day.unwrap_or(first), it.last_day?);
    let (from, through) = (begins.max(first), ends.min(last));
    if from > through {
        return None;
    }
    match proof {
        // What came before its period was over cannot hold the rest of it.
        Proof::File | Proof::Watermark => Some((from, through.min(civil_day(it.received_at)))),
        // Nobody says which days have rows; those that have stand for the period. A week that only reaches into it does not.
        Proof::Rows => {
            let within = begins >= first && ends <= last;
            let around = begins <= first && ends >= last;
            (within || around).then_some((first, last))
        }
    }
}

/// Stretches of days with days between them.
#[derive(Default)]
struct Days(Vec<(NaiveDate, NaiveDate)>);

impl Days {
    fn add(&mut self, mut from: NaiveDate, mut through: NaiveDate) {
        if from > through {
            return;
        }
        self.0.retain(|(begin, end)| {
            let is_apart = |a: NaiveDate, b: NaiveDate| a.succ_opt().is_some_and(|it| it < b);
            let stays = is_apart(*end, from) || is_apart(through, *begin);
            if !stays {
                (from, through) = (from.min(*begin), through.max(*end));
            }
            stays
        });
        self.0.push((from, through));
    }

    /// The last day of the unbroken stretch that holds `first`.
    fn through(&self, first: NaiveDate) -> Option<NaiveDate> {
        let mut holding = self.0.iter().filter(|it| it.0 <= first && first <= it.1);
        holding.next().map(|it| it.1)
    }
}

#[cfg(test)]
mod tests;
