//! Reads a logical plan: for every output column the columns of tables it comes from.

use std::collections::BTreeSet;

use datafusion::{
    common::{
        Column, DFSchema, TableReference, internal_err, not_impl_err,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{
        Aggregate, Distinct, Expr, Join, JoinType, LogicalPlan, RecursiveQuery, SortExpr,
        TableScan, expr::WindowFunction, utils::grouping_set_to_exprlist,
    },
};

use super::{Kind, Source, Sources};

/// What the rows of a plan come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// For each column of the plan's schema, in order.
    pub(super) columns: Vec<Sources>,
    /// What decides which rows there are.
    pub(super) rows: Sources,
}

/// The flow of a whole query.
pub(super) fn flow(plan: &LogicalPlan) -> Result<Flow> {
    through(plan, &Around::default())
}

/// What a part of a plan can refer to beside its inputs.
#[derive(Clone, Default)]
struct Around<'a> {
    /// The query around a subquery.
    outer: Option<&'a Scope<'a>>,
    /// Steps that read themselves, as far as they are known.
    working: Vec<(String, Flow)>,
}

/// What an expression can name: columns of the inputs.
struct Scope<'a> {
    parts: Vec<(&'a DFSchema, &'a [Sources])>,
    rows: &'a Sources,
    around: &'a Around<'a>,
}

impl<'a> Scope<'a> {
    fn over(plan: &'a LogicalPlan, flow: &'a Flow, around: &'a Around<'a>) -> Self {
        Self {
            parts: vec![(plan.schema().as_ref(), &flow.columns)],
            rows: &flow.rows,
            around,
        }
    }

    fn find(&self, column: &Column) -> Result<&Sources> {
        for (schema, sources) in &self.parts {
            let found = schema.maybe_index_of_column(column);
            if let Some(found) = found.and_then(|at| sources.get(at)) {
                return Ok(found);
            }
        }
        internal_err!("no input has column {column}")
    }

    fn find_outer(&self, column: &Column) -> Result<&Sources> {
        let mut scope = self.around.outer;
        while let Some(it) = scope {
            if let Ok(found) = it.find(column) {
                return Ok(found);
            }
            scope = it.around.outer;
        }
        internal_err!("no query around this one has column {column}")
    }

    /// What the value of an expression comes from.
    fn value(&self, expr: &Expr) -> Result<Sources> {
        match expr {
            Expr::Alias(it) => self.value(&it.expr),
            Expr::Cast(it) => self.value(&it.expr),
            Expr::TryCast(it) => self.value(&it.expr),
            Expr::Column(column) => self.find(column).cloned(),
            Expr::OuterReferenceColumn(_, column) => self.find_outer(column).cloned(),
            Expr::Case(case) => {
                let mut sources = Sources::new();
                let whens = case.when_then_expr.iter().map(|it| &it.0);
                for it in case.expr.iter().chain(whens) {
                    sources.extend(under(&self.value(it)?, Kind::Condition));
                }
                let thens = case.when_then_expr.iter().map(|it| &it.1);
                for it in thens.chain(&case.else_expr) {
                    sources.extend(under(&self.value(it)?, Kind::Computed));
                }
                Ok(sources)
            }
            Expr::AggregateFunction(it) => {
                let mut sources = self.aggregated(&it.params.args, it.params.filter.as_deref())?;
                sources.extend(self.sorted(&it.params.order_by, Kind::Window)?);
                Ok(sources)
            }
            Expr::WindowFunction(it) => self.windowed(it),
            Expr::ScalarSubquery(it) => {
                let inner = self.inner(&it.subquery)?;
                let values = inner.columns.iter().take(1);
                let values = values.flat_map(|it| under(it, Kind::Computed));
                Ok(values.chain(inner.rows.iter().cloned()).collect())
            }
            Expr::Exists(it) => self.asked(&it.subquery.subquery, None, false),
            Expr::InSubquery(it) => self.asked(&it.subquery.subquery, Some(&it.expr), true),
            Expr::SetComparison(it) => self.asked(&it.subquery.subquery, Some(&it.expr), true),
            _ => {
                let mut sources = Sources::new();
                expr.apply_children(|child| {
                    sources.extend(under(&self.value(child)?, Kind::Computed));
                    Ok(TreeNodeRecursion::Continue)
                })?;
                Ok(sources)
            }
        }
    }

    /// A yes or no about the rows of a subquery, and perhaps about their first column.
    fn asked(&self, plan: &LogicalPlan, of: Option<&Expr>, looks: bool) -> Result<Sources> {
        let inner = self.inner(plan)?;
        let mut sources = under(&inner.rows, Kind::Condition);
        if looks {
            let first = inner.columns.iter().take(1);
            sources.extend(first.flat_map(|it| under(it, Kind::Computed)));
        }
        if let Some(of) = of {
            sources.extend(under(&self.value(of)?, Kind::Computed));
        }
        Ok(sources)
    }

