use crate::text::{FAINT, GOOD, HEADING};
use anstyle::Style;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};
use std::io::{self, Write};
use terminal_size::{Width as TerminalWidth, terminal_size_of};

/// Marks the most important row, in its first column.
pub(crate) const MARK: &str = "*";

/// If the last column has less room than this, its texts get lines of their own.
const NARROWEST_TEXT: u16 = 20;
/// Between two columns.
const GAP: u16 = 2;

/// Aligned columns without lines. On a terminal that is too narrow the last column is wrapped, or goes below its row.
pub(crate) struct Table {
    table: comfy_table::Table,
    /// The last column.
    texts: Vec<String>,
    width: Option<u16>,
    has_headings: bool,
}

impl Table {
    pub(crate) fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_header(headings);
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        Self {
            table,
            texts: Vec::new(),
            width: terminal_size_of(io::stdout()).map(|(TerminalWidth(width), _)| width),
            has_headings: true,
        }
    }

    /// More rows of a table whose headings were printed before.
    pub(crate) fn without_headings<const COLUMNS: usize>() -> Self {
        let mut table = Self::new([""; COLUMNS]);
        table.has_headings = false;
        table
    }

    /// No cell has more than one line.
    pub(crate) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.texts.extend(cells.last().cloned());
        self.table.add_row(cells);
    }

    /// Numbers stand under each other in this column.
    pub(crate) fn align_right(&mut self, column: usize) {
        if let Some(column) = self.table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    pub(crate) fn print(mut self, page: &mut Vec<u8>) -> io::Result<()> {
        let below = self.fit();
        let lines = self.table.trim_fmt();
        let headings = usize::from(!self.has_headings);
        for (index, line) in lines.lines().enumerate().skip(headings) {
            let style = match index {
                0 => HEADING,
                _ if line.starts_with(MARK) => GOOD,
                _ => Style::new(),
            };
            writeln!(page, "{style}{line}{style:#}")?;
            let row = index.checked_sub(1).filter(|_| below);
            if let Some(text) = row
                .and_then(|row| self.texts.get(row))
                .filter(|text| !text.is_empty())
            {
                writeln!(page, "     {text}")?;
            }
        }
        Ok(())
    }

    /// Makes room for the last column; true if there is no room.
    fn fit(&mut self) -> bool {
        let widths = self.table.column_max_content_widths();
        let (Some(width), Some((text, others))) = (self.width, widths.split_last()) else {
            return false;
        };
        let left = others
            .iter()
            .fold(width, |left, column| left.saturating_sub(column + GAP));
        let below = left < NARROWEST_TEXT.min(*text);
        if let Some(column) = self.table.column_mut(others.len()) {
            column.set_constraint(match below {
                true => ColumnConstraint::Hidden,
                false => ColumnConstraint::UpperBoundary(Width::Fixed(left + GAP)),
            });
        }
        self.table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(if below { u16::MAX } else { width + GAP });
        below
    }
}

/// One name and its value, under each other.
pub(crate) fn fields(page: &mut Vec<u8>, fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max();
    for (name, value) in fields {
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        let width = width.unwrap_or_default();
        writeln!(page, "  {FAINT}{name:width$}{FAINT:#}  {first}")?;
        for line in lines {
            writeln!(page, "  {:width$}  {line}", "")?;
        }
    }
    Ok(())
}
