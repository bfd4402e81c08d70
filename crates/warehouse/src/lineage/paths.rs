//! Ways through the lineage: up to what a column comes from, down to what comes from it.

use std::collections::BTreeSet;

use contract::Pii;

use super::{Kind, Lineage, Source};

/// A column, or a table's rows, with what lies behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The table.
    pub table: String,
    /// The column; `None` for the table as a whole.
    pub column: Option<String>,
    /// How it hangs together with the branch it grows from; `None` for the first.
    pub kind: Option<Kind>,
    /// What comes next. It goes on only where values come through or are chosen.
    pub branches: Vec<Branch>,
    /// Whether it goes on as told before.
    pub is_told: bool,
}

impl Branch {
    /// `core.offer.name`, or `core.offer`.
    pub fn name(&self) -> String {
        match &self.column {
            Some(column) => format!("{}.{column}", self.table),
            None => self.table.clone(),
        }
    }
}

impl Lineage {
    /// What a column comes from, down to what has landed; without a column, the tables a table comes from.
    /// `None` when there is no such table or column.
    pub fn up(&self, table: &str, column: Option<&str>) -> Option<Branch> {
        self.walk(table, column, &|table, column| self.behind(table, column))
    }

    /// What comes from a column; without a column, the tables that come from a table.
    pub fn down(&self, table: &str, column: Option<&str>) -> Option<Branch> {
        self.walk(table, column, &|table, column| self.before(table, column))
    }

    /// The tables a table reads.
    pub fn inputs(&self, table: &str) -> BTreeSet<&str> {
        let lineage = self.tables.get(table).into_iter();
        let sources = lineage.flat_map(|it| it.all()).map(|it| it.1);
        sources.map(|it| it.table.as_str()).collect()
    }

    /// The tables that read a table.
    pub fn readers(&self, table: &str) -> BTreeSet<&str> {
        let names = self.tables.keys().map(String::as_str);
        names.filter(|it| self.inputs(it).contains(table)).collect()
    }

    /// What a column tells of a person: the tags of the fields whose values it carries.
    pub fn tags(&self, table: &str, column: &str) -> BTreeSet<Pii> {
        let mut tags = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut left = vec![(table.to_owned(), column.to_owned())];
        while let Some(next) = left.pop() {
            let (table, column) = (&next.0, &next.1);
            let entity = table.strip_prefix("raw.").and_then(contract::entity);
            tags.extend(entity.and_then(|it| it.field(column)).map(|it| it.pii));
            let sources = self.tables.get(table).and_then(|it| it.column(column));
            for source in sources
                .into_iter()
                .flatten()
                .filter(|it| it.kind.is_direct())
            {
                let Some(column) = &source.column else {
                    continue;
                };
                let next = (source.table.clone(), column.clone());
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        tags.remove(&Pii::None);
        tags
    }

    fn behind(&self, table: &str, column: Option<&str>) -> Vec<Source> {
        let Some(column) = column else {
            return as_rows(self.inputs(table));
        };
        let lineage = self.tables.get(table);
        let sources = lineage.and_then(|it| it.column(column));
        sources.into_iter().flatten().cloned().collect()
    }

    fn before(&self, table: &str, column: Option<&str>) -> Vec<Source> {
        if column.is_none() {
            return as_rows(self.readers(table));
        }
        let mut found = BTreeSet::new();
        for (reader, lineage) in &self.tables {
            for (by, source) in lineage.all() {
                if source.table == table && source.column.as_deref() == column {
                    found.insert(Source {
                        table: reader.clone(),
                        column: by.map(str::to_owned),
                        kind: source.kind,
                    });
                }
            }
        }
        found.into_iter().collect()
    }

    fn walk(
        &self,
        table: &str,
        column: Option<&str>,
        next: &dyn Fn(&str, Option<&str>) -> Vec<Source>,
    ) -> Option<Branch> {
        if !self.has(table, column) {
            return None;
        }
        let first = Source {
            table: table.to_owned(),
            column: column.map(str::to_owned),
            kind: if column.is_some() {
                Kind::Copy
            } else {
                Kind::Rows
            },
        };
        let mut branch = grow(first, column.is_none(), next, &mut BTreeSet::new());
        branch.kind = None;
        Some(branch)
    }
}

fn as_rows(tables: BTreeSet<&str>) -> Vec<Source> {
    let tables = tables.into_iter().map(|table| Source {
        table: table.to_owned(),
        column: None,
        kind: Kind::Rows,
    });
    tables.collect()
}

fn grow(
    source: Source,
    of_tables: bool,
    next: &dyn Fn(&str, Option<&str>) -> Vec<Source>,
    told: &mut BTreeSet<String>,
) -> Branch {
    let goes_on = of_tables || source.kind.is_followed();
    let is_first = goes_on && told.insert(source.name());
    let mut branches = Vec::new();
    let mut is_told = false;
    if goes_on {
        let mut found = next(&source.table, source.column.as_deref());
        is_told = !is_first && !found.is_empty();
        if is_first {
            found.sort_by(|a, b| (a.kind, a).cmp(&(b.kind, b)));
            let found = found.into_iter();
            branches = found.map(|it| grow(it, of_tables, next, told)).collect();
        }
    }
    Branch {
        table: source.table,
        column: source.column,
        kind: (!of_tables).then_some(source.kind),
        branches,
        is_told,
    }
}
