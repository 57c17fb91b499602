//! Rows for people: columns as wide as their widest cell.

use std::io::{self, Write};

use serde_json::Value;

/// A heading, and how wide its column is at most.
pub(crate) type Column = (&'static str, usize);

/// Writes rows under their headings. A cell that is too wide is cut.
///
/// # Errors
/// The output is gone.
pub(crate) fn write(
    out: &mut impl Write,
    columns: &[Column],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (heading, most))| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(heading.len()).min(*most)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            let cut: String = cell.chars().take(*width).collect();
            let fill = width - cut.chars().count();
            text.push_str(&cut);
            text.push_str(&" ".repeat(fill + 2));
        }
        text.trim_end().to_owned()
    };
    writeln!(
        out,
        "{}",
        line(&mut columns.iter().map(|(heading, _)| *heading))
    )?;
    for row in rows {
        writeln!(out, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    Ok(())
}

/// A field as a cell; nothing where it is missing.
pub(crate) fn cell(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_long_cells_are_cut() {
        let mut out = Vec::new();
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["äääääää".to_owned(), "22".to_owned()],
        ];
        write(&mut out, &[("NAME", 5), ("N", 9)], &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME   N\na      1\näääää  22\n");
    }
}
