//! Rows that say where they come from: a plan with one more column, the ids of the table rows behind each of its rows.
//!
//! Nothing else about the plan changes, neither its rows nor their number. A row of a join comes from the rows of both sides, a row of a
//! group from all rows in it. Rows that only stood beside it in a window, and those a subquery looked at, are not told.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, ScalarValue, TableReference},
    error::Result,
    functions::expr_fn::{coalesce, concat_ws},
    functions_aggregate::expr_fn::array_agg,
    functions_nested::expr_fn::{array_concat, array_distinct, flatten, make_array},
    logical_expr::{
        Aggregate, Distinct, DistinctOn, Expr, Filter, Join, JoinType, LogicalPlan,
        LogicalPlanBuilder, Projection, SubqueryAlias, Union, Window, cast,
    },
    prelude::{ident, lit},
};

/// Between the parts of an id.
pub(super) const BETWEEN: &str = "\u{1f}";

/// Tables whose rows are to be told, each with the columns that tell its rows apart.
#[derive(Debug, Default)]
pub(super) struct Tags {
    keys: BTreeMap<String, Vec<String>>,
}

impl Tags {
    /// Has the rows of a table told.
    pub(super) fn add(&mut self, table: &str, key: &[String]) {
        self.keys.insert(table.to_owned(), key.to_vec());
    }

    /// The plan with the ids, and the name of their column.
    pub(super) fn tagged(&self, plan: &LogicalPlan) -> Result<(LogicalPlan, Column)> {
        Tagging {
            tags: self,
            made: 0,
        }
        .tag(plan)
    }

    /// The tables and ids in what a plan told.
    pub(super) fn read<'a>(
        &self,
        told: impl Iterator<Item = &'a str>,
    ) -> BTreeMap<String, Vec<String>> {
        let tables: Vec<&String> = self.keys.keys().collect();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for it in told {
            let parts = it.split_once(BETWEEN);
            let Some((number, id)) =
                parts.and_then(|(it, id)| Some((it.parse::<usize>().ok()?, id)))
            else {
                continue;
            };
            if let Some(table) = tables.get(number) {
                found
                    .entry((*table).clone())
                    .or_default()
                    .push(id.to_owned());
            }
        }
        found
    }

    fn of(&self, scanned: &TableReference) -> Option<Expr> {
        let table = format!("{}.{}", scanned.schema()?, scanned.table());
        let number = self.keys.keys().position(|it| *it == table)?;
        let key = self.keys.get(&table)?;
        let id = concat_ws(lit(BETWEEN), vec![lit(number.to_string()), id(key)]);
        Some(cast(id, DataType::Utf8))
    }
}

/// A row's id: the values of its key as text. Nulls, of which a key has none, read as empty.
pub(super) fn id(key: &[String]) -> Expr {
    let parts = key.iter().map(|it| {
        let text = cast(ident(it), DataType::Utf8);
        coalesce(vec![text, lit("")])
    });
    cast(concat_ws(lit(BETWEEN), parts.collect()), DataType::Utf8)
}

struct Tagging<'a> {
    tags: &'a Tags,
    made: usize,
}

