//! How records are held: one typed row per thing, readable as named cells, with what its source knew when.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use chrono::{DateTime, NaiveDate, Utc};

use crate::Municipality;

/// A point in time, UTC, to the microsecond.
pub type Moment = DateTime<Utc>;

/// A row of one entity, as it turns out in the end.
///
/// A source learns of it at `registered_at` and of its late columns (an end date, an answer) at
/// `updated_at`; see [`Record::image`].
pub trait Record: Clone + fmt::Debug + 'static {
    /// The entity's name in the contract.
    const ENTITY: &'static str;
    /// The entity's columns.
    const COLUMNS: &'static [&'static str];

    /// All rows of a municipality.
    fn rows(municipality: &Municipality) -> &[Self];
    /// When the source learned of it, and when it learned the rest.
    fn times(&self) -> (Moment, Moment);
    /// The full image that the source shows at `at`; none before it knows of the thing.
    fn image(&self, at: Moment) -> Option<Cow<'_, Self>>;
    /// The values of [`Record::COLUMNS`].
    fn cells<'a>(&'a self, out: &mut Vec<Cell<'a>>);
}

/// A value of a record before anyone writes it down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Null.
    Empty,
    /// Text, also enum values and codes.
    Text(&'a str),
    /// A natural key or a reference to one.
    Id(Id),
    /// A citizen; who writes it decides between pseudonym and CPR number.
    Person(Person),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// An amount of money.
    Money(Kroner),
    /// A truth value.
    Bool(bool),
    /// A civil date.
    Date(NaiveDate),
    /// A point in time.
    Moment(Moment),
}

impl Cell<'_> {
    /// Appends it as the contract writes it: ISO dates, decimal point, nothing for null. A person
    /// is whatever the caller makes of them, so nothing is written for one.
    pub(crate) fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Empty | Self::Person(_) => Ok(()),
            Self::Text(text) => out.write_str(text),
            Self::Id(id) => write!(out, "{id}"),
            Self::Whole(number) => write!(out, "{number}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Money(amount) => write!(out, "{amount}"),
            Self::Bool(truth) => write!(out, "{truth}"),
            Self::Date(date) => write!(out, "{date}"),
            Self::Moment(at) => write!(out, "{}", at.format("%Y-%m-%dT%H:%M:%S%.6fZ")),
        };
    }

    /// As [`Cell::write`], in a text of its own.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// Identifies a thing of a municipality, such as `101-F17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub(crate) municipality: i32,
    pub(crate) kind: char,
    pub(crate) number: u32,
}

impl Id {
    /// The `number`th thing of its kind, from 0, in a municipality.
    pub(crate) fn new(municipality: i32, kind: char, number: usize) -> Self {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            municipality,
            kind,
            number,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.municipality, self.kind, self.number)
    }
}

/// A citizen: an index into the people of the municipality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person(pub(crate) u32);

/// Danish kroner, held in øre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kroner(pub(crate) i64);

impl Kroner {
    /// Whole kroner.
    pub(crate) fn new(kroner: i64) -> Self {
        Self(kroner * 100)
    }
}

impl fmt::Display for Kroner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Whatever can stand in a column.
pub(crate) trait Value {
    fn cell(&self) -> Cell<'_>;
}

macro_rules! value {
    ($($kind:ty => |$it:ident| $cell:expr;)*) => {
        $(impl Value for $kind {
            fn cell(&self) -> Cell<'_> {
                let $it = self;
                $cell
            }
        })*
    };
}

value! {
    &'static str => |it| Cell::Text(it);
    String => |it| Cell::Text(it);
    Id => |it| Cell::Id(*it);
    Person => |it| Cell::Person(*it);
    i32 => |it| Cell::Whole(i64::from(*it));
    f64 => |it| Cell::Number(*it);
    Kroner => |it| Cell::Money(*it);
    bool => |it| Cell::Bool(*it);
    NaiveDate => |it| Cell::Date(*it);
    Moment => |it| Cell::Moment(*it);
}

impl<V: Value> Value for Option<V> {
    fn cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Empty, Value::cell)
    }
}

/// The rows of one entity in one municipality, type erased.
pub(crate) trait Table {
    fn entity(&self) -> &'static str;
    fn columns(&self) -> &'static [&'static str];
    fn len(&self) -> usize;
    /// When the image shown at `at` was made; none where there is none yet.
    fn changed(&self, row: usize, at: Moment) -> Option<Moment>;
    /// Calls `read` with the image shown at `at`; false where there is none yet.
    fn read(&self, row: usize, at: Moment, read: &mut dyn FnMut(&[Cell<'_>])) -> bool;
}

impl<R: Record> Table for Vec<R> {
    fn entity(&self) -> &'static str {
        R::ENTITY
    }

    fn columns(&self) -> &'static [&'static str] {
        R::COLUMNS
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn changed(&self, row: usize, at: Moment) -> Option<Moment> {
        let (registered, updated) = self.get(row)?.times();
        [updated, registered].into_iter().find(|it| *it <= at)
    }

    fn read(&self, row: usize, at: Moment, read: &mut dyn FnMut(&[Cell<'_>])) -> bool {
        let Some(image) = self.get(row).and_then(|it| it.image(at)) else {
            return false;
        };
        let mut cells = Vec::with_capacity(R::COLUMNS.len());
        image.cells(&mut cells);
        read(&cells);
        true
    }
}

/// Declares a record type: its entity, where a municipality keeps its rows, the columns that are
/// empty until `updated_at`, and all columns but `updated_at`.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $name:ident $entity:literal in $rows:ident, late [$($late:ident),*] {
            $($field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the contract documents the columns")]
        pub struct $name {
            $(pub $field: $kind,)*
            /// When the source learned of it.
            pub registered_at: Moment,
            /// When the source learned the late columns.
            pub updated_at: Moment,
        }

        impl Record for $name {
            const ENTITY: &'static str = $entity;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field),)* "updated_at"];

            fn rows(municipality: &Municipality) -> &[Self] {
                &municipality.$rows
            }

            fn times(&self) -> (Moment, Moment) {
                (self.registered_at, self.updated_at)
            }

            fn image(&self, at: Moment) -> Option<Cow<'_, Self>> {
                if self.updated_at <= at {
                    return Some(Cow::Borrowed(self));
                }
                (self.registered_at <= at).then(|| {
                    #[allow(unused_mut, reason = "not every record has late columns")]
                    let mut early = Self { updated_at: self.registered_at, ..self.clone() };
                    $(early.$late = None;)*
                    Cow::Owned(early)
                })
            }

            fn cells<'a>(&'a self, out: &mut Vec<Cell<'a>>) {
                $(out.push(self.$field.cell());)*
                out.push(Cell::Moment(self.updated_at));
            }
        }
    };
}

pub(crate) use record;
