//! A load generator of MQTT 3.1.1 and HTTP/1.1 that costs less than what it measures.
//!
//! Packets are written byte by byte and read by their lengths alone; no client library, nothing is made anew for a message.
//! Each crew of connections has threads of its own, so that senders and receivers do not wait for each other.

mod connects;
mod counter;
mod crew;
mod delivering;
mod http;
mod message;
mod packet;
mod publisher;
mod subscriber;
mod target;

pub(crate) use connects::Connects;
pub(crate) use delivering::{Delivered, Delivering};
pub(crate) use http::Requests;
pub(crate) use publisher::{Published, Publishing};
pub(crate) use target::Target;

/// Microseconds that `share` of 100 did not exceed.
pub(crate) fn percentile(sorted: &[u32], share: usize) -> f64 {
    f64::from(sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_percentile_is_one_of_the_values() {
        let micros: Vec<u32> = (1..=101).collect();
        assert_eq!([0, 50, 99, 100].map(|share| super::percentile(&micros, share)), [1.0, 51.0, 100.0, 101.0]);
        assert_eq!(super::percentile(&[], 50), 0.0);
    }
}
