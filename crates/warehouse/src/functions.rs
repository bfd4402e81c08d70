//! What SQL says badly, as documented functions: support calendars, outcomes, intervals, suppression.

mod calendar;
#[cfg(test)]
mod check;
mod interval;
mod outcome;
mod period;
mod scalar;
mod suppression;
mod weight;
mod window;

use datafusion::{
    logical_expr::{AggregateUDF, Documentation, ScalarUDF, WindowUDF},
    prelude::SessionContext,
};

use scalar::{Scalar, Signed};
use window::Window;

/// Part of every model's fingerprint: raised whenever a function starts to answer differently, so
/// that every model is computed again.
pub const VERSION: &str = "2";

/// One function as `pejl functions` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    /// The name used in SQL.
    pub name: String,
    /// Name, arguments and result: `add_months(day date, months bigint) -> date`.
    pub signature: String,
    /// What it answers, then its arguments, formula and source; several lines.
    pub doc: String,
}

/// Makes every function known to a session.
pub fn register(ctx: &SessionContext) {
    for function in scalars() {
        ctx.register_udf(ScalarUDF::new_from_impl(function));
    }
    ctx.register_udaf(AggregateUDF::new_from_impl(calendar::SupportCalendar::new()));
    for function in windows() {
        ctx.register_udwf(WindowUDF::new_from_impl(function));
    }
}

/// Every function, by name.
pub fn all() -> Vec<FunctionDoc> {
    let mut docs: Vec<FunctionDoc> = scalars()
        .map(|it| describe(it.signed().name, it.documentation_of()))
        .collect();
    docs.push(describe(
        calendar::NAME,
        calendar::SupportCalendar::new().documentation_of(),
    ));
    docs.extend(windows().map(|it| describe(it.windowed().name, it.documentation_of())));
    docs.sort_by(|a, b| a.name.cmp(&b.name));
    docs
}

fn scalars() -> impl Iterator<Item = Scalar> {
    let families: [&'static [Signed]; 6] = [
        calendar::ALL,
        interval::ALL,
        outcome::ALL,
        period::ALL,
        suppression::ALL,
        weight::ALL,
    ];
    families.into_iter().flatten().map(Scalar::new)
}

fn windows() -> impl Iterator<Item = Window> {
    suppression::WINDOWS.iter().map(Window::new)
}

fn describe(name: &str, documentation: &Documentation) -> FunctionDoc {
    let mut doc = documentation.description.clone();
    for (argument, meaning) in documentation.arguments.iter().flatten() {
        doc.push_str(&format!("\n{argument}: {meaning}"));
    }
    if let Some(example) = &documentation.sql_example {
        doc.push_str(&format!("\nexample: {example}"));
    }
    FunctionDoc {
        name: name.to_owned(),
        signature: documentation.syntax_example.clone(),
        doc,
    }
}
