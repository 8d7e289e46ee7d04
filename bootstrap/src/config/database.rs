//! The address of the database, whose scheme picks the storage adapter.

use std::fmt;
use std::path::Path;

use super::rule::Rule;

/// The storage adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file on this machine.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
    /// Nothing is kept beyond the process.
    Memory,
}

impl DatabaseKind {
    /// The word of `DB_ADAPTER`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Memory => "memory",
        }
    }

    /// The Cargo feature that builds the adapter in.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Sqlite => "storage-sqlite",
            Self::Postgres => "storage-postgres",
            Self::Memory => "storage-memory",
        }
    }
}

/// The address of a database. It may carry a password, which `Debug` and `Display` leave out.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    kind: DatabaseKind,
}

impl DatabaseUrl {
    /// Parses an address; `None` when its scheme is not known or nothing follows it.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match text.split_once(':')? {
            ("sqlite", rest) if !rest.trim_start_matches('/').is_empty() => DatabaseKind::Sqlite,
            ("postgres" | "postgresql", rest) if rest.len() > 2 && rest.starts_with("//") => DatabaseKind::Postgres,
            ("memory", "") => DatabaseKind::Memory,
            _ => return None,
        };
        Some(Self { text: text.to_owned(), kind })
    }

    /// The database in the data directory, which is used when no other is named.
    pub fn in_data_dir(data_dir: &Path) -> Self {
        // `?` and `#` end the path of a URL and `%` begins an escape; a directory may have them in its name.
        let path = data_dir.join("pocket.db").to_string_lossy().into_owned();
        let escaped = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self { text: format!("sqlite://{escaped}?mode=rwc"), kind: DatabaseKind::Sqlite }
    }

    /// Which adapter it belongs to.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The whole address, with its password.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.text))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The address with `***` in place of a password, which may stand before the host or among the parameters.
pub(super) fn without_password(url: &str) -> String {
    let (address, parameters) = url.split_once('?').map_or((url, None), |(address, rest)| (address, Some(rest)));
    let mut text = match address.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (login, host))) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    for (place, parameter) in parameters.into_iter().flat_map(|all| all.split('&')).enumerate() {
        text.push(if place == 0 { '?' } else { '&' });
        text.push_str(if parameter.starts_with("password=") { "password=***" } else { parameter });
    }
    text
}

/// The rule of `POCKET_DATABASE_URL`.
pub(super) struct Url;

impl Rule<DatabaseUrl> for Url {
    fn parse(&self, text: &str) -> Option<DatabaseUrl> {
        DatabaseUrl::parse(text)
    }

    fn allowed(&self) -> String {
        "sqlite://FILE, postgres://USER:PASSWORD@HOST/DATABASE or memory:".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_picks_the_adapter() {
        for (text, kind) in [
            ("sqlite://data/pocket.db?mode=rwc", DatabaseKind::Sqlite),
            ("sqlite:pocket.db", DatabaseKind::Sqlite),
            ("postgres://pocket@localhost/pocket", DatabaseKind::Postgres),
            ("postgresql://pocket@localhost/pocket", DatabaseKind::Postgres),
            ("memory:", DatabaseKind::Memory),
        ] {
            assert_eq!(DatabaseUrl::parse(text).unwrap().kind(), kind, "{text}");
        }
        for wrong in ["", "pocket.db", "mysql://localhost/pocket", "sqlite:", "sqlite://", "postgres:", "memory"] {
            assert!(DatabaseUrl::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (text, shown) in [
            ("postgres://me:secret@host:5432/db", "postgres://me:***@host:5432/db"),
            ("postgres://me:se@cret@host/db", "postgres://me:***@host/db"),
            (
                "postgres://me@host/db?password=secret&sslmode=disable",
                "postgres://me@host/db?password=***&sslmode=disable",
            ),
            ("sqlite://data/pocket.db?mode=rwc", "sqlite://data/pocket.db?mode=rwc"),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.expose(), text);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn the_path_of_the_data_directory_is_escaped() {
        let url = DatabaseUrl::in_data_dir(Path::new("/srv/50%?#"));
        assert_eq!(url.expose(), "sqlite:///srv/50%25%3F%23/pocket.db?mode=rwc");
    }
}
