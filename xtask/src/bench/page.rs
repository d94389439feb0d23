//! The measured part of docs/performance.md: the figures that have a goal. The terminal shows all of them.

use super::figure::{Figure, digits};
use super::machine::Machine;
use crate::workspace::root;
use std::fs;
use std::io;

const BEGIN: &str = "<!-- measured: written by cargo xtask bench -->\n";
const END: &str = "<!-- end of what was measured -->\n";

/// What a figure must not exceed.
#[derive(Debug, Clone, Copy)]
enum Goal {
    None,
    /// In the figure's own unit.
    Value(f64),
    /// So many times its floor.
    Ratio(f64),
}

/// The rows of the page in their order.
const ROWS: [(&str, &str, Goal); 36] = [
    ("statectl push", "10000 entries", Goal::Ratio(0.4)),
    ("statectl pull", "10000 entries", Goal::Ratio(0.4)),
    ("statectl --version", "", Goal::Value(0.005)),
    ("statectl current", "", Goal::Value(0.005)),
    ("write + set_current", "10 entries", Goal::Ratio(1.15)),
    ("write + set_current", "10000 entries", Goal::Value(0.030)),
    ("read current", "10000 entries", Goal::Value(0.025)),
    ("first read of a process", "10000 entries", Goal::Value(0.030)),
    ("list", "10000 revisions", Goal::Ratio(1.4)),
    ("decode", "10000 entries", Goal::Ratio(2.0)),
    ("seal", "10000 entries", Goal::Ratio(1.2)),
    ("open", "10000 entries", Goal::Ratio(1.5)),
    ("peak memory, write", "10000 entries", Goal::Value(45e6)),
    ("peak memory, read", "10000 entries", Goal::Value(45e6)),
    ("JSON of an entry", "10000 entries", Goal::None),
    ("stored bytes of an entry", "10000 entries", Goal::None),
    ("hand-over, median", "1 waiter", Goal::Value(0.002)),
    ("hand-over, 99 of 100", "1 waiter", Goal::Value(0.050)),
    ("hand-over, median", "20 waiters", Goal::Value(0.005)),
    ("hand-over, 99 of 100", "20 waiters", Goal::Value(0.050)),
    ("hand-over, median", "a waiter of 5 s", Goal::Value(0.005)),
    ("hand-over, longest", "a waiter of 5 s", Goal::Value(0.050)),
    ("a waiter's share of a core", "a waiter of 5 s", Goal::Value(1.0)),
    ("apply", "5000 resources, 1 worker", Goal::Ratio(1.3)),
    ("apply", "5000 resources, 10 workers", Goal::Ratio(1.0)),
    ("apply", "10000 resources, 1 worker", Goal::None),
    ("apply", "1000 resources, 1 worker", Goal::None),
    ("flushes", "5000 resources, 1 worker", Goal::Value(1.05 * 5000.0)),
    ("flushes", "5000 resources, 10 workers", Goal::Value(5000.0 / 3.0)),
    (
        "bytes written over changes",
        "5000 resources, 1 worker",
        Goal::Value(3.0),
    ),
    (
        "bytes written over changes",
        "5000 resources, 10 workers",
        Goal::Value(3.0),
    ),
    ("revisions left", "5000 resources, 1 worker", Goal::Value(1.0)),
    ("revisions left", "5000 resources, 10 workers", Goal::Value(1.0)),
    (
        "begin after a death",
        "5000 changes of 60000 entries",
        Goal::Ratio(2.0),
    ),
    ("compile statectl", "release, clean", Goal::Value(60.0)),
    ("compile sdk-state", "release, clean", Goal::Value(30.0)),
];

impl Goal {
    fn is_held(self, figure: &Figure) -> bool {
        match self {
            Self::None => true,
            Self::Value(limit) => figure.value <= limit,
            Self::Ratio(limit) => figure.ratio().is_some_and(|ratio| ratio <= limit),
        }
    }

    fn shown(self, figure: &Figure) -> String {
        let limit = match self {
            Self::None => return String::new(),
            Self::Value(limit) => figure.unit.show(limit),
            Self::Ratio(limit) => format!("{} ×", digits(limit)),
        };
        let missed = if self.is_held(figure) { "" } else { ", MISSED" };
        format!("≤ {limit}{missed}")
    }
}

/// The rows that have no figure: a name has changed, or a part was left out.
pub(super) fn without_figure(figures: &[Figure]) -> Vec<String> {
    let is_measured = |what, size| figures.iter().any(|figure| figure.is(what, size));
    let rows = ROWS.iter().filter(|(what, size, _)| !is_measured(what, size));
    rows.map(|(what, size, _)| format!("{what}, {size}")).collect()
}

