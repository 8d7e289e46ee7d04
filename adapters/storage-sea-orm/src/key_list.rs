//! Keys within a statement.

/// Numbers of our own, as the inner part of `IN (…)`.
pub(crate) fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}
