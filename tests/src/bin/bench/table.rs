//! The table, printed while it grows.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::machine;

/// Rows so far.
pub(crate) struct Table {
    figures: Vec<Figure>,
    json: Option<PathBuf>,
    machine: Value,
}

impl Table {
    /// Prints the head. All rows so far are in the file of JSON after each.
    pub(crate) fn begin(json: Option<PathBuf>) -> Self {
        let machine = machine::described();
        println!("{machine}\n");
        println!("| measure | Pocket IoT | runs | to reach | Mosquitto | ratio | |");
        println!("|---|---|---|---|---|---|---|");
        Self { figures: Vec::new(), json, machine }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.figures.push(figure);
        if let Some(path) = &self.json {
            let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
            let text = format!("{:#}\n", json!({ "machine": self.machine, "figures": figures }));
            std::fs::write(path, text).expect("the figures are written");
        }
    }

    #[cfg(test)]
    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }
}
