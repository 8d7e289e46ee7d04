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
        let Self { text, kind } = Self::of_file(&data_dir.join("pocket.db"));
        Self { text: format!("{text}?mode=rwc"), kind }
    }

    /// The SQLite database in a file that exists.
    pub fn of_file(file: &Path) -> Self {
        // `?` and `#` end the path of a URL and `%` begins an escape; a directory may have them in its name.
        let escaped = file.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self { text: format!("sqlite://{escaped}"), kind: DatabaseKind::Sqlite }
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
        f.write_str(&without_secrets(&self.text))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// What of an address may be shown: of a file its path and how it is opened, of a server its host, port and database. User,
/// password and parameters are left out, and so is all of an address in which it cannot be told where a password ends.
pub(super) fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return HIDDEN.to_owned() };
    match scheme {
        "memory" if rest.is_empty() => url.to_owned(),
        "sqlite" => file(rest).map_or_else(|| hidden(scheme), |shown| format!("sqlite:{shown}")),
        "postgres" | "postgresql" => server(rest).map_or_else(|| hidden(scheme), |shown| format!("{scheme}://{shown}")),
        _ => HIDDEN.to_owned(),
    }
}

/// In place of what is not shown.
const HIDDEN: &str = "***";

fn hidden(scheme: &str) -> String {
    format!("{scheme}://{HIDDEN}")
}

/// The path, and parameters that are known to be no secrets.
fn file(rest: &str) -> Option<String> {
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let is_known =
        |parameter: &&str| ["mode=", "cache=", "immutable="].iter().any(|known| parameter.starts_with(known));
    let shown: Vec<&str> = parameters.split('&').filter(is_known).collect();
    let separator = if shown.is_empty() { "" } else { "?" };
    (!path.contains('@')).then(|| format!("{path}{separator}{}", shown.join("&")))
}

/// Host, port and database; nothing when there is anything that these do not have.
fn server(rest: &str) -> Option<String> {
    let rest = rest.strip_prefix("//")?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // An `@` further on belongs to a password that has one of these characters.
    if behind.contains('@') {
        return None;
    }
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || ".-_%".contains(c) || (host.starts_with('[') && "[]:".contains(c));
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit());
    if !host.chars().all(is_host) || !port.is_none_or(is_port) {
        return None;
    }
    let database = behind.split(['?', '#']).next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "/._-%".contains(c);
    database.chars().all(is_name).then(|| format!("{place}{database}"))
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
    fn host_and_database_are_shown_and_no_secret() {
        for (text, shown) in [
            ("postgres://me:secret@host:5432/db", "postgres://host:5432/db"),
            ("postgres://me:se@secret@host/db", "postgres://host/db"),
            ("postgresql://me@host/db?password=secret&sslmode=disable", "postgresql://host/db"),
            ("postgres://me@host/db?%70assword=secret", "postgres://host/db"),
            ("postgres://me@[::1]:5432/db?sslpassword=secret", "postgres://[::1]:5432/db"),
            ("postgres:///db?host=/run/postgresql&password=secret", "postgres:///db"),
            ("sqlite://data/pocket.db?mode=rwc", "sqlite://data/pocket.db?mode=rwc"),
            ("sqlite:pocket.db?key=secret&mode=ro", "sqlite:pocket.db?mode=ro"),
            ("memory:", "memory:"),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.expose(), text);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn an_address_in_which_a_password_has_no_end_is_not_shown() {
        for text in [
            "postgres://me:12?secret@host/db",
            "postgres://me:12/secret@host/db",
            "postgres://me:12#secret@host/db",
            "postgres://me:secret",
            "postgres://me:secret:5432/db",
            "postgres://me:secret host/db",
            "postgres://host/db secret",
            "postgres://host/db?password=secret@x",
        ] {
            let shown = without_secrets(text);
            assert_eq!(shown, "postgres://***", "{text}");
        }
        for text in ["mysql://me:secret@host/db", "secret", "", "memory:secret"] {
            assert_eq!(without_secrets(text), "***", "{text}");
        }
    }

    #[test]
    fn the_path_of_the_data_directory_is_escaped() {
        let url = DatabaseUrl::in_data_dir(Path::new("/srv/50%?#"));
        assert_eq!(url.expose(), "sqlite:///srv/50%25%3F%23/pocket.db?mode=rwc");
    }
}
