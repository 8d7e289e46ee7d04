//! Rows as one parameter of a statement: a JSON array of arrays that the database reads as a table. The text of the
//! statement is the same for any number of rows, so it is prepared once.

use sea_orm::DbBackend;

/// What a column holds; any of it may be null.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// A UUID without hyphens.
    Id,
    Integer,
    Text,
}

/// The beginning of a statement of which `$1` is the array: `WITH rows AS (…)`, with a column for each place.
pub(crate) fn with(backend: DbBackend, columns: &[(&str, Column)]) -> String {
    let column = |(place, (name, kind)): (usize, &(&str, Column))| {
        let read = match (backend, kind) {
            (DbBackend::Postgres, Column::Id) => format!("(value ->> {place})::uuid"),
            (DbBackend::Postgres, Column::Integer) => format!("(value ->> {place})::bigint"),
            (_, Column::Id) => format!("unhex(value ->> {place})"),
            _ => format!("value ->> {place}"),
        };
        format!("{read} AS {name}")
    };
    let columns: Vec<String> = columns.iter().enumerate().map(column).collect();
    let each = match backend {
        DbBackend::Postgres => "jsonb_array_elements($1::jsonb)",
        _ => "json_each($1)",
    };
    format!("WITH rows AS (SELECT {} FROM {each})", columns.join(", "))
}

/// A text that both databases keep: PostgreSQL refuses U+0000, and one such text must not keep other rows out.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_what_they_hold() {
        let columns = [("id", Column::Id), ("at", Column::Integer), ("name", Column::Text)];
        assert_eq!(
            with(DbBackend::Sqlite, &columns),
            "WITH rows AS (SELECT unhex(value ->> 0) AS id, value ->> 1 AS at, value ->> 2 AS name FROM json_each($1))"
        );
        assert_eq!(
            with(DbBackend::Postgres, &columns),
            "WITH rows AS (SELECT (value ->> 0)::uuid AS id, (value ->> 1)::bigint AS at, value ->> 2 AS name \
            FROM jsonb_array_elements($1::jsonb))"
        );
    }
}
