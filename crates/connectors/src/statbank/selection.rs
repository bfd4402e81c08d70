//! Which values of which variables are asked for, in as many requests as it takes.

use connector_api::{Error, Result};
use contract::matches;
use serde::Serialize;

use super::{
    Selection,
    table::{TableInfo, Variable},
};

/// What is asked of one variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Selected {
    pub(super) code: String,
    pub(super) values: Vec<String>,
    /// How many values that is at most, where `values` holds rules that only the other side can work out.
    #[serde(skip)]
    at_most: Option<u64>,
}

impl Selected {
    /// How many values this variable takes in the answer, at most.
    pub(super) fn rows(&self) -> u64 {
        self.at_most.unwrap_or(self.values.len() as u64)
    }

    fn can_split(&self) -> bool {
        self.is_known() && self.values.len() > 1
    }

    /// Whether `values` are codes, and no rules that only the other side can work out.
    pub(super) fn is_known(&self) -> bool {
        self.at_most.is_none()
    }
}

/// Works out a selection against what the table has.
pub(super) fn select(table: &TableInfo, wanted: &[Selection]) -> Result<Vec<Selected>> {
    let mut selected: Vec<Selected> = Vec::new();
    for selection in wanted {
        let code = selection.code.to_uppercase();
        let variable = table
            .variables
            .iter()
            .find(|it| it.code() == code)
            .ok_or_else(|| {
                let known: Vec<String> = table.variables.iter().map(Variable::code).collect();
                let (id, known) = (&table.id, known.join(", "));
                Error::Settings(format!("table {id} has no variable {code}; it has {known}"))
            })?;
        if selected.iter().any(|it| it.code == code) {
            return Err(Error::Settings(format!(
                "variable {code} of table {} is selected twice",
                table.id
            )));
        }
        selected.push(expand(table, variable, &selection.values)?);
    }
    for variable in &table.variables {
        let code = variable.code();
        if !variable.elimination && !variable.time && selected.iter().all(|it| it.code != code) {
            return Err(Error::Settings(format!(
                "table {} cannot be summed over {code}; select values of it",
                table.id
            )));
        }
    }
    Ok(selected)
}

fn expand(table: &TableInfo, variable: &Variable, wanted: &[String]) -> Result<Selected> {
    let code = variable.code();
    if wanted.iter().any(|it| is_rule(it)) {
        return Ok(Selected {
            code,
            values: wanted.to_vec(),
            at_most: Some(variable.values.len() as u64),
        });
    }
    let mut values: Vec<String> = Vec::new();
    for pattern in wanted {
        let before = values.len();
        let known = variable.values.iter().map(|it| &it.id);
        let found: Vec<&String> = known
            .filter(|it| *it == pattern || matches(pattern, it))
            .collect();
        if found.is_empty() {
            let some: Vec<&str> = variable
                .values
                .iter()
                .take(5)
                .map(|it| it.id.as_str())
                .collect();
            return Err(Error::Settings(format!(
                "variable {code} of table {} has no value {pattern}; it has {}, …",
                table.id,
                some.join(", ")
            )));
        }
        for value in found {
            if !values[..before].contains(value) {
                values.push(value.clone());
            }
        }
    }
    if values.is_empty() {
        return Err(Error::Settings(format!(
            "variable {code} of table {} is selected without values",
            table.id
        )));
    }
    Ok(Selected {
        code,
        values,
        at_most: None,
    })
}

/// Ranges, nth values and sums: `>=2010`, `(1)`, `sum(…)`.
fn is_rule(value: &str) -> bool {
    value.contains(['(', '<', '>', '='])
}

