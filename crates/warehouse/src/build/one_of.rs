//! That a column names one of some things, as a condition.

use std::collections::BTreeMap;

use datafusion::{logical_expr::Expr, prelude::ident, scalar::ScalarValue};

/// Of more things than this the ids are not looked for: most parts of a table have some.
pub(crate) const MANY_THINGS: usize = 200_000;

/// More ids than this are not sent to other processes, each written into the query.
const SENT: usize = 20_000;

/// How many ids a condition may name.
pub(crate) fn most_ids(is_sent: bool) -> usize {
    if is_sent { SENT } else { MANY_THINGS }
}

/// That `column` is one of `ids`, each as it is written and as a value. `is_sent` says whether other processes have to understand it.
pub(crate) fn one_of(column: &str, ids: BTreeMap<String, Expr>, is_sent: bool) -> Expr {
    let texts = ids.values().map(|it| match it {
        Expr::Literal(ScalarValue::Utf8(text), _) => text.clone(),
        _ => None,
    });
    match texts.collect() {
        Some(texts) if !is_sent => lake::one_of(column, texts),
        _ => ident(column).in_list(ids.into_values().collect(), false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use datafusion::prelude::{SessionContext, lit};

    use super::*;

    #[tokio::test]
    async fn the_same_rows_are_found_here_and_elsewhere() {
        let texts = [("i0", lit("i0")), ("i1", lit("i1"))];
        let numbers = [("0", lit(0_i64)), ("1", lit(1_i64))];
        for (column, ids) in [("name", texts), ("number", numbers)] {
            for is_sent in [true, false] {
                let sql = "select * from (values ('i1', 1), ('x', 7), (null, null), ('i1', 1), ('i2', 2)) as t(name, number)";
                let rows = SessionContext::new().sql(sql).await.unwrap();
                let ids = ids
                    .iter()
                    .map(|(name, id)| ((*name).to_owned(), id.clone()));
                let found = rows.filter(one_of(column, ids.collect(), is_sent));
                assert_eq!(
                    found.unwrap().count().await.unwrap(),
                    2,
                    "{column}, sent: {is_sent}"
                );
            }
        }
    }
}
