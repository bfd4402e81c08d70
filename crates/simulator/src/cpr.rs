//! CPR numbers that nobody can have.

use std::fmt;

use crate::{Error, Result};

/// A CPR number whose day has 60 added: it looks like one and passes every parser that must take
/// administrative numbers, but the civil register never gives it to anyone.
///
/// Its first digit is therefore 6 to 9, and it never has a leading zero to lose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CprNumber(u64);

impl CprNumber {
    /// Ten digits.
    pub fn digits(self) -> String {
        format!("{:010}", self.0)
    }

    /// `DDMMYY-XXXX`, as people write it.
    pub fn hyphenated(self) -> String {
        format!("{:06}-{:04}", self.0 / 10_000, self.0 % 10_000)
    }

    /// As a number, which is what a spreadsheet makes of it.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for CprNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CprNumber(..)")
    }
}

/// Each municipality has this many serial numbers of its own, so that no two people share one.
const SERIALS: u32 = 100;
const DAYS: u32 = 28;
const MONTHS: u32 = 12;
/// Numbers per birth year and municipality.
const PER_YEAR: u32 = SERIALS * DAYS * MONTHS;
/// Has no factor in common with [`PER_YEAR`], so stepping by it visits every number once.
const STRIDE: u32 = 20_011;

/// Hands out the numbers of one municipality.
#[derive(Debug)]
pub(crate) struct CprOffice {
    slot: u32,
    given: [u32; 100],
}

impl CprOffice {
    /// The office of the municipality with this rank among all, 0 to 97.
    pub(crate) fn new(slot: u32) -> Self {
        Self {
            slot,
            given: [0; 100],
        }
    }

    /// A new number for someone born in `year`.
    pub(crate) fn next(&mut self, year: i32) -> Result<CprNumber> {
        let two_digits = year.rem_euclid(100);
        let given = &mut self.given[two_digits as usize];
        if *given >= PER_YEAR {
            return Err(Error::Settings(format!(
                "citizens_per_municipality is too large: more than {PER_YEAR} people born in {year}"
            )));
        }
        let n = (u64::from(*given) * u64::from(STRIDE)) % u64::from(PER_YEAR);
        *given += 1;
        let (days, months) = (u64::from(DAYS), u64::from(MONTHS));
        let day = 61 + n % days;
        let month = 1 + n / days % months;
        let serial = u64::from(self.slot * SERIALS) + n / days / months;
        let date = (day * 100 + month) * 100 + two_digits as u64;
        Ok(CprNumber(date * 10_000 + serial))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_of_a_year_is_given_once_and_then_no_more() {
        let mut office = CprOffice::new(97);
        let numbers: BTreeSet<u64> = (0..PER_YEAR)
            .map(|_| office.next(1980).unwrap().number())
            .collect();
        assert_eq!(numbers.len(), PER_YEAR as usize);
        assert!(matches!(office.next(1980), Err(Error::Settings(_))));
        assert!(office.next(1981).is_ok());
    }

    #[test]
    fn no_number_can_be_a_persons_and_debug_shows_none() {
        let mut office = CprOffice::new(3);
        for _ in 0..5000 {
            let number = office.next(1969).unwrap();
            let day = number.number() / 100_000_000;
            assert!((61..=88).contains(&day), "day {day}");
            assert!(!format!("{number:?}").contains(&number.digits()));
            assert!(contract::Cpr::parse(&number.hyphenated()).is_some());
            assert!(contract::Cpr::parse(&number.digits()).is_some());
        }
    }
}
