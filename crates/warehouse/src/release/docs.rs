//! What the tables of releases hold, for their readers.

use std::collections::BTreeMap;

use spec::ReleaseKind;

use super::{
    KEPT_FROM, RELEASE,
    revision::{COLUMNS, REVISION},
};
use crate::{models::Catalog, warehouse::TableDoc};

/// `mart.revision`, and `release.<table>` for every table that some kind of release freezes.
pub(crate) fn docs(catalog: &Catalog, kinds: &[ReleaseKind]) -> BTreeMap<String, TableDoc> {
    let pair = |(name, doc): (&str, &str)| (name.to_owned(), doc.to_owned());
    let revision = TableDoc {
        doc: "Every difference between a release and what is published, since when and why. Rows with an until_publication are over."
            .to_owned(),
        grain: ["release", "table_name", "cell", "column_name", "since_publication"].map(str::to_owned).to_vec(),
        columns: COLUMNS.map(pair).to_vec(),
    };
    let mut all = BTreeMap::from([(REVISION.to_owned(), revision)]);
    for table in kinds.iter().flat_map(|it| &it.tables) {
        let (Some(node), Some((_, name))) =
            (catalog.node(&table.table), table.table.split_once('.'))
        else {
            continue;
        };
        let mut columns = vec![pair((
            RELEASE,
            "The release the row is of; ops.release has its record.",
        ))];
        columns.extend(node.columns().into_iter().map(pair));
        columns.push(pair((
            KEPT_FROM,
            "The earlier release whose numbers the row keeps; null where it has its own.",
        )));
        let mut grain = vec![RELEASE.to_owned()];
        grain.extend(node.grain().iter().cloned());
        let doc = TableDoc {
            doc: format!(
                "Rows of {} as they were released, never changed. {}",
                table.table,
                node.doc()
            ),
            grain,
            columns,
        };
        all.insert(format!("{RELEASE}.{name}"), doc);
    }
    all
}
