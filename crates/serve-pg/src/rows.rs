//! Batches into `DataRow` messages.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use datafusion_postgres::arrow_pg::encoder::encode_value;
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;
use pgwire::types::format::FormatOptions;

use crate::plan::Batches;
use crate::shape::Shape;

/// A result on its way to the client.
pub(crate) struct Rows {
    pub(crate) shape: Shape,
    pub(crate) fields: Arc<Vec<FieldInfo>>,
    batches: Source,
    current: Option<(RecordBatch, usize)>,
    encoder: DataRowEncoder,
}

enum Source {
    Running(Batches),
    Ready(VecDeque<RecordBatch>),
}

impl Rows {
    /// Rows of a running query.
    pub(crate) fn running(shape: Shape, fields: Vec<FieldInfo>, batches: Batches) -> Rows {
        Rows::new(shape, fields, Source::Running(batches))
    }

    /// Rows that are all there.
    pub(crate) fn ready(shape: Shape, fields: Vec<FieldInfo>, batches: Vec<RecordBatch>) -> Rows {
        Rows::new(shape, fields, Source::Ready(batches.into()))
    }

    fn new(shape: Shape, fields: Vec<FieldInfo>, batches: Source) -> Rows {
        let fields = Arc::new(fields);
        Rows {
            shape,
            encoder: DataRowEncoder::new(Arc::clone(&fields)),
            fields,
            batches,
            current: None,
        }
    }

    /// The next row, or `None` after the last.
    pub(crate) async fn next(&mut self) -> PgWireResult<Option<DataRow>> {
        loop {
            if let Some((batch, row)) = &mut self.current
                && *row < batch.num_rows()
            {
                for (column, field) in self.fields.iter().enumerate() {
                    encode(&mut self.encoder, batch, column, *row, field)?;
                }
                *row += 1;
                if let Source::Running(batches) = &self.batches {
                    batches.sent(1);
                }
                return Ok(Some(self.encoder.take_row()));
            }
            let next = match &mut self.batches {
                Source::Running(batches) => batches.next().await?,
                Source::Ready(batches) => batches.pop_front(),
            };
            match next {
                Some(batch) => self.current = Some((self.shape.fit(&batch)?, 0)),
                None => return Ok(None),
            }
        }
    }
}

fn encode(
    encoder: &mut DataRowEncoder,
    batch: &RecordBatch,
    column: usize,
    row: usize,
    field: &FieldInfo,
) -> PgWireResult<()> {
    let array = batch.column(column);
    if let DataType::Decimal128(_, scale) = array.data_type() {
        // The library's way goes through a 96-bit decimal, which DataFusion's sums and averages outgrow.
        let value = array
            .is_valid(row)
            .then(|| array.as_primitive::<Decimal128Type>().value(row));
        return encode_decimal(encoder, value, *scale, field.format());
    }
    // PostgreSQL writes 1 for the number that the library writes as 1.0.
    if field.format() == FieldFormat::Text && array.is_valid(row) {
        let text = match array.data_type() {
            DataType::Float64 => Some(float_text(
                array.as_primitive::<Float64Type>().value(row),
                15,
            )),
            DataType::Float32 => Some(float_text(
                array.as_primitive::<Float32Type>().value(row),
                6,
            )),
            _ => None,
        };
        if text.is_some() {
            let options = FormatOptions::default();
            return encoder.encode_field_with_type_and_format(
                &text,
                &Type::TEXT,
                FieldFormat::Text,
                &options,
            );
        }
    }
    encode_value(encoder, array, row, batch.schema_ref().field(column), field)
}

fn encode_decimal(
    encoder: &mut DataRowEncoder,
    value: Option<i128>,
    scale: i8,
    format: FieldFormat,
) -> PgWireResult<()> {
    let options = FormatOptions::default();
    if format == FieldFormat::Text {
        let text = value.map(|value| decimal_text(value, scale));
        encoder.encode_field_with_type_and_format(&text, &Type::TEXT, FieldFormat::Text, &options)
    } else {
        let bytes = value.map(|value| decimal_binary(value, scale));
        encoder.encode_field_with_type_and_format(
            &bytes,
            &Type::BYTEA,
            FieldFormat::Binary,
            &options,
        )
    }
}

/// Shortest digits that read back as the same number, with an exponent from 10^`digits` on and below 10^-4.
fn float_text<T: std::fmt::LowerExp + std::fmt::Display + PartialEq + Copy>(
    value: T,
    digits: i32,
) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific.as_str() {
            "inf" => "Infinity".into(),
            "-inf" => "-Infinity".into(),
            _ => scientific,
        };
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits).contains(&power) {
        return value.to_string();
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

fn decimal_text(value: i128, scale: i8) -> String {
    let mut digits = value.unsigned_abs().to_string();
    let places = usize::try_from(scale).unwrap_or(0);
    if scale < 0 && value != 0 {
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
    if digits.len() <= places {
        digits.insert_str(0, &"0".repeat(places + 1 - digits.len()));
    }
    if places > 0 {
        digits.insert(digits.len() - places, '.');
    }
    if value < 0 {
        format!("-{digits}")
    } else {
        digits
    }
}

/// `numeric_send`: digit count, weight of the first digit, sign, display scale, then base-10000 digits.
fn decimal_binary(value: i128, scale: i8) -> Vec<u8> {
    let text = decimal_text(value, scale);
    let text = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let lead = (4 - whole.len() % 4) % 4;
    let trail = (4 - fraction.len() % 4) % 4;
    let padded = format!("{}{whole}{fraction}{}", "0".repeat(lead), "0".repeat(trail));
    let mut digits: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |sum, d| sum * 10 + i16::from(d - b'0')))
        .collect();
    let mut weight = (whole.len() + lead) as i32 / 4 - 1;
    while digits.first() == Some(&0) {
        digits.remove(0);
        weight -= 1;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let sign: i16 = if value < 0 { 0x4000 } else { 0 };
    let weight = if digits.is_empty() { 0 } else { weight as i16 };
    let header = [digits.len() as i16, weight, sign, i16::from(scale.max(0))];
    header
        .iter()
        .chain(&digits)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(decimal_text(123_456_780, 4), "12345.6780");
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(0, 2), "0.00");
        assert_eq!(decimal_text(7, -2), "700");
        let largest = "9".repeat(38);
        assert_eq!(decimal_text(10_i128.pow(38) - 1, 0), largest);
    }

    #[test]
    fn floats_are_written_as_postgres_writes_them() {
        let shown = [
            1e15,
            1e14,
            123_456_789_012_345_678.0,
            1e-4,
            1e-5,
            1.0,
            -0.0,
            0.25,
            f64::NAN,
            f64::NEG_INFINITY,
        ]
        .map(|value| float_text(value, 15));
        let expected = [
            "1e+15",
            "100000000000000",
            "1.2345678901234568e+17",
            "0.0001",
            "1e-05",
            "1",
            "-0",
            "0.25",
            "NaN",
            "-Infinity",
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            (float_text(1e6_f32, 6), float_text(100_000_f32, 6)),
            ("1e+06".into(), "100000".into())
        );
    }

    #[test]
    fn binary_decimals_are_as_numeric_send_writes_them() {
        assert_eq!(
            decimal_binary(123_456_780, 4),
            [0, 3, 0, 1, 0, 0, 0, 4, 0, 1, 9, 41, 26, 124]
        );
        assert_eq!(
            decimal_binary(-5, 2),
            [0, 1, 0xff, 0xff, 0x40, 0, 0, 2, 1, 0xf4]
        );
        assert_eq!(decimal_binary(0, 2), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(decimal_binary(10_000, 0), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
    }
}
