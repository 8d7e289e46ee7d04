//! How large the tests of clients that mean harm are.

/// So many, times `POCKET_TORTURE`, which is 1 in `just test` and 10 in `just torture`.
///
/// # Panics
/// When the variable is no number.
pub fn many(count: usize) -> usize {
    let scale = std::env::var("POCKET_TORTURE").map_or(1, |text| text.parse().expect("POCKET_TORTURE is a number"));
    count * scale
}
