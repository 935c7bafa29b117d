//! Progress bars on standard error, and nothing where that is no terminal: how much was done, the rate and, where it is known how
//! much there is, the time left. Never: a number that is not known.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::jobs::export::{Table, Written};

/// A bar that counts bytes, or things called so.
pub(super) fn bar(unit: &'static str) -> ProgressBar {
    if io::stderr().is_terminal() { ProgressBar::no_length().with_style(style(unit)) } else { ProgressBar::hidden() }
}

fn style(unit: &'static str) -> ProgressStyle {
    let is_bytes = unit == "bytes";
    let count = move |number| if is_bytes { HumanBytes(number).to_string() } else { HumanCount(number).to_string() };
    let unit = if is_bytes { String::new() } else { format!(" {unit}") };
    let done = move |state: &ProgressState, to: &mut dyn Write| {
        // Where what there is is only about known, there may be more.
        let all = state.len().filter(|all| *all >= state.pos());
        let of = all.map_or(String::new(), |all| format!(" of {}", count(all)));
        let _ = write!(to, "{}{of}{unit}", count(state.pos()));
    };
    let rate = move |state: &ProgressState, to: &mut dyn Write| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is shown without fractions"
        )]
        let rate = state.per_sec() as u64;
        let _ = write!(to, "{}/s", count(rate));
    };
    let left = |state: &ProgressState, to: &mut dyn Write| {
        if state.pos() > 0 && state.len().is_some_and(|all| all >= state.pos()) {
            let _ = write!(to, ", {:#} left", HumanDuration(state.eta()));
        }
    };
    let style = ProgressStyle::with_template("{elapsed} [{wide_bar}] {msg}{done}, {rate}{left}");
    let style = style.expect("the template is a constant");
    style.with_key("done", done).with_key("rate", rate).with_key("left", left)
}

/// An export's rows, table by table. How many voters there are is known once they were counted; until then as many are expected as
/// there are votes and comments.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    bar: ProgressBar,
    /// Rows of votes and comments, about.
    expected: u64,
    /// Rows of tables that are whole.
    whole: u64,
    table: Option<Table>,
}

impl Rows {
    /// Of an export with about so many votes and comments, of which these tables are there.
    pub(super) fn begin(bar: &ProgressBar, expected: u64, whole: &[Written]) -> Self {
        bar.set_length(expected.saturating_mul(2));
        let mut rows = Self { bar: bar.clone(), expected, whole: 0, table: None };
        for written in whole {
            rows.end(written.table, written.rows);
        }
        rows.bar.reset_eta();
        rows
    }

    /// A table begins.
    pub(super) fn table(&mut self, table: Table) {
        self.table = Some(table);
        self.bar.set_message(format!("{}: ", table.name()));
        if table == Table::Records {
            // Nobody knows how many there are: few beside the rows, and long.
            self.bar.unset_length();
        }
    }

    /// So many rows of the table are there.
    pub(super) fn at(&self, rows: u64) {
        self.bar.set_position(self.whole.saturating_add(rows));
    }

    /// The table that began is whole.
    pub(super) fn ended(&mut self, rows: u64) {
        if let Some(table) = self.table.take() {
            self.end(table, rows);
        }
    }

    fn end(&mut self, table: Table, rows: u64) {
        self.whole = self.whole.saturating_add(rows);
        self.bar.set_position(self.whole);
        if table == Table::Voters {
            self.bar.set_length(self.whole.saturating_add(self.expected));
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// What is on the terminal.
    #[derive(Clone, Debug, Default)]
    struct Screen(std::sync::Arc<parking_lot::Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(unit: &'static str) -> (ProgressBar, impl Fn() -> String) {
        let screen = Screen::default();
        let bar = ProgressBar::no_length().with_style(style(unit));
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let drawn = bar.clone();
        let look = move || {
            drawn.force_draw();
            screen.0.lock().clone()
        };
        (bar, look)
    }

    #[test]
    fn time_left_is_told_where_it_is_known_how_much_there_is_and_not_elsewhere() {
        let (bar, look) = shown("bytes");
        bar.set_position(3 << 20);
        let text = look();
        assert!(text.contains("3.00 MiB, ") && text.contains("/s") && !text.contains("left"), "{text}");
        assert!(!text.contains(" of "), "{text}");
        bar.set_length(6 << 20);
        let text = look();
        assert!(text.contains("3.00 MiB of 6.00 MiB, ") && text.contains(" left"), "{text}");
        // More than was expected.
        bar.set_position(7 << 20);
        let text = look();
        assert!(text.contains("7.00 MiB, ") && !text.contains("left"), "{text}");
    }

    #[test]
    fn an_exports_rows_go_on_behind_what_is_there_and_know_the_voters_once_they_are_counted() {
        let (bar, look) = shown("rows");
        let whole = |table, rows| Written { table, file: String::new(), rows, bytes: 0, blake3: String::new() };
        let mut rows = Rows::begin(&bar, 1_000, &[whole(Table::Seasons, 1)]);
        rows.table(Table::Voters);
        rows.at(199);
        assert!(look().contains("voters: 200 of 2,000 rows, "), "{}", look());
        rows.ended(299);
        rows.table(Table::Votes);
        rows.at(500);
        assert!(look().contains("votes: 800 of 1,300 rows, "), "{}", look());
        rows.ended(1_000);
        rows.table(Table::Records);
        rows.at(8);
        assert!(look().contains("records: 1,308 rows, ") && !look().contains("left"), "{}", look());
    }
}
