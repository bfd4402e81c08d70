//! Support calendars: the days a citizen was supported, built once and then asked about days.
//!
//! A calendar is one flat list of dates, `[from, to, from, to, …]`: sorted, disjoint, never adjacent,
//! both ends inclusive, an open end as 9999-12-31. It is searched by halving.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Date32Array, ListArray},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{
        cast::{as_date32_array, as_list_array},
        internal_err,
    },
    error::Result,
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature,
        Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
    scalar::ScalarValue,
};

use super::scalar::{Columns, Kind, Signed, at, coerce, document, signature_text};

/// One stretch of support: first and last day, days since 1970.
pub(super) type Spell = [i32; 2];

/// 9999-12-31: the end of a spell still running.
const OPEN: i32 = 2_932_896;

/// The aggregate's name.
pub(super) const NAME: &str = "support_calendar";

pub(super) static ALL: &[Signed] = &[
    Signed {
        name: "supported_on",
        arguments: &[
            (
                "calendar",
                Kind::Calendar,
                "from support_calendar; null is never supported",
            ),
            ("day", Kind::Date, "the day asked about"),
        ],
        returns: Kind::Bool,
        doc: "Whether the citizen is supported on a day. Self-supporting is `not supported_on(…)`. \
              Source: indicators, common rules.",
        example: "supported_on(calendar, date '2010-03-31')",
        eval: |columns| {
            let (calendars, days) = (Calendars::new(columns, 0)?, columns.dates(1)?);
            let answers: BooleanArray = (0..columns.rows())
                .map(|row| Some(supported_on(calendars.at(row), at(days, row)?)))
                .collect();
            Ok(Arc::new(answers))
        },
    },
    Signed {
        name: "supported_between",
        arguments: &[
            (
                "calendar",
                Kind::Calendar,
                "from support_calendar; null is never supported",
            ),
            ("first_day", Kind::Date, "the first day asked about"),
            (
                "last_day",
                Kind::Date,
                "the last day asked about; before the first one, no day is",
            ),
        ],
        returns: Kind::Bool,
        doc: "Whether the citizen is supported on at least one day from first_day to last_day, both \
              included. Self-supporting on every one of them is `not supported_between(…)`.",
        example: "supported_between(calendar, date '2010-01-01', date '2010-03-31')",
        eval: |columns| {
            let calendars = Calendars::new(columns, 0)?;
            let (first, last) = (columns.dates(1)?, columns.dates(2)?);
            let answers: BooleanArray = (0..columns.rows())
                .map(|row| {
                    let (first, last) = (at(first, row)?, at(last, row)?);
                    Some(supported_between(calendars.at(row), first, last))
                })
                .collect();
            Ok(Arc::new(answers))
        },
    },
];

/// Whether a day is in the calendar.
pub(super) fn supported_on(calendar: &[Spell], day: i32) -> bool {
    supported_between(calendar, day, day)
}

/// Whether a day of `[first, last]` is in the calendar.
pub(super) fn supported_between(calendar: &[Spell], first: i32, last: i32) -> bool {
    // The last spell that begins in time decides: earlier ones end before it begins.
    let begun = calendar.partition_point(|&[from, _]| from <= last);
    first <= last && begun > 0 && calendar[begun - 1][1] >= first
}

/// A column of calendars.
#[derive(Debug)]
pub(super) struct Calendars<'a> {
    lists: &'a ListArray,
    days: &'a [i32],
}

impl<'a> Calendars<'a> {
    /// Argument `at` of a call.
    pub(super) fn new(columns: &'a Columns, at: usize) -> Result<Self> {
        Self::of(columns.lists(at)?)
    }

    fn of(lists: &'a ListArray) -> Result<Self> {
        let days = as_date32_array(lists.values().as_ref())?.values();
        Ok(Self { lists, days })
    }

    /// The spells of a row; none where it is null.
    pub(super) fn at(&self, row: usize) -> &'a [Spell] {
        if self.lists.is_null(row) {
            return &[];
        }
        let offsets = self.lists.value_offsets();
        let days = &self.days[offsets[row] as usize..offsets[row + 1] as usize];
        days.as_chunks().0
    }
}

/// `support_calendar(from_date, to_date)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SupportCalendar {
    signature: Signature,
    documentation: Documentation,
}

const ARGUMENTS: &[(&str, Kind, &str)] = &[
    (
        "from_date",
        Kind::Date,
        "the first day of a spell of support; null leaves the spell out",
    ),
    (
        "to_date",
        Kind::Date,
        "its last day, included; null is still running",
    ),
];