/// Cuts a selection into parts of at most `limit` rows, along the longest variables. Together the
/// parts ask for every combination once. What only the other side can work out is never cut, nor is the variable `whole`.
pub(super) fn parts(
    selected: Vec<Selected>,
    limit: u64,
    whole: Option<&str>,
) -> Vec<Vec<Selected>> {
    let rows = selected
        .iter()
        .map(Selected::rows)
        .fold(1, u64::saturating_mul);
    let longest = (0..selected.len())
        .filter(|i| selected[*i].can_split() && whole != Some(selected[*i].code.as_str()))
        .max_by_key(|i| selected[*i].rows());
    let Some(longest) = longest.filter(|_| rows > limit) else {
        return vec![selected];
    };
    let values = &selected[longest].values;
    let rows_of_one = (rows / values.len() as u64).max(1);
    let fit = usize::try_from(limit / rows_of_one)
        .unwrap_or(usize::MAX)
        .max(1);
    let cut = |values: &[String]| {
        let mut part = selected.clone();
        part[longest].values = values.to_vec();
        part
    };
    values
        .chunks(fit)
        .flat_map(|values| parts(cut(values), limit, whole))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::{from_value, json};

    use super::*;

    fn table() -> TableInfo {
        let values = |ids: &[&str]| {
            ids.iter()
                .map(|id| json!({"id": id, "text": ""}))
                .collect::<Vec<_>>()
        };
        from_value(json!({
            "id": "T1",
            "updated": "2025-03-25T08:00:00",
            "variables": [
                {"id": "OMRÅDE", "elimination": false, "time": false, "values": values(&["000", "101", "751"])},
                {"id": "ALDER", "elimination": true, "time": false, "values": values(&["TOT", "70-79", "80-"])},
                {"id": "Tid", "elimination": false, "time": true, "values": values(&["2022", "2023", "2024K1"])},
            ],
        }))
        .unwrap()
    }

    fn chosen(wanted: serde_json::Value) -> Result<Vec<(String, String)>, String> {
        let wanted: Vec<Selection> = from_value(wanted).unwrap();
        let selected = select(&table(), &wanted).map_err(|err| err.to_string())?;
        Ok(selected
            .into_iter()
            .map(|it| (it.code, it.values.join(" ")))
            .collect())
    }

    #[test]
    fn codes_patterns_and_rules_are_worked_out() {
        let chosen = chosen(json!([
            {"code": "område"},
            {"code": "Alder", "values": ["8*", "TOT", "*"]},
            {"code": "tid", "values": [">=2023"]},
        ]));
        let expected = [
            ("OMRÅDE", "000 101 751"),
            ("ALDER", "80- TOT 70-79"),
            ("TID", ">=2023"),
        ];
        assert_eq!(
            chosen.unwrap(),
            expected.map(|(code, values)| (code.into(), values.into()))
        );
    }

    #[test]
    fn mistakes_name_variable_and_value() {
        for (wanted, expected) in [
            (
                json!([{"code": "KØN"}]),
                "table T1 has no variable KØN; it has OMRÅDE, ALDER, TID",
            ),
            (
                json!([{"code": "ALDER"}]),
                "table T1 cannot be summed over OMRÅDE",
            ),
            (
                json!([{"code": "OMRÅDE", "values": ["999"]}]),
                "variable OMRÅDE of table T1 has no value 999; it has 000, 101, 751, …",
            ),
            (
                json!([{"code": "OMRÅDE", "values": []}]),
                "is selected without values",
            ),
            (
                json!([{"code": "OMRÅDE"}, {"code": "Område"}]),
                "is selected twice",
            ),
        ] {
            let err = chosen(wanted).unwrap_err();
            assert!(err.contains(expected), "{err}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_left_whole() {
        let rule = Selected {
            code: "TID".into(),
            values: vec!["(1)".into()],
            at_most: Some(100),
        };
        assert_eq!(parts(vec![rule.clone()], 10, None), [vec![rule]]);
        assert_eq!(parts(Vec::new(), 1, None), [Vec::new()]);
    }

    proptest! {
        #[test]
        fn parts_ask_for_every_combination_once_and_keep_the_limit(
            sizes in prop::collection::vec(1usize..7, 1..4),
            limit in 1u64..40,
        ) {
            let selected: Vec<Selected> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| Selected {
                    code: format!("V{i}"),
                    values: (0..*size).map(|value| value.to_string()).collect(),
                    at_most: None,
                })
                .collect();
            let mut asked = BTreeSet::new();
            for part in parts(selected, limit, None) {
                prop_assert!(part.iter().map(Selected::rows).product::<u64>() <= limit);
                let combinations = part.iter().fold(vec![String::new()], |before, variable| {
                    let extended = |prefix: &String| variable.values.iter().map(move |it| format!("{it}/")).map({
                        let prefix = prefix.clone();
                        move |it| format!("{prefix}{it}")
                    }).collect::<Vec<_>>();
                    before.iter().flat_map(extended).collect()
                });
                for combination in combinations {
                    prop_assert!(asked.insert(combination));
                }
            }
            prop_assert_eq!(asked.len(), sizes.iter().product::<usize>());
        }
    }
}
