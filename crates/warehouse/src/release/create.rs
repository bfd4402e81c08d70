//! Making a release: from a name to frozen rows and a record, or a reason why not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray},
    compute::{concat_batches, filter_record_batch},
    datatypes::{DataType, Field, Schema},
};
use chrono::{DateTime, NaiveDate, Utc};
use lake::Lake;
use spec::{ReleaseKind, ReleaseName, ReleaseTable};

use super::{
    Frozen, KEPT_FROM, Release, Shelf, Showing,
    cells::{Cells, Key},
    disclosure::{self, Finding},
    path, rows,
};
use crate::{
    Error, Result,
    models::{Catalog, Origin},
    publication::{self, Publication},
};

/// What a release is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Its name: kind and period, and which correction it is.
    pub name: String,
    /// Only this table of its kind.
    pub table: Option<String>,
    /// Only rows that answer to this condition in SQL.
    pub condition: Option<String>,
    /// Who sees it from when; as its kind says where nobody is named.
    pub audiences: Vec<(String, NaiveDate)>,
    /// Why it is made.
    pub note: Option<String>,
    /// Who makes it.
    pub by: String,
    /// Rows that would tell something together with an earlier release keep the numbers of the release this one corrects.
    pub keep_earlier: bool,
}

/// A release that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its record.
    pub release: Release,
    /// Numbers that are hidden in it and were public already.
    pub already_public: Vec<Finding>,
    /// How many rows keep the numbers of the release it corrects.
    pub kept: usize,
}

/// What a release is made from.
pub(crate) struct Maker<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) catalog: &'a Catalog,
    pub(crate) kinds: &'a [ReleaseKind],
    pub(crate) shelf: &'a Shelf,
    pub(crate) now: DateTime<Utc>,
}

/// Freezes numbers of the current publication.
pub(crate) async fn create(
    maker: &Maker<'_>,
    draft: Draft,
    publication: Option<&Publication>,
) -> Result<Made> {
    let name = ReleaseName::parse(&draft.name).map_err(Error::Release)?;
    let kind = maker.kind(&name)?;
    maker.check_free(&name).await?;
    let audiences = audiences(kind, &name, &draft, maker.now)?;
    let Some(publication) = publication else {
        return refuse("nothing is published yet; run `pejl build`");
    };
    let all = maker.shelf.all(maker.lake).await?;
    let (mut frozen, mut already_public, mut kept) = (BTreeMap::new(), Vec::new(), 0);
    for table in tables(kind, &draft)? {
        let condition = condition(table, &name, draft.condition.as_deref());
        let mut one = maker.freeze(publication, table, condition).await?;
        let mut earlier = Vec::new();
        for release in &all {
            // A window that moves on makes other cells of the same names.
            let same_window =
                release.kind == kind.name && release.period == name.period.to_string();
            let frozen = release.frozen.get(&table.table);
            if let Some(frozen) = frozen.filter(|it| same_window || !it.rolling) {
                let rows = rows::read(maker.lake, frozen).await?;
                earlier.push((release.name.as_str(), Cells::new(rows, &one.frozen.grain)?));
            }
        }
        let corrects = name.corrects();
        let from = corrects.filter(|_| draft.keep_earlier);
        let (findings, count) = one.check(table, &earlier, from.as_deref())?;
        kept += count;
        let (refused, public): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|it| it.danger.is_refused());
        if !refused.is_empty() {
            return Err(Error::Disclosure {
                release: draft.name.clone(),
                findings: refused,
                can_keep: name.correction > 0 && !draft.keep_earlier,
            });
        }
        already_public.extend(public);
        frozen.insert(table.table.clone(), one);
    }
    if frozen
        .values()
        .all(|it: &Freezing| it.cells.batch.num_rows() == 0)
    {
        let none = frozen.iter().map(|(table, it)| {
            let condition = it.frozen.condition.as_deref().unwrap_or("true");
            format!("{table} where {condition}")
        });
        let none: Vec<String> = none.collect();
        return refuse(format!("there is no row to release: {}", none.join("; ")));
    }
    let mut stored = BTreeMap::new();
    for (table, mut one) in frozen {
        one.frozen.sha256 = rows::store(maker.lake, &one.cells.batch).await?;
        one.frozen.rows = one.cells.batch.num_rows() as u64;
        stored.insert(table, one.frozen);
    }
    let behind = behind(publication, stored.keys());
    let release = Release {
        name: draft.name.clone(),
        kind: kind.name.clone(),
        period: name.period.to_string(),
        corrects: name.corrects(),
        at: maker.now,
        by: draft.by,
        note: draft.note.map(|it| contract::scrub(&it).into_owned()),
        publication_id: publication.id,
        published_at: publication.at,
        tables: of(&publication.tables, &behind),
        inputs: of(&publication.inputs, &behind),
        models: of(&publication.models, &behind),
        reads: of(&publication.reads, &behind),
        definitions: maker.definitions(&behind),
        frozen: stored,
        audiences,
    };
    if !publication::write(maker.lake, &path(&release.name), &release).await? {
        maker.check_free(&name).await?;
        return refuse(format!("{name} was made at the same time by somebody else"));
    }
    Ok(Made {
        release,
        already_public,
        kept,
    })
}

