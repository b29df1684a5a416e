//! Tables without lines: columns apart by two spaces, numbers to the right, nothing behind the last column.

use comfy_table::{Cell, CellAlignment, Table, presets};

/// Which way a column leans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// For texts.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

/// The table as text, with a line end behind each row.
pub(crate) fn table(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let cell = |text: &str, column: Column| {
        let alignment =
            if matches!(column, Column::Right(_)) { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(alignment)
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => cell(name, *column),
    }));
    for row in rows {
        table.add_row(row.iter().zip(columns).map(|(text, column)| cell(text, *column)).collect::<Vec<_>>());
    }
    let last = columns.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Names with a value each, below one another.
pub(crate) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = vec![
            vec!["spring".into(), "5,000".into(), "done".into()],
            vec!["a".into(), "1".into(), String::new()],
        ];
        let text = table(&[Column::Left("BATCH"), Column::Right("JOBS"), Column::Left("STATE")], rows);
        insta::assert_snapshot!(text, @r"
        BATCH    JOBS  STATE
        spring  5,000  done
        a           1
        ");
        assert!(text.lines().all(|line| line == line.trim_end()));
        insta::assert_snapshot!(pairs(&[("a", "1".into()), ("long name", "2".into())]), @r"
        a          1
        long name  2
        ");
    }
}
