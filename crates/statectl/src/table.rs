use crate::output::{FAINT, GOOD, HEADING};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};
use std::io::{self, Write};
use terminal_size::{Width as TerminalWidth, terminal_size_of};

/// The mark of the row that matters most, in its first column.
pub(crate) const MARK: &str = "*";

/// The last column is never narrower than this, as long as the terminal has room.
const NARROWEST_TEXT: u16 = 16;

/// Aligned columns without lines. On a terminal that is too narrow the last column is wrapped, and no other.
pub(crate) struct Table {
    table: comfy_table::Table,
    columns: usize,
}

impl Table {
    pub(crate) fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING);
        if let Some((TerminalWidth(width), _)) = terminal_size_of(io::stdout()) {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        if headings.iter().any(|heading| !heading.is_empty()) {
            table.set_header(headings);
        }
        Self {
            table,
            columns: COLUMNS,
        }
    }

    pub(crate) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.table.add_row(cells);
    }

    /// Numbers stand under each other in this column.
    pub(crate) fn align_right(&mut self, column: usize) {
        if let Some(column) = self.table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    pub(crate) fn print(mut self, page: &mut Vec<u8>) -> io::Result<()> {
        let has_header = self.table.header().is_some();
        for (index, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            column.set_constraint(match index + 1 == self.columns {
                true => ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST_TEXT)),
                false => ColumnConstraint::ContentWidth,
            });
        }
        for (index, line) in self.table.trim_fmt().lines().enumerate() {
            let style = match (index, line.starts_with(MARK)) {
                (0, _) if has_header => HEADING,
                (_, true) => GOOD,
                _ => {
                    writeln!(page, "{line}")?;
                    continue;
                }
            };
            writeln!(page, "{style}{line}{style:#}")?;
        }
        Ok(())
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
