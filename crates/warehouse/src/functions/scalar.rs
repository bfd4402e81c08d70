//! How a plain function over columns becomes one DataFusion can call: types, coercion, documentation.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayAccessor, ArrayRef, Date32Array, Float64Array, Int64Array, ListArray, StringArray,
    },
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{
        cast::{as_date32_array, as_float64_array, as_int64_array, as_list_array, as_string_array},
        plan_err,
    },
    error::Result,
    logical_expr::{
        ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature,
        Volatility,
    },
};

/// A function as its family writes it down.
#[derive(Debug)]
pub(super) struct Signed {
    /// The name used in SQL.
    pub(super) name: &'static str,
    /// The arguments: name, type, meaning.
    pub(super) arguments: &'static [(&'static str, Kind, &'static str)],
    /// What comes back.
    pub(super) returns: Kind,
    /// What it answers, the formula and where that is from.
    pub(super) doc: &'static str,
    /// A call with its answer.
    pub(super) example: &'static str,
    /// Computes whole columns at once.
    pub(super) eval: fn(&Columns) -> Result<ArrayRef>,
}

/// The types functions speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A civil date.
    Date,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// Support calendar: see [`super::calendar`].
    Calendar,
    /// A list of whole numbers.
    Ints,
    /// A list of truths.
    Bools,
}

impl Kind {
    /// The Arrow type.
    pub(super) fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        match self {
            Self::Date => DataType::Date32,
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Calendar => list(DataType::Date32),
            Self::Ints => list(DataType::Int64),
            Self::Bools => list(DataType::Boolean),
        }
    }

    /// The type to convert an argument of type `given` to, if that loses nothing.
    fn coerce(self, given: &DataType) -> Option<DataType> {
        let wanted = self.data_type();
        let fits = match self {
            Self::Date => {
                matches!(
                    given,
                    DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)
                ) || is_text(given)
            }
            Self::Int => given.is_integer(),
            Self::Double => given.is_numeric(),
            Self::Text => is_text(given),
            Self::Bool => given == &DataType::Boolean,
            Self::Calendar => match given {
                // A list read back from a table names its items differently; its dates are the same.
                DataType::List(item) if item.data_type() == &DataType::Date32 => {
                    return Some(given.clone());
                }
                _ => is_list_of(given, |item| item == &DataType::Date32),
            },
            Self::Ints => is_list_of(given, DataType::is_integer),
            Self::Bools => is_list_of(given, |item| item == &DataType::Boolean),
        };
        (fits || given.is_null()).then_some(wanted)
    }

    /// The name shown in signatures and errors, as PostgreSQL would say it.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Int => "bigint",
            Self::Double => "double",
            Self::Text => "text",
            Self::Bool => "boolean",
            Self::Calendar => "calendar",
            Self::Ints => "bigint[]",
            Self::Bools => "boolean[]",
        }
    }
}

fn is_text(given: &DataType) -> bool {
    match given {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn is_list_of(given: &DataType, is_item: impl Fn(&DataType) -> bool) -> bool {
    match given {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => {
            is_item(item.data_type()) || item.data_type().is_null()
        }
        _ => false,
    }
}

/// Converts argument types, or says which argument is wrong.
pub(super) fn coerce(
    name: &str,
    arguments: &[(&str, Kind, &str)],
    given: &[DataType],
) -> Result<Vec<DataType>> {
    if given.len() != arguments.len() {
        let wanted: Vec<&str> = arguments.iter().map(|it| it.0).collect();
        return plan_err!(
            "{name} takes {} arguments ({}), not {}",
            arguments.len(),
            wanted.join(", "),
            given.len()
        );
    }
    let mut coerced = Vec::with_capacity(given.len());
    for ((argument, kind, _), given) in arguments.iter().zip(given) {
        match kind.coerce(given) {
            Some(wanted) => coerced.push(wanted),
            None => {
                return plan_err!(
                    "{name}: `{argument}` is {given}, it must be {}",
                    kind.shown()
                );
            }
        }
    }
    Ok(coerced)
}

/// `name(argument type, …) -> type`.
pub(super) fn signature_text(
    name: &str,
    arguments: &[(&str, Kind, &str)],
    suffix: &str,
    returns: Kind,
) -> String {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|(argument, kind, _)| format!("{argument} {}", kind.shown()))
        .collect();
    format!(
        "{name}({}){suffix} -> {}",
        arguments.join(", "),
        returns.shown()
    )
}

/// Documentation in DataFusion's form.
pub(super) fn document(
    signature: String,
    doc: &str,
    example: &str,
    arguments: &[(&str, Kind, &str)],
) -> Documentation {
    let section = DocSection {
        include: true,
        label: "Pejl",
        description: None,
    };
    let mut documentation =
        Documentation::builder(section, doc, signature).with_sql_example(example);
    for (argument, _, meaning) in arguments {
        documentation = documentation.with_argument(*argument, *meaning);
    }
    documentation.build()
}

/// The arguments of one call, each a whole column.
#[derive(Debug)]
pub(super) struct Columns {
    arrays: Vec<ArrayRef>,
    rows: usize,
}

impl Columns {
    /// How many answers are wanted.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Argument `at` as dates, in days since 1970.
    pub(super) fn dates(&self, at: usize) -> Result<&Date32Array> {
        as_date32_array(self.arrays[at].as_ref())
    }

    /// Argument `at` as whole numbers.
    pub(super) fn ints(&self, at: usize) -> Result<&Int64Array> {
        as_int64_array(self.arrays[at].as_ref())
    }

    /// Argument `at` as numbers.
    pub(super) fn doubles(&self, at: usize) -> Result<&Float64Array> {
        as_float64_array(self.arrays[at].as_ref())
    }

    /// Argument `at` as text.
    pub(super) fn texts(&self, at: usize) -> Result<&StringArray> {
        as_string_array(self.arrays[at].as_ref())
    }

    /// Argument `at` as lists.
    pub(super) fn lists(&self, at: usize) -> Result<&ListArray> {
        as_list_array(self.arrays[at].as_ref())
    }
}

/// The value of a row, or `None` where it is null.
pub(super) fn at<A: ArrayAccessor>(array: A, row: usize) -> Option<A::Item> {
    array.is_valid(row).then(|| array.value(row))
}

/// A [`Signed`] function for DataFusion.
#[derive(Debug)]
pub(super) struct Scalar {
    signed: &'static Signed,
    signature: Signature,
    documentation: Documentation,
}

impl Scalar {
    /// Wraps a function.
    pub(super) fn new(signed: &'static Signed) -> Self {
        let text = signature_text(signed.name, signed.arguments, "", signed.returns);
        Self {
            signed,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: document(text, signed.doc, signed.example, signed.arguments),
        }
    }

    /// The function inside.
    pub(super) fn signed(&self) -> &'static Signed {
        self.signed
    }

    /// Its documentation.
    pub(super) fn documentation_of(&self) -> &Documentation {
        &self.documentation
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.signed.name == other.signed.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signed.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.signed.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.signed.returns.data_type())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.signed.name, self.signed.arguments, given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args
            .args
            .into_iter()
            .map(|it| it.into_array(rows))
            .collect::<Result<_>>()?;
        let answer = (self.signed.eval)(&Columns { arrays, rows })?;
        Ok(ColumnarValue::Array(answer))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
