//! What was measured, and how it is shown: medians and spreads over the rounds, ratios, budgets.

use serde::Serialize;

/// The figures of several rounds.
#[derive(Clone, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(mut rounds: Vec<f64>) -> Spread {
        rounds.sort_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        let median = if rounds.len() % 2 == 1 { rounds[middle] } else { (rounds[middle - 1] + rounds[middle]) / 2.0 };
        Spread { median, least: rounds[0], most: rounds[rounds.len() - 1] }
    }
}

/// What a figure may be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Budget::AtMost(most) => figure <= most,
            Budget::AtLeast(least) => figure >= least,
        }
    }
}

/// One line of the table.
#[derive(Serialize)]
pub struct Line {
    pub row: char,
    pub what: String,
    pub unit: &'static str,
    pub lockside: Spread,
    /// What it is compared with: its name, and its figures in the same unit.
    pub beside: Option<(&'static str, Spread)>,
    /// lockside's over the other's, round by round.
    pub ratio: Option<Spread>,
    /// For the ratio where there is one, else for the figure itself.
    pub budget: Option<Budget>,
    pub met: Option<bool>,
}

impl Line {
    /// A figure that stands alone.
    pub fn alone(row: char, what: impl Into<String>, unit: &'static str, figures: Vec<f64>) -> Line {
        let lockside = Spread::of(figures);
        Line { row, what: what.into(), unit, lockside, beside: None, ratio: None, budget: None, met: None }
    }

    /// A figure beside another's of the same rounds.
    pub fn beside(
        row: char,
        what: impl Into<String>,
        unit: &'static str,
        figures: Vec<f64>,
        other: (&'static str, Vec<f64>),
    ) -> Line {
        let ratio = Spread::of(figures.iter().zip(&other.1).map(|(ours, theirs)| ours / theirs).collect());
        let beside = Some((other.0, Spread::of(other.1)));
        Line { beside, ratio: Some(ratio), ..Line::alone(row, what, unit, figures) }
    }

    pub fn budget(mut self, budget: Budget) -> Line {
        let figure = self.ratio.as_ref().unwrap_or(&self.lockside).median;
        (self.budget, self.met) = (Some(budget), Some(budget.is_met(figure)));
        self
    }

    /// The columns as text.
    pub fn cells(&self) -> [String; 7] {
        let beside = self.beside.as_ref().map_or_else(Default::default, |(name, spread)| {
            format!("{} {}{name}", number(spread.median), if name.is_empty() { "" } else { "· " })
        });
        let ratio = self.ratio.as_ref().map_or_else(Default::default, |ratio| {
            format!("{} ({}–{})", number(ratio.median), number(ratio.least), number(ratio.most))
        });
        let times = if self.ratio.is_some() { "×" } else { "" };
        let budget = match self.budget {
            None => String::new(),
            Some(Budget::AtMost(most)) => format!("≤ {most}{times}"),
            Some(Budget::AtLeast(least)) => format!("≥ {least}{times}"),
        };
        let met = self.met.map_or("", |met| if met { "yes" } else { "NO" });
        let spread = format!(
            "{} ({}–{})",
            number(self.lockside.median),
            number(self.lockside.least),
            number(self.lockside.most)
        );
        let what = [self.what.as_str(), self.unit].join(", ").trim_end_matches(", ").to_owned();
        [self.row.to_string(), what, spread, beside, ratio, budget, met.to_owned()]
    }
}

/// Three figures that say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 {
                    text.push(' ');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub const HEADINGS: [&str; 7] = ["", "what", "lockside", "beside", "ratio", "budget", "met"];

/// On a terminal.
pub fn print(lines: &[Line]) {
    let rows: Vec<[String; 7]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// For docs/internals/performance.md.
pub fn print_markdown(lines: &[Line]) {
    println!("|{}|\n|{}", HEADINGS.join("|"), "---|".repeat(HEADINGS.len()));
    for line in lines {
        println!("|{}|", line.cells().join("|"));
    }
}
