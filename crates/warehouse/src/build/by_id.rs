//! A model of which some things changed: only their rows are computed, found by an id that leads to them from everything that changed.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::{
    error::Result as Outcome,
    logical_expr::Expr,
    prelude::{DataFrame, ident},
};
use lake::Part;

use super::{
    changed_ids::Ids,
    changes::Basis,
    digest::{different, digests_in},
    one_of::{most_ids, one_of},
    parts::within,
    proofs::ids_of,
    step::Step,
};
use crate::{
    Error, Result,
    models::{News, Node, in_memory},
    publication::Publication,
};

/// Of more things than this the municipalities are computed that they are known to be in.
pub(crate) const FEW_THINGS: usize = 1_000;

impl Step<'_> {
    /// What changes in a model: of few things, or of many that may be in any municipality. `None` where no id leads from all that
    /// changed, or too much did, or nothing.
    pub(super) async fn by_id(
        &self,
        node: &Node,
        table: &str,
        basis: &Basis<'_>,
    ) -> Result<Option<News>> {
        let changes = &basis.changes;
        if changes.is_empty() || node.sets_aside() {
            return Ok(None);
        }
        let most = if !self.stays_within(node, changes.keys()).await? {
            most_ids(self.builder.is_sent)
        } else if self.changed_ids.are_few_in(changes.keys()) {
            FEW_THINGS
        } else {
            return Ok(None);
        };
        let Some((column, ids)) = self.id_of(basis.previous, node, changes, most).await? else {
            return Ok(None);
        };
        let failed = |err| Error::query(format!("computing what changed in {table}"), err);
        let own = self.published_rows(table, basis.published).await?;
        let rows = node.rows(&self.ctx).await?;
        let news = self.of_these(own, rows, &column, ids).await;
        news.map(Some).map_err(failed)
    }

    /// The column of a model that leads to its rows from all that changed, and the ids in it; `None` where there is no such column,
    /// or more ids than `most`.
    async fn id_of(
        &self,
        previous: &Publication,
        node: &Node,
        changes: &BTreeMap<String, BTreeSet<Part>>,
        most: usize,
    ) -> Result<Option<(String, Ids)>> {
        'columns: for column in ids_of(node) {
            let reach = self.reach_of(node, column).await?;
            if !changes.keys().all(|it| reach.contains_key(it)) {
                continue;
            }
            let mut ids = BTreeMap::new();
            for (read, parts) in changes {
                let of_read = reach.get(read).map(String::as_str).unwrap_or_default();
                match self.changed_ids(previous, read, parts, of_read).await? {
                    Some(changed) if changed.len() <= most => ids.extend(changed),
                    _ => continue 'columns,
                }
            }
            if ids.len() <= most && self.is_filled(node, column).await? {
                return Ok(Some((column.to_owned(), ids)));
            }
        }
        Ok(None)
    }

    /// `own`, the published rows of a model, with those of some things as they are in `rows`.
    async fn of_these(
        &self,
        own: DataFrame,
        rows: DataFrame,
        column: &str,
        ids: Ids,
    ) -> Outcome<News> {
        let names = rows.schema().fields().iter();
        let names: Vec<Expr> = names.map(|it| ident(it.name())).collect();
        let own = own.select(names)?;
        // As it stands in a check's SQL, which a long list has no place in.
        let only = (ids.len() <= FEW_THINGS)
            .then(|| ident(column).in_list(ids.values().cloned().collect(), false));
        let is_one = one_of(column, ids, self.builder.is_sent);
        let before = own.clone().filter(is_one.clone())?.collect().await?;
        let after = rows.filter(is_one.clone())?.collect().await?;
        let parts = different(&digests_in(&before, true)?, &digests_in(&after, true)?);
        let stay = own.filter(within(&parts)?)?.filter(!is_one)?;
        let rows = match in_memory(&self.ctx, after)? {
            Some(come) => stay.union(come.filter(within(&parts)?)?)?,
            None => stay,
        };
        Ok(News { parts, rows, only })
    }
}