    fn inner(&self, plan: &LogicalPlan) -> Result<Flow> {
        let around = Around {
            outer: Some(self),
            working: self.around.working.clone(),
        };
        through(plan, &around)
    }

    /// An aggregate of `args`; one that names no column counts rows.
    fn aggregated(&self, args: &[Expr], filter: Option<&Expr>) -> Result<Sources> {
        let mut sources = self.all(args, Kind::Aggregated)?;
        if sources.is_empty() {
            sources.extend(self.rows.iter().cloned());
        }
        sources.extend(self.all(filter, Kind::Condition)?);
        Ok(sources)
    }

    fn windowed(&self, it: &WindowFunction) -> Result<Sources> {
        let params = &it.params;
        let mut sources = self.all(&params.args, Kind::Aggregated)?;
        let names_none = sources.is_empty();
        sources.extend(self.all(params.filter.as_deref(), Kind::Condition)?);
        sources.extend(self.all(&params.partition_by, Kind::Window)?);
        sources.extend(self.sorted(&params.order_by, Kind::Window)?);
        if names_none {
            let counted = self.rows.iter().filter(|it| it.kind == Kind::Rows);
            sources.extend(counted.cloned());
        }
        Ok(sources)
    }

    fn sorted(&self, by: &[SortExpr], kind: Kind) -> Result<Sources> {
        self.all(by.iter().map(|it| &it.expr), kind)
    }

    fn all<'b>(&self, exprs: impl IntoIterator<Item = &'b Expr>, kind: Kind) -> Result<Sources> {
        let mut sources = Sources::new();
        for it in exprs {
            sources.extend(under(&self.value(it)?, kind));
        }
        Ok(sources)
    }
}

/// The sources of something that depends on `sources` in the way of `kind`.
fn under(sources: &Sources, kind: Kind) -> Sources {
    let seen = |inner: Kind| match (inner.is_direct(), kind.is_direct()) {
        _ if inner == Kind::Rows => inner,
        (true, true) => inner.max(kind),
        (false, true) => inner,
        (_, false) => kind,
    };
    let sources = sources.iter().map(|it| Source {
        kind: seen(it.kind),
        ..it.clone()
    });
    sources.collect()
}

