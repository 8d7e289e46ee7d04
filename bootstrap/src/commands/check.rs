//! `check`: all that the database holds, verified.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pocket_ports::{CheckReport, Checked, Finding};

use crate::config::Settings;
use crate::{Failure, adapters, console, transports};

/// How often the progress of a long check is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Writes a line to stdout for each thing that is wrong, and at last how much was verified.
///
/// # Errors
/// When anything is wrong, and when the database cannot be used.
pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    let check = adapters::open_check(&settings.database).await?;
    let lines = Arc::new(Lines::default());
    let report: Arc<dyn CheckReport> = Arc::clone(&lines) as _;
    let ended = |error| Failure::while_doing("the check ended early", error);
    let checked = check.check(transports::broker_records(), report).await.map_err(ended)?;
    let wrong = lines.wrong.load(Ordering::Relaxed);
    console::finish(format_args!("{}: {}\n", summary(checked), verdict(wrong)))?;
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::Other(format!("{} with {}", verdict(wrong), settings.database.url))),
    }
}

/// What is found, line by line.
#[derive(Default)]
struct Lines {
    wrong: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl CheckReport for Lines {
    fn found(&self, finding: Finding) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        // The last line and the exit code tell as well, so one that nobody reads is no reason to end.
        if let Err(error) = console::print(format_args!("{finding}\n")) {
            tracing::warn!(%error, "a line of the output could not be written");
        }
    }

    fn progress(&self, place: &'static str, done: u64, of: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get_or_insert_with(Instant::now).elapsed() >= TELL_EVERY {
            *told = Some(Instant::now());
            console::remark(format_args!("{place}: {} of {}", grouped(done), grouped(of)));
        }
    }
}

fn summary(checked: Checked) -> String {
    let Checked { chunks, messages, entries } = checked;
    format!("checked {} chunks, {} messages, {} other entries", grouped(chunks), grouped(messages), grouped(entries))
}

fn verdict(wrong: u64) -> String {
    match wrong {
        0 => "nothing is wrong".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        wrong => format!("{} things are wrong", grouped(wrong)),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let figures = number.to_string();
    let mut grouped = String::new();
    for (place, figure) in figures.chars().enumerate() {
        if place > 0 && (figures.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(figure);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line() {
        let checked = Checked { chunks: 1_234, messages: 5_000_000, entries: 99 };
        assert_eq!(summary(checked), "checked 1,234 chunks, 5,000,000 messages, 99 other entries");
        let verdicts = [0, 1, 1_000].map(verdict);
        assert_eq!(verdicts, ["nothing is wrong", "1 thing is wrong", "1,000 things are wrong"]);
        assert_eq!([0, 100, 999_999].map(grouped), ["0", "100", "999,999"]);
    }
}
