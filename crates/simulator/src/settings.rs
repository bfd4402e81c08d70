//! How large a world, where, and when.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::Int32Type,
};
use chrono::NaiveDate;

use crate::{Error, Result};

/// What [`crate::World::generate`] makes. Equal settings make equal worlds, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Decides everything that is random.
    pub seed: u64,
    /// Where.
    pub municipalities: Municipalities,
    /// The first year in which courses start and interviews fall due. Benefits go back further.
    pub first_year: i32,
    /// How many years, 1 to 10.
    pub years: u32,
    /// How many citizens the employment services of each municipality meet over the years.
    pub citizens_per_municipality: u32,
    /// The day the sources stand at: what they learned by the end of it is visible.
    pub as_of: NaiveDate,
}

/// Which municipalities take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Municipalities {
    /// These, by code.
    Codes(Vec<i32>),
    /// The first so many by code, 1 to 98.
    First(usize),
}

impl Default for Settings {
    /// Copenhagen, 2010 to 2012, seen from the last day.
    fn default() -> Self {
        Self {
            seed: 1,
            municipalities: Municipalities::First(1),
            first_year: 2010,
            years: 3,
            citizens_per_municipality: 2000,
            as_of: NaiveDate::from_ymd_opt(2012, 12, 31).unwrap_or_default(),
        }
    }
}

/// The years of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// First day.
    pub(crate) from: NaiveDate,
    /// Last day.
    pub(crate) until: NaiveDate,
}

/// A municipality that can be simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) code: i32,
    pub(crate) name: String,
    /// Its rank among all municipalities, whether they take part or not.
    pub(crate) slot: u32,
}

impl Settings {
    /// The first and last day, once the numbers are sound.
    pub(crate) fn span(&self) -> Result<Span> {
        if !(1..=10).contains(&self.years) {
            return Err(Error::Settings(format!(
                "years is {}; choose 1 to 10",
                self.years
            )));
        }
        let last = self.first_year + self.years as i32 - 1;
        let days = (
            NaiveDate::from_ymd_opt(self.first_year, 1, 1),
            NaiveDate::from_ymd_opt(last, 12, 31),
        );
        let (Some(from), Some(until)) = days else {
            return Err(Error::Settings(format!(
                "first_year is {}; choose a year such as 2010",
                self.first_year
            )));
        };
        if self.first_year < 2010 || last > 2060 {
            return Err(Error::Settings(format!(
                "the years {} to {last} are outside 2010 to 2060, for which code lists and ages are right",
                self.first_year
            )));
        }
        if self.as_of < from {
            return Err(Error::Settings(format!(
                "as_of is {}, before the first day {from}",
                self.as_of
            )));
        }
        Ok(Span { from, until })
    }

    /// The municipalities that take part, by code.
    pub(crate) fn places(&self) -> Result<Vec<Place>> {
        let all = all_places()?;
        match &self.municipalities {
            Municipalities::First(count) if (1..=all.len()).contains(count) => {
                Ok(all.into_values().take(*count).collect())
            }
            Municipalities::First(count) => Err(Error::Settings(format!(
                "{count} municipalities asked for; there are 1 to {}",
                all.len()
            ))),
            Municipalities::Codes(codes) if codes.is_empty() => Err(Error::Settings(
                "no municipality asked for; name one, such as 101".to_owned(),
            )),
            Municipalities::Codes(codes) => {
                let mut places = BTreeMap::new();
                for code in codes {
                    let place = all.get(code).ok_or_else(|| {
                        Error::Settings(format!(
                            "{code} is not one of the {} municipalities",
                            all.len()
                        ))
                    })?;
                    places.insert(*code, place.clone());
                }
                Ok(places.into_values().collect())
            }
        }
    }
}

/// The whole country and the islands outside any municipality, which have no job centre.
const NOT_MUNICIPALITIES: [i32; 2] = [0, 411];

fn all_places() -> Result<BTreeMap<i32, Place>> {
    let bug = |what: &str| Error::Bug(format!("the code list `municipality` has no {what}"));
    let batch = contract::code_list("municipality")
        .ok_or_else(|| bug("rows"))?
        .batch();
    let codes = batch
        .column_by_name("municipality_code")
        .and_then(|it| it.as_primitive_opt::<Int32Type>())
        .ok_or_else(|| bug("whole numbers in municipality_code"))?;
    let names = batch
        .column_by_name("name")
        .and_then(|it| it.as_string_opt::<i32>())
        .ok_or_else(|| bug("text in name"))?;
    let listed: BTreeMap<i32, &str> = (0..batch.num_rows())
        .filter(|row| codes.is_valid(*row) && names.is_valid(*row))
        .map(|row| (codes.value(row), names.value(row)))
        .filter(|(code, _)| !NOT_MUNICIPALITIES.contains(code))
        .collect();
    Ok(listed
        .into_iter()
        .zip(0..)
        .map(|((code, name), slot)| {
            let place = Place {
                code,
                name: name.to_owned(),
                slot,
            };
            (code, place)
        })
        .collect())
}
