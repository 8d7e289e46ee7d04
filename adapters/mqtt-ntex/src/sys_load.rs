//! Moving averages of what the broker does, over 1, 5 and 15 minutes, by the formula and in the units of Mosquitto: what
//! happened in a minute, an older minute weighing less.

use std::time::Instant;

use crate::stats::BrokerStats;

/// The spans in minutes, with their names.
pub(crate) const SPANS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// What is averaged, by the names of the topics.
pub(crate) const NAMES: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/received",
    "publish/sent",
    "publish/dropped",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

type Counts = [u64; NAMES.len()];

/// The averages, and the counters at the last look.
#[derive(Debug)]
pub(crate) struct Loads {
    at: Instant,
    counts: Counts,
    averages: [[f64; SPANS.len()]; NAMES.len()],
}

impl Loads {
    /// Of a broker that starts.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, counts: Counts::default(), averages: Default::default() }
    }

    /// Looks at the counters. The more often, the finer the averages.
    pub(crate) fn sample(&mut self, stats: &BrokerStats, now: Instant) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        let counts = counts(stats);
        for ((averages, count), before) in self.averages.iter_mut().zip(counts).zip(self.counts) {
            let per_minute = count.saturating_sub(before) as f64 / minutes;
            for (average, (_, span)) in averages.iter_mut().zip(SPANS) {
                *average = per_minute + (-minutes / span).exp() * (*average - per_minute);
            }
        }
        (self.at, self.counts) = (now, counts);
    }

    /// The averages by name and span.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let of_name = |(name, averages): (&'static str, [f64; SPANS.len()])| {
            SPANS.into_iter().zip(averages).map(move |((span, _), average)| (name, span, average))
        };
        NAMES.into_iter().zip(self.averages).flat_map(of_name)
    }
}

/// The counters in the order of the names.
fn counts(stats: &BrokerStats) -> Counts {
    [
        stats.packets_in,
        stats.packets_out,
        stats.messages_in.iter().sum(),
        stats.messages_out.iter().sum(),
        stats.dropped(),
        stats.bytes_in,
        stats.bytes_out,
        stats.connects_accepted + stats.connects_refused,
        stats.connects_accepted,
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn average(loads: &Loads, name: &str, span: &str) -> f64 {
        loads.iter().find(|found| (found.0, found.1) == (name, span)).unwrap().2
    }

    #[test]
    fn a_steady_load_is_what_the_averages_come_to() {
        let start = Instant::now();
        let mut loads = Loads::new(start);
        for minute in 1..=120 {
            let stats = BrokerStats { packets_in: 600 * minute, ..Default::default() };
            loads.sample(&stats, start + Duration::from_secs(60 * minute));
        }
        for (span, _) in SPANS {
            assert!((average(&loads, "messages/received", span) - 600.0).abs() < 1.0, "{span}");
            assert_eq!(average(&loads, "messages/sent", span), 0.0);
        }
    }

    #[test]
    fn a_burst_fades_from_the_short_average_first() {
        let start = Instant::now();
        let mut loads = Loads::new(start);
        let stats = BrokerStats { bytes_out: 6_000, connects_accepted: 6, ..Default::default() };
        for second in [10, 70] {
            loads.sample(&stats, start + Duration::from_secs(second));
        }
        // 6,000 bytes in ten seconds are 36,000 a minute, of which 1 - e^(-1/6) counts, and e^-1 of that a minute later.
        let expected = 36_000.0 * (1.0 - (-1.0_f64 / 6.0).exp()) * (-1.0_f64).exp();
        assert!((average(&loads, "bytes/sent", "1min") - expected).abs() < 1e-6);
        assert!(average(&loads, "bytes/sent", "1min") > average(&loads, "bytes/sent", "15min"));
        assert!(average(&loads, "connections", "1min") > 0.0);
    }
}