impl Tagging<'_> {
    /// A name that nothing else in the plan has.
    fn name(&mut self) -> String {
        self.made += 1;
        format!("_told_{}", self.made)
    }

    fn tag(&mut self, plan: &LogicalPlan) -> Result<(LogicalPlan, Column)> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let told = self.tags.of(&scan.table_name);
                self.beginning(plan, told.map(|id| make_array(vec![id])))
            }
            LogicalPlan::Projection(it) => {
                let (input, told) = self.tag(&it.input)?;
                let mut exprs = it.expr.clone();
                exprs.push(Expr::Column(told.clone()));
                let made = Projection::try_new(exprs, Arc::new(input))?;
                Ok((LogicalPlan::Projection(made), told))
            }
            LogicalPlan::Filter(it) => {
                let (input, told) = self.tag(&it.input)?;
                let made = Filter::try_new(it.predicate.clone(), Arc::new(input))?;
                Ok((LogicalPlan::Filter(made), told))
            }
            LogicalPlan::Window(it) => {
                let (input, told) = self.tag(&it.input)?;
                let made = Window::try_new(it.window_expr.clone(), Arc::new(input))?;
                Ok((LogicalPlan::Window(made), told))
            }
            LogicalPlan::Aggregate(it) => {
                let (input, told) = self.tag(&it.input)?;
                self.grouped(
                    plan,
                    input,
                    told,
                    it.group_expr.clone(),
                    it.aggr_expr.clone(),
                )
            }
            LogicalPlan::Distinct(Distinct::All(all)) => {
                let (input, told) = self.tag(all)?;
                let by = all.schema().columns().into_iter().map(Expr::Column);
                self.grouped(plan, input, told, by.collect(), Vec::new())
            }
            LogicalPlan::Distinct(Distinct::On(it)) => {
                let (input, told) = self.tag(&it.input)?;
                let mut select = it.select_expr.clone();
                select.push(Expr::Column(told.clone()));
                let input = Arc::new(input);
                let made =
                    DistinctOn::try_new(it.on_expr.clone(), select, it.sort_expr.clone(), input)?;
                Ok((LogicalPlan::Distinct(Distinct::On(made)), told))
            }
            LogicalPlan::Join(it) => self.joined(plan, it),
            LogicalPlan::Union(it) => {
                let name = self.name();
                let mut inputs = Vec::new();
                for input in &it.inputs {
                    let (tagged, told) = self.tag(input)?;
                    let columns = input.schema().columns();
                    let told = Expr::Column(told).alias(&name);
                    inputs.push(Arc::new(with_columns(tagged, columns, told)?));
                }
                let made = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
                Ok((made, Column::from_name(name)))
            }
            LogicalPlan::SubqueryAlias(it) => {
                let (input, told) = self.tag(&it.input)?;
                let made = SubqueryAlias::try_new(Arc::new(input), it.alias.clone())?;
                let told = Column::new(Some(it.alias.clone()), told.name);
                Ok((LogicalPlan::SubqueryAlias(made), told))
            }
            LogicalPlan::Unnest(it) => {
                let (input, told) = self.tag(&it.input)?;
                let made = LogicalPlanBuilder::from(input)
                    .unnest_columns_with_options(it.exec_columns.clone(), it.options.clone())?;
                Ok((made.build()?, told))
            }
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Repartition(_) => {
                let [input] = plan.inputs()[..] else {
                    return self.beginning(plan, None);
                };
                let (input, told) = self.tag(input)?;
                Ok((plan.with_new_exprs(plan.expressions(), vec![input])?, told))
            }
            // Constants, table functions, and steps that read themselves.
            _ => self.beginning(plan, None),
        }
    }

    /// A plan whose rows come from one row each, or from none that is told.
    fn beginning(
        &mut self,
        plan: &LogicalPlan,
        told: Option<Expr>,
    ) -> Result<(LogicalPlan, Column)> {
        let name = self.name();
        let told = told.unwrap_or_else(nothing).alias(&name);
        let made = with_columns(plan.clone(), plan.schema().columns(), told)?;
        Ok((made, Column::from_name(name)))
    }

    fn grouped(
        &mut self,
        plan: &LogicalPlan,
        input: LogicalPlan,
        told: Column,
        by: Vec<Expr>,
        mut aggregates: Vec<Expr>,
    ) -> Result<(LogicalPlan, Column)> {
        let lists = self.name();
        aggregates.push(array_agg(Expr::Column(told)).alias(&lists));
        let made = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), by, aggregates)?);
        let name = self.name();
        let all = array_distinct(flatten(Expr::Column(Column::from_name(lists))));
        let made = with_columns(made, plan.schema().columns(), all.alias(&name))?;
        Ok((made, Column::from_name(name)))
    }

    fn joined(&mut self, plan: &LogicalPlan, it: &Join) -> Result<(LogicalPlan, Column)> {
        let (left, of_left) = self.tag(&it.left)?;
        let (right, of_right) = self.tag(&it.right)?;
        let made = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            it.on.clone(),
            it.filter.clone(),
            it.join_type,
            it.join_constraint,
            it.null_equality,
            it.null_aware,
        )?);
        match it.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Ok((made, of_left)),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Ok((made, of_right)),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let name = self.name();
                let side = |told| coalesce(vec![Expr::Column(told), nothing()]);
                let both = array_concat(vec![side(of_left), side(of_right)]).alias(&name);
                let made = with_columns(made, plan.schema().columns(), both)?;
                Ok((made, Column::from_name(name)))
            }
        }
    }
}

/// These columns of a plan, and one more.
fn with_columns(plan: LogicalPlan, columns: Vec<Column>, last: Expr) -> Result<LogicalPlan> {
    let mut exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
    exprs.push(last);
    let made = Projection::try_new(exprs, Arc::new(plan))?;
    Ok(LogicalPlan::Projection(made))
}

/// No ids.
fn nothing() -> Expr {
    let none = ScalarValue::new_list_nullable(&[], &DataType::Utf8);
    lit(ScalarValue::List(none))
}
