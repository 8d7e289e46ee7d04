//! Names with `*` for any text, as patterns of the two databases.
//!
//! SQLite's LIKE ignores the case of ASCII letters, so its GLOB is used; PostgreSQL has no GLOB.

use pocket_domain::DeviceName;
use sea_orm::DbBackend;

/// A condition on a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NamePattern {
    /// The name is this text.
    Equals(String),
    /// The name has this form, in the syntax of GLOB or LIKE.
    HasForm(String),
    /// No name can meet it.
    Nothing,
}

impl NamePattern {
    /// Reads a filter for the given database.
    pub(crate) fn of(filter: &str, backend: DbBackend) -> Self {
        // Names have a bounded length and no control characters. The databases, too, have a bound for patterns, and
        // PostgreSQL refuses U+0000.
        let literal = filter.chars().filter(|c| *c != '*');
        if literal.clone().count() > DeviceName::MAX_CHARS || literal.clone().any(char::is_control) {
            return Self::Nothing;
        }
        if !filter.contains('*') {
            return Self::Equals(filter.to_owned());
        }
        let mut form = String::new();
        let mut after_star = false;
        for c in filter.chars() {
            match (c, backend) {
                // Two stars mean what one means.
                ('*', _) if after_star => {}
                ('*', DbBackend::Sqlite) => form.push('*'),
                ('*', _) => form.push('%'),
                ('?' | '[', DbBackend::Sqlite) => form.extend(['[', c, ']']),
                ('%' | '_' | '\\', DbBackend::Postgres) => form.extend(['\\', c]),
                _ => form.push(c),
            }
            after_star = c == '*';
        }
        Self::HasForm(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_in_the_database_is_escaped() {
        let form = |text: &str| NamePattern::HasForm(text.to_owned());
        assert_eq!(NamePattern::of("**a?[b]%_\\*", DbBackend::Sqlite), form("*a[?][[]b]%_\\*"));
        assert_eq!(NamePattern::of("**a?[b]%_\\*", DbBackend::Postgres), form("%a?[b]\\%\\_\\\\%"));
        assert_eq!(NamePattern::of("a%", DbBackend::Postgres), NamePattern::Equals("a%".to_owned()));
    }

    #[test]
    fn a_pattern_is_as_long_as_a_name_may_be() {
        let of = |filter: &str| NamePattern::of(filter, DbBackend::Sqlite);
        assert_ne!(of(&"é*".repeat(DeviceName::MAX_CHARS)), NamePattern::Nothing);
        assert_eq!(of(&"é*".repeat(DeviceName::MAX_CHARS + 1)), NamePattern::Nothing);
        assert_eq!(of("a\0*"), NamePattern::Nothing);
    }
}
