use super::figure::{Figure, Unit, digits};
use super::goals::{Goal, ORIGINAL};
use super::machine::Machine;

/// Everything that was measured, as tables that read as well in a terminal.
pub(super) fn markdown(machine: &Machine, figures: &[Figure]) -> String {
    let is_of = |prefix: &'static str| move |figure: &&Figure| figure.what.starts_with(prefix);
    let plain: Vec<&Figure> = figures
        .iter()
        .filter(|figure| !is_of("scale: ")(figure) && !is_of("create: ")(figure))
        .collect();
    let scale: Vec<&Figure> = figures.iter().filter(is_of("scale: ")).collect();
    let create: Vec<&Figure> = figures.iter().filter(is_of("create: ")).collect();
    format!(
        "{machine}.\n\n{}\n### Beside the original\n\n{}\n### At scale\n\n{}\n### Create from empty\n\n{}",
        with_floors(&plain),
        beside_the_original(figures),
        at_scale(&scale),
        from_empty(&create),
    )
}

fn with_floors(figures: &[&Figure]) -> String {
    let rows = figures.iter().map(|figure| {
        let goal = Goal::of(figure);
        let floor = figure.floor.as_ref();
        [
            figure.what.clone(),
            figure.size.clone(),
            figure.shown(),
            floor
                .map(|floor| figure.unit.show(floor.value))
                .unwrap_or_default(),
            floor.map(|floor| floor.is.clone()).unwrap_or_default(),
            figure.ratio().map(digits).unwrap_or_default(),
            goal.map(|goal| goal.shown(figure)).unwrap_or_default(),
            match goal.map(|goal| goal.is_held(figure)) {
                Some(true) => "held".into(),
                Some(false) => "MISSED".into(),
                None => String::new(),
            },
        ]
    });
    table(
        [
            "what",
            "size",
            "measured",
            "floor",
            "the floor is",
            "ratio",
            "goal",
            "goal held",
        ],
        rows,
    )
}

fn beside_the_original(figures: &[Figure]) -> String {
    let rows = ORIGINAL.iter().filter_map(|&(what, size, original)| {
        let figure = figures.iter().find(|figure| figure.is(what, size))?;
        Some([
            what.into(),
            size.into(),
            figure.shown(),
            figure.unit.show(original),
            digits(original / figure.value),
        ])
    });
    table(["what", "size", "here", "the original", "times less"], rows)
}

/// Beside each figure of the full size that of a tenth.
fn at_scale(figures: &[&Figure]) -> String {
    let rows = figures.iter().filter_map(|large| {
        let (number, unit) = number(&large.size)?;
        let tenth = format!("{} {unit}", number / 10);
        let small = figures.iter().find(|figure| figure.is(&large.what, &tenth))?;
        Some([
            label(large),
            large.size.clone(),
            small.shown(),
            large.shown(),
            digits(large.value / small.value),
        ])
    });
    table(["what", "size", "at a tenth of it", "measured", "ratio"], rows)
}

fn from_empty(figures: &[&Figure]) -> String {
    let times = figures.iter().filter(|figure| figure.what == "create: time");
    let rows = times.filter_map(|time| {
        let (resources, _) = number(&time.size)?;
        let other = |what: &str| figures.iter().find(|figure| figure.is(what, &time.size));
        let shown = |what: &str| other(what).map_or("not counted".into(), |figure| figure.shown());
        Some([
            resources.to_string(),
            time.shown(),
            Unit::Seconds.show(time.value / resources as f64),
            shown("create: bytes written"),
            shown("create: flushes"),
            shown("create: files"),
        ])
    });
    table(
        [
            "resources",
            "time",
            "a resource",
            "bytes written",
            "flushes",
            "files",
        ],
        rows,
    )
}

fn label(figure: &Figure) -> String {
    figure.what.trim_start_matches("scale: ").into()
}

fn number(size: &str) -> Option<(u64, &str)> {
    let (number, unit) = size.split_once(' ')?;
    Some((number.parse().ok()?, unit))
}

/// With columns that are as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(String::from)];
    lines.extend(rows);
    let width = |column: usize| {
        lines
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(line: &str) -> Figure {
        Figure::from_line(line).unwrap()
    }

    #[test]
    fn a_figure_at_scale_stands_beside_that_of_a_tenth() {
        let figures = [
            figure(r#"{"what":"scale: list","size":"100 revisions","unit":"s","value":1}"#),
            figure(r#"{"what":"scale: list","size":"1000 revisions","unit":"s","value":25}"#),
        ];
        let text = at_scale(&figures.iter().collect::<Vec<_>>());
        assert_eq!(
            text,
            "| what | size           | at a tenth of it | measured | ratio |\n\
             |------|----------------|------------------|----------|-------|\n\
             | list | 1000 revisions | 1.00 s           | 25.0 s   | 25.0  |\n"
        );
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let slow = figure(r#"{"what":"read current","size":"10000 entries","unit":"s","value":0.02}"#);
        let fast = figure(r#"{"what":"read current","size":"10000 entries","unit":"s","value":0.01}"#);
        assert!(with_floors(&[&slow]).contains("| < 15.0 ms | MISSED"));
        assert!(with_floors(&[&fast]).contains("| < 15.0 ms | held"));
    }
}
