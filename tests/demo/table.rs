//! An aligned table, with colours where they can be seen.

use std::io::IsTerminal;

/// Whether colours are used.
pub struct Style {
    colours: bool,
}

impl Style {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set (no-color.org).
    pub fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colours: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// What matters most.
    pub fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters least.
    pub fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A success.
    pub fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something to look at.
    pub fn warn(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// A failure.
    pub fn bad(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table of five columns; a cell has its plain text, which is measured, and its painted one.
pub struct Table {
    head: [&'static str; 5],
    rows: Vec<[(String, String); 5]>,
}

impl Table {
    /// An empty table with these column heads.
    pub fn new(head: [&'static str; 5]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row of (plain, painted) cells.
    pub fn row(&mut self, cells: [(String, String); 5]) {
        self.rows.push(cells);
    }

    /// The text, one line per row, with a line between different first cells.
    pub fn render(&self, style: &Style) -> String {
        let widths: [usize; 5] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].0.chars().count());
            cells
                .chain([self.head[column].len()])
                .max()
                .unwrap_or_default()
        });
        let rule: String = "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
        let head = self.head.map(|title| (title.to_owned(), style.dim(title)));
        let mut text = line(&head, &widths);
        let mut group = None;
        for row in &self.rows {
            if group != Some(&row[0].0) {
                text.push_str(&style.dim(&rule));
                text.push('\n');
                group = Some(&row[0].0);
            }
            text.push_str(&line(row, &widths));
        }
        text
    }
}

fn line(cells: &[(String, String); 5], widths: &[usize; 5]) -> String {
    let mut text = String::new();
    for (index, ((plain, painted), width)) in cells.iter().zip(widths).enumerate() {
        text.push_str(painted);
        if index + 1 < cells.len() {
            text.push_str(&" ".repeat(width - plain.chars().count() + 2));
        }
    }
    text.push('\n');
    text
}
