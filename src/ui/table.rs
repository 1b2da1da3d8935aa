//! Columns as lxc-ls prints them: cells left-justified to the widest of header and values, each
//! followed by one space, the last one too.

/// A table under construction.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// One column.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its header.
    pub header: &'static str,
    /// Which side the cells lean to. Headers and the dash for "nothing" always lean left.
    pub align: Align,
    /// The least width.
    pub min: usize,
}

/// Where a cell leans.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two sides")]
pub enum Align {
    Left,
    Right,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty, surplus ones are not shown.
    pub fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// The lines, header first.
    pub fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(n));
                cells
                    .map(|cell| width(cell))
                    .chain([width(column.header), column.min])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let mut header = String::new();
        for (column, &wide) in self.columns.iter().zip(&widths) {
            pad(&mut header, column.header, wide, Align::Left);
        }
        lines.push(header);
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, column), &wide) in row.iter().zip(&self.columns).zip(&widths) {
                let align = if cell == "-" { Align::Left } else { column.align };
                pad(&mut line, cell, wide, align);
            }
            lines.push(line);
        }
        lines
    }
}

/// Columns on a terminal: one per character; close enough for container names and addresses.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(line: &mut String, text: &str, wide: usize, align: Align) {
    let spaces = wide.saturating_sub(width(text));
    if align == Align::Right {
        line.extend(std::iter::repeat_n(' ', spaces));
    }
    line.push_str(text);
    if align == Align::Left {
        line.extend(std::iter::repeat_n(' ', spaces));
    }
    line.push(' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_as_wide_as_the_widest() {
        let mut table = Table::new(vec![
            Column { header: "NAME", align: Align::Left, min: 0 },
            Column { header: "RAM", align: Align::Right, min: 0 },
        ]);
        table.row(vec!["web".into(), "1.14MB".into()]);
        table.row(vec!["database".into(), "-".into()]);
        assert_eq!(table.lines(), ["NAME     RAM    ", "web      1.14MB ", "database -      "]);
    }
}
