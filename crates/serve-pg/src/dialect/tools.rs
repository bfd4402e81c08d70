//! Rewrites for queries that tools ask of `pg_catalog`, beyond those the library knows.
//!
//! They give up what DataFusion cannot plan where the answer is known to be empty here: arrays of privileges, policies
//! and enum labels, composite types, and the oid of the table a row came from.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, SetExpr,
    Statement, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

/// `array_to_string` that also takes the text which stands for an array in the library's tables.
pub(crate) const ARRAY_TO_STRING: &str = "__array_to_string";

/// Names of relations and schemas by their oids.
pub(crate) const REGCLASS_TEXT: &str = "__regclass_text";
pub(crate) const REGNAMESPACE_TEXT: &str = "__regnamespace_text";

/// Applies the rewrites.
pub(super) fn rewrite(mut statement: Statement) -> Statement {
    let _ = VisitMut::visit(&mut statement, &mut Rewrite);
    statement
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            let _ = VisitMut::visit(&mut select.projection, &mut ForgetCorrelated);
            let _ = VisitMut::visit(&mut select.selection, &mut ForgetCorrelated);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(named) = name_of_oid(expr) {
            *expr = named;
        }
        match expr {
            Expr::Function(function) => match last(&function.name).as_str() {
                "array" if matches!(function.args, FunctionArguments::Subquery(_)) => {
                    *expr = no_texts()
                }
                // The library keeps pg_statistic_ext.stxkind as text; the table is empty.
                "array_contains" if first_column(&function.args).as_deref() == Some("stxkind") => {
                    *expr = Expr::Value(Value::Boolean(false).with_empty_span());
                }
                // Over keys of constraints and indexes, of which there are none.
                "generate_subscripts" => {
                    function.name = ObjectName::from(vec![Ident::new("unnest")]);
                    if let FunctionArguments::List(list) = &mut function.args {
                        list.args.truncate(1);
                    }
                }
                "array_to_string" => {
                    function.name = ObjectName::from(vec![Ident::new(ARRAY_TO_STRING)])
                }
                _ => {}
            },
            Expr::BinaryOp { left, right, .. } if is_flag(left) => {
                if let Expr::Value(value) = right.as_mut()
                    && let Value::SingleQuotedString(text) = &value.value
                    && matches!(text.as_str(), "t" | "f")
                {
                    value.value = Value::Boolean(text == "t");
                }
            }
            Expr::CompoundIdentifier(parts)
                if parts.last().is_some_and(|part| part.value == "tableoid") =>
            {
                *expr = Expr::Value(Value::Number("0".into(), false).with_empty_span());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `oid::regtype::text` and its like as a call of the function that knows the name.
fn name_of_oid(expr: &Expr) -> Option<Expr> {
    let Expr::Cast {
        expr: inner,
        data_type,
        ..
    } = expr
    else {
        return None;
    };
    let Expr::Cast {
        data_type: kind, ..
    } = inner.as_ref()
    else {
        return None;
    };
    let plain = |kind: &DataType| {
        kind.to_string()
            .to_lowercase()
            .trim_start_matches("pg_catalog.")
            .to_owned()
    };
    if !["text", "varchar"].contains(&plain(data_type).as_str()) {
        return None;
    }
    let name = match plain(kind).as_str() {
        "regtype" => "format_type",
        "regclass" => REGCLASS_TEXT,
        "regnamespace" => REGNAMESPACE_TEXT,
        _ => return None,
    };
    let no_modifier = Expr::Value(Value::Number("-1".into(), false).with_empty_span());
    // The inner cast stays: ORDER BY has to be recognised as the column that shows the oid.
    let oid = (**inner).clone();
    let args = if name == "format_type" {
        vec![oid, no_modifier]
    } else {
        vec![oid]
    };
    Some(call(name, args))
}

/// A call of a function by its bare name.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        args: FunctionArguments::List(FunctionArgumentList {
            args,
            duplicate_treatment: None,
            clauses: Vec::new(),
        }),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Replaces correlated scalar subqueries in columns and conditions by null.
struct ForgetCorrelated;

impl VisitorMut for ForgetCorrelated {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Subquery(query) = expr
            && is_correlated(query)
        {
            *expr = Expr::Value(Value::Null.with_empty_span());
        }
        ControlFlow::Continue(())
    }
}

fn is_correlated(query: &Query) -> bool {
    struct Outer(HashSet<String>);
    impl Visitor for Outer {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(parts)
                    if parts.len() > 1 && !self.0.contains(&parts[0].value) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    let mut own = HashSet::new();
    for from in &select.from {
        for factor in
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        {
            match factor {
                TableFactor::Table {
                    alias: Some(alias), ..
                }
                | TableFactor::Derived {
                    alias: Some(alias), ..
                } => {
                    own.insert(alias.name.value.clone());
                }
                TableFactor::Table { name, .. } => drop(own.insert(last(name))),
                _ => {}
            }
        }
    }
    Visit::visit(query, &mut Outer(own)).is_break()
}

/// Whether an expression is one of the catalogue's boolean columns, which old drivers compare with 't' and 'f'.
fn is_flag(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => &name.value,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => &name.value,
            None => return false,
        },
        _ => return false,
    };
    ["indis", "relhas", "relis", "atthas", "attis", "attnotnull"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn first_column(args: &FunctionArguments) -> Option<String> {
    let FunctionArguments::List(list) = args else {
        return None;
    };
    match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column))) => {
            Some(column.value.clone())
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts))) => {
            parts.last().map(|column| column.value.clone())
        }
        _ => None,
    }
}

fn last(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(ObjectNamePart::as_ident)
        .map(|ident| ident.value.to_lowercase())
        .unwrap_or_default()
}

fn no_texts() -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Array(Array {
            elem: Vec::new(),
            named: true,
        })),
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(
            Box::new(DataType::Text),
            None,
        )),
        array: false,
        format: None,
    }
}