fn through(plan: &LogicalPlan, around: &Around<'_>) -> Result<Flow> {
    match plan {
        LogicalPlan::TableScan(scan) => scanned(scan, around),
        LogicalPlan::Projection(it) => {
            let input = through(&it.input, around)?;
            let scope = Scope::over(&it.input, &input, around);
            let columns = it.expr.iter().map(|it| scope.value(it));
            Ok(Flow {
                columns: columns.collect::<Result<_>>()?,
                rows: input.rows.clone(),
            })
        }
        LogicalPlan::Filter(it) => {
            let mut input = through(&it.input, around)?;
            let by = Scope::over(&it.input, &input, around).all([&it.predicate], Kind::Filter)?;
            input.rows.extend(by);
            Ok(input)
        }
        LogicalPlan::Window(it) => {
            let input = through(&it.input, around)?;
            let scope = Scope::over(&it.input, &input, around);
            let made = it.window_expr.iter().map(|it| scope.value(it));
            let made = made.collect::<Result<Vec<_>>>()?;
            let columns = input.columns.iter().cloned().chain(made);
            Ok(Flow {
                columns: columns.collect(),
                rows: input.rows.clone(),
            })
        }
        LogicalPlan::Aggregate(it) => grouped(it, around),
        LogicalPlan::Join(it) => joined(it, around),
        LogicalPlan::Union(it) => {
            let mut inputs = it.inputs.iter().map(|it| through(it, around));
            let Some(first) = inputs.next() else {
                return Ok(Flow::default());
            };
            inputs.try_fold(first?, |one, other| Ok(either(one, &other?)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut flow = through(input, around)?;
            let columns = flow.columns.iter();
            let by: Sources = columns.flat_map(|it| under(it, Kind::Group)).collect();
            flow.rows.extend(by);
            Ok(flow)
        }
        LogicalPlan::Distinct(Distinct::On(it)) => {
            let input = through(&it.input, around)?;
            let scope = Scope::over(&it.input, &input, around);
            let columns = it.select_expr.iter().map(|it| scope.value(it));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let mut rows = input.rows.clone();
            rows.extend(scope.all(&it.on_expr, Kind::Group)?);
            rows.extend(scope.sorted(it.sort_expr.as_deref().unwrap_or_default(), Kind::Sort)?);
            Ok(Flow { columns, rows })
        }
        LogicalPlan::Sort(it) => {
            let mut input = through(&it.input, around)?;
            if it.fetch.is_some() {
                let by = Scope::over(&it.input, &input, around).sorted(&it.expr, Kind::Sort)?;
                input.rows.extend(by);
            }
            Ok(input)
        }
        LogicalPlan::Limit(it) => {
            let mut input = through(&it.input, around)?;
            if let LogicalPlan::Sort(sort) = it.input.as_ref() {
                let by = Scope::over(&it.input, &input, around).sorted(&sort.expr, Kind::Sort)?;
                input.rows.extend(by);
            }
            Ok(input)
        }
        LogicalPlan::Unnest(it) => {
            let input = through(&it.input, around)?;
            let is_made = |at: &usize| {
                it.list_type_columns.iter().any(|it| it.0 == *at)
                    || it.struct_type_columns.contains(at)
            };
            let columns = it.dependency_indices.iter().map(|at| {
                let sources = input.columns.get(*at).cloned().unwrap_or_default();
                if is_made(at) {
                    under(&sources, Kind::Computed)
                } else {
                    sources
                }
            });
            Ok(Flow {
                columns: columns.collect(),
                rows: input.rows.clone(),
            })
        }
        LogicalPlan::SubqueryAlias(it) => through(&it.input, around),
        LogicalPlan::Subquery(it) => through(&it.subquery, around),
        LogicalPlan::Repartition(it) => through(&it.input, around),
        LogicalPlan::RecursiveQuery(it) => repeated(it, around),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Ok(Flow {
            columns: vec![Sources::new(); plan.schema().fields().len()],
            rows: Sources::new(),
        }),
        _ => not_impl_err!("{} has no lineage", plan.display()),
    }
}

fn scanned(scan: &TableScan, around: &Around<'_>) -> Result<Flow> {
    let (TableReference::Partial { schema, table } | TableReference::Full { schema, table, .. }) =
        &scan.table_name
    else {
        // A step that reads itself, or a table function such as `range`.
        let mut working = around.working.iter().rev();
        let known = working.find(|it| it.0 == scan.table_name.table());
        let mut flow = known.map(|it| it.1.clone()).unwrap_or_default();
        let count = scan.projected_schema.fields().len();
        flow.columns.resize(count, Sources::new());
        return Ok(flow);
    };
    let table = format!("{schema}.{table}");
    let source = |column: Option<&str>, kind| Source {
        table: table.clone(),
        column: column.map(str::to_owned),
        kind,
    };
    let fields = scan.projected_schema.fields().iter();
    let mut flow = Flow {
        columns: fields
            .map(|it| BTreeSet::from([source(Some(it.name()), Kind::Copy)]))
            .collect(),
        rows: BTreeSet::from([source(None, Kind::Rows)]),
    };
    for column in scan.filters.iter().flat_map(|it| it.column_refs()) {
        flow.rows.insert(source(Some(&column.name), Kind::Filter));
    }
    Ok(flow)
}

fn grouped(it: &Aggregate, around: &Around<'_>) -> Result<Flow> {
    let input = through(&it.input, around)?;
    let scope = Scope::over(&it.input, &input, around);
    let by = grouping_set_to_exprlist(&it.group_expr)?;
    let mut columns = Vec::new();
    for expr in &by {
        columns.push(scope.value(expr)?);
    }
    let grouped = scope.all(by, Kind::Group)?;
    if matches!(it.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
        columns.push(grouped.clone());
    }
    for expr in &it.aggr_expr {
        columns.push(scope.value(expr)?);
    }
    if columns.len() != it.schema.fields().len() {
        return internal_err!(
            "an aggregate of {} columns has {} expressions",
            it.schema.fields().len(),
            columns.len()
        );
    }
    let mut rows = input.rows.clone();
    rows.extend(grouped);
    Ok(Flow { columns, rows })
}

fn joined(it: &Join, around: &Around<'_>) -> Result<Flow> {
    let left = through(&it.left, around)?;
    let right = through(&it.right, around)?;
    let none = Sources::new();
    let scope = Scope {
        parts: vec![
            (it.left.schema().as_ref(), &left.columns),
            (it.right.schema().as_ref(), &right.columns),
        ],
        rows: &none,
        around,
    };
    let pairs = it.on.iter().flat_map(|(left, right)| [left, right]);
    let by = scope.all(pairs.chain(&it.filter), Kind::Join)?;
    let mark = under(&by, Kind::Condition);
    let mut rows = left.rows;
    rows.extend(right.rows);
    rows.extend(by);
    let (mut left, right) = (left.columns, right.columns);
    let columns = match it.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            left.extend(right);
            left
        }
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        JoinType::LeftMark => [left, vec![mark]].concat(),
        JoinType::RightMark => [right, vec![mark]].concat(),
    };
    Ok(Flow { columns, rows })
}

/// A step that reads itself: what it comes from grows until a round adds nothing.
fn repeated(it: &RecursiveQuery, around: &Around<'_>) -> Result<Flow> {
    let mut known = through(&it.static_term, around)?;
    loop {
        let mut around = around.clone();
        around.working.push((it.name.clone(), known.clone()));
        let next = either(known.clone(), &through(&it.recursive_term, &around)?);
        if next == known {
            return Ok(known);
        }
        known = next;
    }
}

/// Rows of either.
fn either(mut one: Flow, other: &Flow) -> Flow {
    for (to, from) in one.columns.iter_mut().zip(&other.columns) {
        to.extend(from.iter().cloned());
    }
    one.rows.extend(other.rows.iter().cloned());
    one
}