impl SupportCalendar {
    /// The aggregate.
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: document(
                signature_text(NAME, ARGUMENTS, "", Kind::Calendar),
                "AGGREGATE. The days a citizen is supported, as a calendar that the other functions search: \
                 overlapping and adjacent spells are merged, so their order and number do not matter. Give \
                 it only spells whose benefit counts as support. No spell at all is null, and null is \
                 never supported. Source: indicators, common rules.",
                "select citizen_id, support_calendar(from_date, to_date) from core.benefit_spell group by citizen_id",
                ARGUMENTS,
            ),
        }
    }

    /// Its documentation.
    pub(super) fn documentation_of(&self) -> &Documentation {
        &self.documentation
    }
}

impl AggregateUDFImpl for SupportCalendar {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(Kind::Calendar.data_type())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(NAME, ARGUMENTS, given)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "calendar");
        Ok(vec![Arc::new(Field::new(
            name,
            Kind::Calendar.data_type(),
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One::default()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The spells of one group.
#[derive(Debug, Default)]
struct One {
    spells: Vec<Spell>,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each_spell(values, |_, spell| self.spells.push(spell))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = as_list_array(states[0].as_ref())?;
        let calendars = Calendars::of(lists)?;
        for row in 0..lists.len() {
            self.spells.extend_from_slice(calendars.at(row));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.spells.sort_unstable();
        let mut lists = Lists::default();
        lists.push(self.spells.iter().copied());
        Ok(ScalarValue::List(Arc::new(lists.finish()?)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.spells.capacity() * size_of::<Spell>()
    }
}

/// The spells of many groups, one flat list, whatever the number of groups.
#[derive(Debug, Default)]
struct Many {
    spells: Vec<(usize, Spell)>,
    groups: usize,
}

impl Many {
    /// The calendars of the groups to emit; the groups that stay are numbered from 0 again.
    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let count = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count,
        };
        self.spells.sort_unstable();
        let emitted = self.spells.partition_point(|(group, _)| *group < count);
        let mut lists = Lists::default();
        let mut rest = &self.spells[..emitted];
        for group in 0..count {
            let (own, others) = rest.split_at(rest.partition_point(|it| it.0 == group));
            lists.push(own.iter().map(|it| it.1));
            rest = others;
        }
        self.spells.drain(..emitted);
        for (group, _) in &mut self.spells {
            *group -= count;
        }
        self.groups -= count;
        Ok(Arc::new(lists.finish()?))
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        for_each_spell(values, |row, spell| {
            if opt_filter.is_none_or(|it| at(it, row) == Some(true)) {
                self.spells.push((group_indices[row], spell));
            }
        })
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let calendars = Calendars::of(as_list_array(values[0].as_ref())?)?;
        for (row, group) in group_indices.iter().enumerate() {
            let spells = calendars.at(row).iter();
            self.spells.extend(spells.map(|spell| (*group, *spell)));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut spells = vec![None; values[0].len()];
        for_each_spell(values, |row, spell| {
            if opt_filter.is_none_or(|it| at(it, row) == Some(true)) {
                spells[row] = Some(spell);
            }
        })?;
        let mut lists = Lists::default();
        for spell in spells {
            lists.push(spell.into_iter());
        }
        Ok(vec![Arc::new(lists.finish()?)])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.spells.capacity() * size_of::<(usize, Spell)>()
    }
}

/// Calls back with every row that is a spell; one that ends before it begins is none.
fn for_each_spell(values: &[ArrayRef], mut found: impl FnMut(usize, Spell)) -> Result<()> {
    let from = as_date32_array(values[0].as_ref())?;
    let to = as_date32_array(values[1].as_ref())?;
    for row in 0..from.len() {
        let last = at(to, row).unwrap_or(OPEN);
        if let Some(first) = at(from, row).filter(|first| *first <= last) {
            found(row, [first, last]);
        }
    }
    Ok(())
}

/// Calendars under construction.
#[derive(Debug, Default)]
struct Lists {
    days: Vec<i32>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Lists {
    /// Adds the calendar of spells sorted by their first day; null where there is none.
    fn push(&mut self, spells: impl Iterator<Item = Spell>) {
        let begin = self.days.len();
        for [from, to] in spells {
            match self.days[begin..].last_mut() {
                Some(last) if from <= last.saturating_add(1) => *last = to.max(*last),
                _ => self.days.extend([from, to]),
            }
        }
        let length = self.days.len() - begin;
        self.lengths.push(length);
        self.valid.push(length > 0);
    }

    fn finish(self) -> Result<ListArray> {
        let DataType::List(item) = Kind::Calendar.data_type() else {
            return internal_err!("a calendar is a list");
        };
        Ok(ListArray::try_new(
            item,
            OffsetBuffer::from_lengths(self.lengths),
            Arc::new(Date32Array::from(self.days)),
            Some(NullBuffer::from(self.valid)),
        )?)
    }
}

#[cfg(test)]
mod tests;