pub(super) fn markdown(machine: &Machine, figures: &[Figure]) -> String {
    let rows = ROWS.iter().filter_map(|&(what, size, goal)| {
        let figure = figures.iter().find(|figure| figure.is(what, size))?;
        Some(row(figure, goal))
    });
    format!("{machine}.\n\n{}\n{}", table(rows), at_scale(figures))
}

fn row(figure: &Figure, goal: Goal) -> [String; 6] {
    let floor = figure.floor.as_ref();
    [
        figure.what.clone(),
        figure.size.clone(),
        figure.unit.show(figure.value),
        floor.map(|floor| floor.is.clone()).unwrap_or_default(),
        figure
            .ratio()
            .map(|ratio| format!("{} ×", digits(ratio)))
            .unwrap_or_default(),
        goal.shown(figure),
    ]
}

/// What ten times as much costs, in one line for each dimension.
fn at_scale(figures: &[Figure]) -> String {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for large in figures {
        let Some((what, (number, unit))) = large.what.strip_prefix("scale: ").zip(number(&large.size)) else {
            continue;
        };
        let tenth = format!("{} {unit}", number / 10);
        let Some(small) = figures.iter().find(|figure| figure.is(&large.what, &tenth)) else {
            continue;
        };
        let cost = format!("{what} {}", digits(large.value / small.value));
        match lines.iter_mut().find(|(size, _)| *size == large.size) {
            Some((_, costs)) => costs.push(cost),
            None => lines.push((large.size.clone(), vec![cost])),
        }
    }
    let line = |(size, costs): &(String, Vec<String>)| {
        format!(
            "- {size}, as a multiple of a tenth of that: {}.\n",
            costs.join(", ")
        )
    };
    lines.iter().map(line).collect()
}

fn number(size: &str) -> Option<(u64, &str)> {
    let (number, unit) = size.split_once(' ')?;
    Some((number.parse().ok()?, unit))
}

/// With columns that are as wide as their widest cell.
fn table(rows: impl IntoIterator<Item = [String; 6]>) -> String {
    let mut lines = vec![["what", "size", "measured", "floor", "of the floor", "goal"].map(String::from)];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for (position, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            text.push_str(&format!("| {cell:width$} "));
        }
        text.push_str("|\n");
        if position == 0 {
            text.extend(widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

/// Every figure, for the terminal.
pub(super) fn listing(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let [what, size, measured, floor, ratio, _] = row(figure, Goal::None);
        text.push_str(format!("{what:28} {size:18} {measured:>9}  {ratio:>7} {floor}").trim_end());
        text.push('\n');
    }
    text
}

/// Puts `measured` into the page, in the place of what was measured before; the rest is written by hand.
pub(super) fn update(measured: &str) -> io::Result<()> {
    let path = root().join("docs/performance.md");
    let page = replaced(&fs::read_to_string(&path)?, measured)
        .ok_or_else(|| io::Error::other("docs/performance.md has lost the marks around what is measured"))?;
    fs::write(path, page)
}

fn replaced(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{measured}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(line: &str) -> Figure {
        Figure::from_line(line).unwrap()
    }

    #[test]
    fn the_hand_written_part_of_the_page_stays() {
        let page = format!("# Title\n{BEGIN}old\n{END}prose\n");
        let expected = format!("# Title\n{BEGIN}new\n{END}prose\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), expected);
        assert!(replaced("# Title\nprose\n", "new\n").is_none());
    }

    #[test]
    fn the_page_has_a_place_for_what_is_measured() {
        assert!(replaced(include_str!("../../../docs/performance.md"), "").is_some());
    }

    #[test]
    fn a_figure_at_scale_is_compared_with_that_of_a_tenth() {
        let figures = [
            figure(r#"{"what":"scale: list","size":"100 revisions","unit":"s","value":1}"#),
            figure(r#"{"what":"scale: list","size":"1000 revisions","unit":"s","value":25}"#),
            figure(r#"{"what":"scale: write","size":"1000 revisions","unit":"s","value":3}"#),
            figure(r#"{"what":"scale: write","size":"100 revisions","unit":"s","value":3}"#),
        ];
        assert_eq!(
            at_scale(&figures),
            "- 1000 revisions, as a multiple of a tenth of that: list 25.0, write 1.00.\n"
        );
    }

    #[test]
    fn a_missed_goal_says_so() {
        let slow = figure(r#"{"what":"read current","size":"10000 entries","unit":"s","value":0.02}"#);
        assert_eq!(Goal::Value(0.015).shown(&slow), "≤ 15.0 ms, MISSED");
        assert_eq!(Goal::Value(0.025).shown(&slow), "≤ 25.0 ms");
        let line = r#"{"what":"w","size":"","unit":"s","value":1.2,"floor":1,"floor-is":"a file"}"#;
        assert!(Goal::Ratio(1.2).is_held(&figure(line)));
        assert!(!Goal::Ratio(1.1).is_held(&figure(line)));
        assert!(!Goal::Ratio(1.1).is_held(&slow), "there is no floor");
    }
}