impl Maker<'_> {
    fn kind(&self, name: &ReleaseName) -> Result<&ReleaseKind> {
        let found = self.kinds.iter().find(|it| it.name == name.kind);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.kinds.iter().map(|it| it.name.as_str()).collect();
            Error::Release(format!(
                "there is no kind of release `{}`; releases.yaml has: {}",
                name.kind,
                known.join(", ")
            ))
        })
    }

    /// Refuses a name that is taken, and a correction of what is not there.
    async fn check_free(&self, name: &ReleaseName) -> Result<()> {
        if let Some(there) = Release::find(self.lake, &name.to_string()).await? {
            let mut next = name.next();
            while Release::find(self.lake, &next.to_string()).await?.is_some() {
                next = next.next();
            }
            return refuse(format!(
                "{name} is there already, made {} by {}; a release is never changed: correct it with a new one, {next}",
                there.at.format("%Y-%m-%d %H:%M UTC"),
                there.by
            ));
        }
        match name.corrects() {
            Some(before) if Release::find(self.lake, &before).await?.is_none() => refuse(format!(
                "{name} would correct {before}, and there is no such release"
            )),
            _ => Ok(()),
        }
    }

    /// The rows of one table, not stored yet.
    async fn freeze(
        &self,
        publication: &Publication,
        table: &ReleaseTable,
        condition: Option<String>,
    ) -> Result<Freezing> {
        let name = &table.table;
        for behind in behind(publication, [name]) {
            let fingerprint = self.catalog.node(&behind).map(|it| it.fingerprint());
            if publication.models.get(&behind) != fingerprint.as_ref() {
                return refuse(format!(
                    "{behind} has changed since publication {}; run `pejl build` and look at the numbers first",
                    publication.id
                ));
            }
        }
        let (Some(version), Some(node)) = (publication.tables.get(name), self.catalog.node(name))
        else {
            return refuse(format!("{name} is not published; run `pejl build`"));
        };
        let grain = node.grain().to_vec();
        let batch = rows::chosen(self.lake, name, *version, condition.as_deref(), &grain).await?;
        let batch = with_kept_from(&batch, None)?;
        let columns = batch
            .schema()
            .fields()
            .iter()
            .map(|it| (it.name().clone(), it.data_type().to_string()))
            .collect();
        let totals = table.totals.iter();
        let totals = totals.map(|it| (it.column.clone(), it.value.clone()));
        Ok(Freezing {
            frozen: Frozen {
                version: *version,
                condition,
                rolling: table.period.is_none(),
                totals: totals.collect(),
                grain: grain.clone(),
                columns,
                rows: 0,
                sha256: String::new(),
            },
            cells: Cells::new(batch, &grain)?,
        })
    }

    /// The definitions that models name.
    fn definitions(&self, tables: &BTreeSet<String>) -> Vec<String> {
        let models = tables.iter().filter_map(|it| self.catalog.node(it));
        let named = models.filter_map(|it| match &it.origin {
            Origin::Written(model) => Some(&model.definitions),
            Origin::Current(_) => None,
        });
        let all: BTreeSet<String> = named
            .flatten()
            .map(|it| format!("{}@{}", it.id, it.version))
            .collect();
        all.into_iter().collect()
    }
}

