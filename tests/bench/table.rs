//! The page that is printed: rows of amounts, and whether they reach what they are to reach.

use std::fmt;
use std::time::Duration;

use crate::turns::Samples;

/// One line of the table.
pub(crate) struct Row {
    what: String,
    ours: Amount,
    theirs: Option<(&'static str, Amount)>,
    goal: Option<Goal>,
    note: Option<String>,
}

/// What was measured, in seconds, bytes, requests a second, or simply how many.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    Time(Duration),
    Bytes(u64),
    PerSecond(f64),
    Count(usize),
}

/// What is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times theirs.
    TimesAtMost(f64),
    /// At least so many times theirs.
    TimesAtLeast(f64),
    /// At most this, whatever theirs is.
    AtMost(Amount),
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, ours: Amount) -> Self {
        Self { what: what.into(), ours, theirs: None, goal: None, note: None }
    }

    /// Two rows, for the median and for the 99th percentile, of which only the median has a goal.
    pub(crate) fn of_samples(
        what: &str,
        ours: &Samples,
        (whose, theirs): (&'static str, &Samples),
        goal: Option<Goal>,
    ) -> [Self; 2] {
        let row = |which, ours, theirs| {
            Self::new(format!("{what}, {which}"), Amount::Time(ours)).beside(whose, Amount::Time(theirs))
        };
        [
            Self { goal, ..row("median", ours.median(), theirs.median()) },
            row("99th percentile", ours.p99(), theirs.p99()),
        ]
    }

    /// Sets what it is compared with.
    pub(crate) fn beside(self, whose: &'static str, theirs: Amount) -> Self {
        Self { theirs: Some((whose, theirs)), ..self }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.theirs.map(|(_, theirs)| self.ours.value() / theirs.value())
    }

    fn is_met(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::TimesAtMost(most) => self.ratio()? <= most,
            Goal::TimesAtLeast(least) => self.ratio()? >= least,
            Goal::AtMost(most) => self.ours.value() <= most.value(),
        })
    }

    fn cells(&self) -> [String; COLUMNS] {
        let met = self.is_met().map(|met| if met { "yes" } else { "NO" });
        [
            self.what.clone(),
            self.ours.to_string(),
            self.theirs.map(|(whose, theirs)| format!("{theirs} {whose}")).unwrap_or_default(),
            self.ratio().map(|ratio| format!("{ratio:.2} ×")).unwrap_or_default(),
            self.goal.map(|goal| goal.to_string()).unwrap_or_default(),
            met.unwrap_or_default().to_owned(),
        ]
    }
}

impl Amount {
    /// The figure to compare by, in the unit of its kind.
    #[expect(clippy::cast_precision_loss, reason = "what is measured has far fewer than 53 bits")]
    fn value(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(bytes) => bytes as f64,
            Self::PerSecond(rate) => rate,
            Self::Count(count) => count as f64,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value();
        match self {
            Self::Time(time) if *time < Duration::from_millis(1) => write!(f, "{:.1} µs", value * 1e6),
            Self::Time(_) => write!(f, "{:.2} ms", value * 1e3),
            Self::Bytes(_) => write!(f, "{:.2} MB", value / 1e6),
            Self::PerSecond(_) => write!(f, "{value:.0}/s"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimesAtMost(most) => write!(f, "≤ {most:.2} ×"),
            Self::TimesAtLeast(least) => write!(f, "≥ {least:.2} ×"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

/// Rows as they will stand on the page.
pub(crate) struct Table(Vec<Row>);

impl FromIterator<Row> for Table {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let widths: Vec<usize> = (0..COLUMNS)
            .map(|at| lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or_default())
            .collect();
        lines.insert(1, std::array::from_fn(|at| "-".repeat(widths[at])));
        for cells in &lines {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        for row in &self.0 {
            if let Some(note) = &row.note {
                write!(f, "\n{}: {note}.", row.what)?;
            }
        }
        Ok(())
    }
}

const COLUMNS: usize = 6;
const HEAD: [&str; COLUMNS] = ["what", "ours", "theirs", "ratio", "to reach", "met"];
