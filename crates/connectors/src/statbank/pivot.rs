//! The numbers of one variable's values side by side in one row.

use std::collections::HashMap;

/// Rows being put together from an answer, as many as it has at most.
pub(super) struct Pivot {
    /// The place of the variable among those of the answer.
    place: usize,
    /// Its values, in the order asked for.
    codes: Vec<String>,
    rows: Vec<Row>,
    by_rest: HashMap<Vec<String>, usize>,
}

/// One row: the other variables' codes, and a number or a marker for each value.
pub(super) struct Row {
    /// Which row of the answer came first for it, counted from 1.
    pub(super) number: usize,
    pub(super) rest: Vec<String>,
    pub(super) cells: Vec<Option<Cell>>,
}

/// A number, or what stands in its place.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) value: Option<String>,
    pub(super) marker: Option<String>,
}

impl Pivot {
    /// `codes` are the values of the variable at `place`.
    pub(super) fn new(place: usize, codes: Vec<String>) -> Self {
        Self {
            place,
            codes,
            rows: Vec::new(),
            by_rest: HashMap::new(),
        }
    }

    /// The columns of the numbers: `INDHOLD_<code>` and `MARKER_<code>` for each value.
    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        let codes = self.codes.iter();
        codes.flat_map(|code| [format!("INDHOLD_{code}"), format!("MARKER_{code}")])
    }

    /// Adds a row of the answer.
    pub(super) fn add(&mut self, number: usize, codes: &[&str], cell: Cell) -> Result<(), String> {
        let (place, asked) = (self.place, &self.codes);
        let code = codes.get(place).copied().unwrap_or_default();
        let column = asked.iter().position(|it| it == code);
        let column = column.ok_or_else(|| {
            format!(
                "`{code}` is none of the values asked for: {}",
                asked.join(", ")
            )
        })?;
        let others = codes.iter().enumerate().filter(|it| it.0 != place);
        let rest: Vec<String> = others.map(|(_, code)| (*code).to_owned()).collect();
        let next = self.rows.len();
        let at = *self.by_rest.entry(rest.clone()).or_insert(next);
        if at == next {
            let cells = vec![None; self.codes.len()];
            self.rows.push(Row {
                number,
                rest,
                cells,
            });
        }
        match self.rows[at].cells[column].replace(cell) {
            None => Ok(()),
            Some(first) => {
                self.rows[at].cells[column] = Some(first);
                Err(format!("`{code}` is there twice for {}", codes.join("; ")))
            }
        }
    }

    /// The rows, in the order in which each came first.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}
