//! Names with `*` for any text.

/// Whether the whole name has the form of the pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The earliest place of each part leaves the most text to those that follow.
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn parts_do_not_overlap() {
        assert!(matches("ab*ba", "abba") && !matches("ab*ba", "aba"));
        assert!(matches("*a*a*", "aa") && !matches("*a*a*", "a"));
        assert!(matches("*", "") && matches("**", "x") && !matches("", "x"));
    }
}
