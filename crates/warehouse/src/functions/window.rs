//! How a function over whole partitions becomes a DataFusion window function that answers true or false.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    error::Result,
    logical_expr::{
        Documentation, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
        function::{PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
    scalar::ScalarValue,
};

use super::scalar::{Kind, coerce, document, signature_text};

/// A window function as its family writes it down.
#[derive(Debug)]
pub(super) struct Windowed {
    /// The name used in SQL.
    pub(super) name: &'static str,
    /// The arguments: name, type, meaning.
    pub(super) arguments: &'static [(&'static str, Kind, &'static str)],
    /// What it answers, the rule and where that is from.
    pub(super) doc: &'static str,
    /// A call.
    pub(super) example: &'static str,
    /// Answers every row of a partition.
    pub(super) eval: fn(&[ArrayRef], usize) -> Result<Vec<bool>>,
}

/// A [`Windowed`] function for DataFusion.
#[derive(Debug)]
pub(super) struct Window {
    windowed: &'static Windowed,
    signature: Signature,
    documentation: Documentation,
}

impl Window {
    /// Wraps a function.
    pub(super) fn new(windowed: &'static Windowed) -> Self {
        let (name, arguments) = (windowed.name, windowed.arguments);
        let text = signature_text(name, arguments, " over (partition by …)", Kind::Bool);
        Self {
            windowed,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: document(text, windowed.doc, windowed.example, arguments),
        }
    }

    /// The function inside.
    pub(super) fn windowed(&self) -> &'static Windowed {
        self.windowed
    }

    /// Its documentation.
    pub(super) fn documentation_of(&self) -> &Documentation {
        &self.documentation
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.windowed.name == other.windowed.name
    }
}

impl Eq for Window {}

impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.windowed.name.hash(state);
    }
}

impl WindowUDFImpl for Window {
    fn name(&self) -> &str {
        self.windowed.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.windowed.name, self.windowed.arguments, given)
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition {
            eval: self.windowed.eval,
            answers: Vec::new(),
            next: 0,
        }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Boolean, false)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// One partition. Where it streams, it is seen whole before its first row is answered.
#[derive(Debug)]
struct Partition {
    eval: fn(&[ArrayRef], usize) -> Result<Vec<bool>>,
    answers: Vec<bool>,
    next: usize,
}

impl PartitionEvaluator for Partition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let answers = (self.eval)(values, rows)?;
        Ok(Arc::new(BooleanArray::from(answers)))
    }

    /// Without this the engine would gather all partitions in one batch.
    fn supports_bounded_execution(&self) -> bool {
        true
    }

    /// Every row needs the whole partition, so none is asked for before its end.
    fn get_range(&self, _: usize, rows: usize) -> Result<Range<usize>> {
        Ok(0..rows)
    }

    /// Called for one row after the other.
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        if self.next == 0 {
            self.answers = (self.eval)(values, range.end)?;
        }
        let answer = self.answers.get(self.next).copied();
        self.next += 1;
        Ok(ScalarValue::Boolean(answer))
    }
}