/// Rows on their way into a release.
struct Freezing {
    frozen: Frozen,
    cells: Cells,
}

impl Freezing {
    /// What the rows and earlier releases tell together. Where `from` is given, groups of rows that tell something are replaced by those
    /// of that release, until nothing is left to replace; how many rows were.
    fn check(
        &mut self,
        table: &ReleaseTable,
        earlier: &[(&str, Cells)],
        from: Option<&str>,
    ) -> Result<(Vec<Finding>, usize)> {
        let others: Vec<(&str, &Cells)> =
            earlier.iter().map(|(name, cells)| (*name, cells)).collect();
        let before = from.and_then(|from| others.iter().find(|it| it.0 == from));
        let mut blocks: BTreeSet<Key> = BTreeSet::new();
        loop {
            let findings = disclosure::compare(table, &others, &self.cells)?;
            let refused = findings.iter().filter(|it| it.danger.is_refused());
            let count = blocks.len();
            blocks.extend(refused.map(|it| it.block.clone()));
            match before {
                Some((name, cells)) if blocks.len() > count => {
                    self.keep(table, name, cells, &blocks)?;
                }
                _ => {
                    let kept = kept(&self.cells)?;
                    return Ok((findings, kept));
                }
            }
        }
    }

    /// Puts the rows of an earlier release in the place of those in `blocks`.
    fn keep(
        &mut self,
        table: &ReleaseTable,
        name: &str,
        before: &Cells,
        blocks: &BTreeSet<Key>,
    ) -> Result<()> {
        let grain = self.frozen.grain.clone();
        let in_blocks = |cells: &Cells| {
            let mut flags = vec![false; cells.batch.num_rows()];
            for (key, row) in &cells.rows {
                flags[*row] = blocks.contains(&disclosure::block(table, &grain, key));
            }
            flags
        };
        let failed = |err| {
            Error::query(
                "keeping earlier numbers",
                datafusion::error::DataFusionError::from(err),
            )
        };
        let schema = self.cells.batch.schema();
        let own: BooleanArray = in_blocks(&self.cells).iter().map(|it| Some(!it)).collect();
        let theirs: BooleanArray = in_blocks(before).into_iter().map(Some).collect();
        let own = filter_record_batch(&self.cells.batch, &own).map_err(failed)?;
        let theirs = filter_record_batch(&before.batch, &theirs).map_err(failed)?;
        let theirs = with_kept_from(&theirs, Some(name))?;
        let theirs = rows::to(&theirs, &schema).map_err(failed)?;
        let batch = concat_batches(&schema, [&own, &theirs]).map_err(failed)?;
        self.cells = Cells::new(batch, &grain)?;
        Ok(())
    }
}

/// How many rows are kept from an earlier release.
fn kept(cells: &Cells) -> Result<usize> {
    let mut count = 0;
    for row in cells.rows.values() {
        count += usize::from(cells.text(*row, KEPT_FROM)?.is_some());
    }
    Ok(count)
}

/// The rows with the column that says where they are kept from; those kept already stay as they are.
fn with_kept_from(rows: &RecordBatch, from: Option<&str>) -> Result<RecordBatch> {
    let there = rows.column_by_name(KEPT_FROM).cloned();
    let there = there.as_ref().and_then(|it| it.as_string_opt::<i32>());
    let value = |row: usize| match there {
        Some(there) if there.is_valid(row) => Some(there.value(row)),
        _ => from,
    };
    let column: StringArray = (0..rows.num_rows()).map(value).collect();
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        if field.name() != KEPT_FROM {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(values));
        }
    }
    fields.push(Field::new(KEPT_FROM, DataType::Utf8, true));
    columns.push(Arc::new(column));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|err| Error::query("freezing rows", err.into()))
}

