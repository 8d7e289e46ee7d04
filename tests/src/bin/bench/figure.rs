//! One row of the table.

use serde_json::{Value, json};

/// What was measured, in all runs.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    to_reach: &'static str,
    note: String,
    lost: usize,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, ours: Vec<f64>) -> Self {
        let (theirs, note) = (Vec::new(), String::new());
        Self { name: name.into(), unit, ours, theirs, to_reach: "", note, lost: 0 }
    }

    /// The same of Mosquitto; none where it is not installed.
    pub(crate) fn beside(self, theirs: Vec<f64>) -> Self {
        Self { theirs, ..self }
    }

    /// What it should be.
    pub(crate) fn goal(self, to_reach: &'static str) -> Self {
        Self { to_reach, ..self }
    }

    /// What has to be known beside the number.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Messages that should have arrived from Pocket IoT and did not.
    pub(crate) fn losing(self, lost: usize) -> Self {
        Self { lost, ..self }
    }

    #[cfg(test)]
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    /// The median of the runs.
    pub(crate) fn value(&self) -> f64 {
        median(&self.ours).expect("a figure was measured")
    }

    /// A row of a table of Markdown.
    pub(crate) fn row(&self) -> String {
        let theirs = median(&self.theirs);
        let ratio = theirs.map(|theirs| format!("{:.2}", self.value() / theirs));
        let spread = match self.ours.len() {
            1 => String::new(),
            _ => {
                let of = |best: fn(f64, f64) -> f64| self.ours.iter().copied().reduce(best).map(short);
                format!("{} to {}", of(f64::min).unwrap_or_default(), of(f64::max).unwrap_or_default())
            }
        };
        let lost = if self.lost > 0 { format!("**{} lost** ", self.lost) } else { String::new() };
        format!(
            "| {} | {} {} | {spread} | {} | {} | {} | {lost}{} |",
            self.name,
            short(self.value()),
            self.unit,
            self.to_reach,
            theirs.map(short).unwrap_or_default(),
            ratio.unwrap_or_default(),
            self.note
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "value": self.value(),
            "runs": self.ours,
            "mosquitto": median(&self.theirs),
            "mosquittoRuns": self.theirs,
            "toReach": self.to_reach,
            "lost": self.lost,
            "note": self.note,
        })
    }
}

fn median(runs: &[f64]) -> Option<f64> {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied()
}

/// Three digits or so.
pub(crate) fn short(value: f64) -> String {
    match value {
        _ if value >= 999_500.0 => format!("{:.2} M", value / 1e6),
        _ if value >= 9_950.0 => format!("{:.0} k", value / 1e3),
        _ if value >= 995.0 => format!("{:.1} k", value / 1e3),
        _ if value >= 99.5 => format!("{value:.0}"),
        _ if value >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.123, 9.95, 99.5, 999.0, 9_949.0, 9_950.0, 999_499.0, 1_234_567.0];
        assert_eq!(all.map(short), ["0.12", "9.9", "100", "1.0 k", "9.9 k", "10 k", "999 k", "1.23 M"]);
    }

    #[test]
    fn a_row_has_the_median_and_what_was_lost() {
        let figure = Figure::new("pairs", "msg/s", vec![300.0, 100.0, 200.0]).beside(vec![100.0]).losing(3);
        assert_eq!(figure.row(), "| pairs | 200 msg/s | 100 to 300 |  | 100 | 2.00 | **3 lost**  |");
        assert_eq!(figure.json()["value"], 200.0);
    }
}
