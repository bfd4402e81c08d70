//! The tables around a table as a drawing: what it comes from on the left, what comes from it on the right.

use std::collections::BTreeMap;

use super::{html::Html, page_of};
use crate::lineage::Lineage;

/// How many steps are drawn each way.
const STEPS: i32 = 2;

const WIDTH: i32 = 210;
const HEIGHT: i32 = 26;
const ACROSS: i32 = 260;
const DOWN: i32 = 36;

/// Draws the tables around `table`.
pub(super) fn draw(html: &mut Html, lineage: &Lineage, table: &str) {
    let placed = place(lineage, table);
    let columns: Vec<i32> = placed.values().map(|it| it.0).collect();
    let left = columns.iter().min().copied().unwrap_or_default();
    let right = columns.iter().max().copied().unwrap_or_default();
    let rows = placed.values().map(|it| it.1).max().unwrap_or_default() + 1;
    let width = ((right - left) * ACROSS + WIDTH).to_string();
    let height = (rows * DOWN).to_string();
    let at = |place: &(i32, i32)| {
        (
            (place.0 - left) * ACROSS,
            place.1 * DOWN + (DOWN - HEIGHT) / 2,
        )
    };
    let view = format!("0 0 {width} {height}");
    let size = [
        ("class", "lineage"),
        ("width", width.as_str()),
        ("height", height.as_str()),
        ("viewBox", view.as_str()),
        ("role", "img"),
    ];
    html.within("svg", &size, |html| {
        html.element("title", &[], &format!("Where {table} stands"));
        for (from, to) in edges(lineage, &placed) {
            let (Some(from), Some(to)) = (placed.get(from).map(at), placed.get(to).map(at)) else {
                continue;
            };
            let (x1, y1) = (from.0 + WIDTH, from.1 + HEIGHT / 2);
            let (x2, y2) = (to.0, to.1 + HEIGHT / 2);
            let bend = (ACROSS - WIDTH) / 2;
            let path = format!(
                "M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}",
                x1 + bend,
                x2 - bend
            );
            html.element("path", &[("d", &path)], "");
        }
        for (name, place) in &placed {
            let (x, y) = at(place);
            let to = html.way(&page_of(name));
            let class = if name == table { "here" } else { "there" };
            html.within("a", &[("href", &to)], |html| {
                let numbers = [x, y, WIDTH, HEIGHT].map(|it| it.to_string());
                let [x, y, width, height] = &numbers;
                let shape = [
                    ("class", class),
                    ("x", x.as_str()),
                    ("y", y.as_str()),
                    ("width", width.as_str()),
                    ("height", height.as_str()),
                    ("rx", "4"),
                ];
                html.element("rect", &shape, "");
                let text = [(place.0 - left) * ACROSS + 8, at(place).1 + HEIGHT - 8];
                let [x, y] = text.map(|it| it.to_string());
                html.element("text", &[("x", &x), ("y", &y)], name);
            });
        }
    });
}

/// Each table with its column, 0 for the one in the middle, and its row.
fn place(lineage: &Lineage, table: &str) -> BTreeMap<String, (i32, i32)> {
    let mut column: BTreeMap<String, i32> = BTreeMap::from([(table.to_owned(), 0)]);
    for direction in [-1, 1] {
        let mut ring = vec![table.to_owned()];
        for step in 1..=STEPS {
            let mut next = Vec::new();
            for name in &ring {
                let found = if direction < 0 {
                    lineage.inputs(name)
                } else {
                    lineage.readers(name)
                };
                for found in found {
                    if !column.contains_key(found) {
                        column.insert(found.to_owned(), step * direction);
                        next.push(found.to_owned());
                    }
                }
            }
            ring = next;
        }
    }
    let mut used: BTreeMap<i32, i32> = BTreeMap::new();
    let mut placed = BTreeMap::new();
    for (name, column) in column {
        let row = used.entry(column).or_default();
        placed.insert(name, (column, *row));
        *row += 1;
    }
    placed
}

/// Read and reader, where the one stands beside the other: lines across would hide what is between.
fn edges<'a>(
    lineage: &'a Lineage,
    placed: &'a BTreeMap<String, (i32, i32)>,
) -> Vec<(&'a str, &'a str)> {
    let mut edges = Vec::new();
    for (name, place) in placed {
        for input in lineage.inputs(name) {
            if placed.get(input).is_some_and(|it| it.0 + 1 == place.0) {
                edges.push((input, name.as_str()));
            }
        }
    }
    edges
}