/// Who sees it from when. Nobody before those who come first in the kind's order.
fn audiences(
    kind: &ReleaseKind,
    name: &ReleaseName,
    draft: &Draft,
    now: DateTime<Utc>,
) -> Result<Vec<Showing>> {
    let today = contract::civil_day(now);
    let known = || {
        let names: Vec<&str> = kind.audiences.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    };
    for (at, (audience, _)) in draft.audiences.iter().enumerate() {
        if !kind.audiences.iter().any(|it| it.name == *audience) {
            return refuse(format!(
                "there is no audience `{audience}` for {}; there are: {}",
                kind.name,
                known()
            ));
        }
        if draft.audiences[..at].iter().any(|it| it.0 == *audience) {
            return refuse(format!(
                "the audience `{audience}` is there twice; give it one day"
            ));
        }
    }
    let mut showings: Vec<Showing> = Vec::new();
    for audience in &kind.audiences {
        let given = draft.audiences.iter().find(|it| it.0 == audience.name);
        let from = match (given, audience.day(name.period)) {
            (Some((_, day)), _) => *day,
            (None, Some(day)) if draft.audiences.is_empty() => {
                in_time(name, &audience.name, day, today)?;
                day
            }
            (None, _) => continue,
        };
        if let Some(before) = showings.iter().find(|it| it.from > from) {
            return refuse(format!(
                "`{}` would see {name} from {from}, before `{}` from {}; the order is {}",
                audience.name,
                before.audience,
                before.from,
                known()
            ));
        }
        showings.push(Showing {
            audience: audience.name.clone(),
            from,
        });
    }
    Ok(showings)
}

/// A rule is meant for numbers made in time: a day gone by would show them to everybody at once.
fn in_time(name: &ReleaseName, audience: &str, day: NaiveDate, today: NaiveDate) -> Result<()> {
    let why = match name.correction {
        0 if day >= today => return Ok(()),
        0 => "gone by",
        _ => "for the first release",
    };
    refuse(format!(
        "from when shall `{audience}` see {name}? releases.yaml says {day}, which is {why}; name everybody who shall see it, such as \
         --audience {audience}={today}"
    ))
}

/// The tables of a draft.
fn tables<'a>(kind: &'a ReleaseKind, draft: &Draft) -> Result<Vec<&'a ReleaseTable>> {
    let chosen: Vec<&ReleaseTable> = kind
        .tables
        .iter()
        .filter(|it| draft.table.as_ref().is_none_or(|table| it.table == *table))
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = kind.tables.iter().map(|it| it.table.as_str()).collect();
        return refuse(format!(
            "{} is no table of `{}`, which has {}; releases.yaml says which are released, and which of their columns are counts",
            draft.table.as_deref().unwrap_or_default(),
            kind.name,
            known.join(", ")
        ));
    }
    Ok(chosen)
}

/// Which rows of a table a release of this name has.
fn condition(table: &ReleaseTable, name: &ReleaseName, given: Option<&str>) -> Option<String> {
    let period = table
        .period
        .as_ref()
        .map(|it| format!("cast({it} as varchar) = '{}'", name.period));
    let municipality = name
        .municipality_code
        .map(|it| format!("municipality_code = {it}"));
    let given = given.map(|it| format!("({it})"));
    let all: Vec<String> = [period, municipality, given]
        .into_iter()
        .flatten()
        .collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

/// The tables that some come from, themselves among them.
pub(super) fn behind<'a>(
    publication: &Publication,
    tables: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<String> {
    reach(&publication.reads, tables)
}

/// Everything that `tables` read, and what that reads, themselves among them.
pub(super) fn reach<'a>(
    reads: &BTreeMap<String, BTreeMap<String, String>>,
    tables: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<String> {
    let mut open: Vec<String> = tables.into_iter().cloned().collect();
    let mut found = BTreeSet::new();
    while let Some(table) = open.pop() {
        if let Some(read) = reads.get(&table) {
            open.extend(read.keys().filter(|it| !found.contains(*it)).cloned());
        }
        if !table.starts_with("ref.") {
            found.insert(table);
        }
    }
    found
}

fn of<T: Clone>(all: &BTreeMap<String, T>, tables: &BTreeSet<String>) -> BTreeMap<String, T> {
    let chosen = all.iter().filter(|it| tables.contains(it.0));
    chosen
        .map(|(table, it)| (table.clone(), it.clone()))
        .collect()
}

fn refuse<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Release(reason.into()))
}
