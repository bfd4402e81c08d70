//! That a column names one of some things, as a condition.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{array::BooleanArray, datatypes::DataType};
use datafusion::{
    common::cast::as_string_array,
    error::Result,
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::ident,
    scalar::ScalarValue,
};

/// More ids than this are not written into a query: the engine looks at each of a list many times over, for every file it opens.
const LISTED: usize = 150;

/// That `column` is one of `ids`. `is_sent` says whether other processes have to understand it.
pub(super) fn one_of(column: &str, ids: BTreeMap<String, Expr>, is_sent: bool) -> Expr {
    let are_texts = ids
        .values()
        .all(|it| matches!(it, Expr::Literal(ScalarValue::Utf8(Some(_)), _)));
    if ids.len() <= LISTED || is_sent || !are_texts {
        return ident(column).in_list(ids.into_values().collect(), false);
    }
    let function = OneOf {
        signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
        ids: Arc::new(ids.into_keys().collect()),
    };
    ScalarUDF::from(function).call(vec![ident(column)])
}

/// Whether a text is one of those it holds.
#[derive(Debug)]
struct OneOf {
    signature: Signature,
    ids: Arc<HashSet<String>>,
}

impl ScalarUDFImpl for OneOf {
    fn name(&self) -> &str {
        "one_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let found: BooleanArray = match columns.first() {
            Some(column) => {
                let texts = as_string_array(column)?;
                let found = texts.iter();
                found.map(|it| Some(self.ids.contains(it?))).collect()
            }
            None => BooleanArray::new_null(args.number_rows),
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

// Two are the same where they hold the same set, not only equal ones: comparing sets would cost more than asking twice.
impl PartialEq for OneOf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ids, &other.ids)
    }
}

impl Eq for OneOf {}

impl Hash for OneOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.ids).hash(state);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use datafusion::prelude::{SessionContext, lit};

    use super::*;

    #[tokio::test]
    async fn few_and_many_ids_find_the_same_rows() {
        let ids = |count: usize| -> BTreeMap<String, Expr> {
            let names = (0..count).map(|it| format!("i{it}"));
            names.map(|it| (it.clone(), lit(it))).collect()
        };
        let sql = "select * from (values ('i1'), ('x'), (null), ('i1'), ('i2')) as t(id)";
        for count in [3, LISTED + 1] {
            let rows = SessionContext::new().sql(sql).await.unwrap();
            let found = rows.filter(one_of("id", ids(count), false)).unwrap();
            assert_eq!(found.count().await.unwrap(), 3, "{count} ids");
        }
        assert!(matches!(
            one_of("id", ids(LISTED + 1), false),
            Expr::ScalarFunction(_)
        ));
        assert!(matches!(
            one_of("id", ids(LISTED + 1), true),
            Expr::InList(_)
        ));
    }
}
