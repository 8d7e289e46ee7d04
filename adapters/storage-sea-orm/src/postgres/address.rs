//! The address of a PostgreSQL server, with the parameters that libpq knows.
//!
//! What concerns encryption is never passed over: a parameter that this program cannot follow is refused, so that nobody believes in
//! a protection that is not there. Other parameters that it does not have are passed over, and named in the log without their values.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::OpenError;

/// How a server sees who connects.
const APPLICATION: &str = "pocket-iot";

/// Parameters that the driver reads.
const READ: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];
/// Other names of parameters, as other drivers have them.
const ALIASES: &[(&str, &str)] = &[
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
];
/// Parameters about encryption or identity that are not followed, and the values with which they ask for nothing.
const REFUSED: &[(&str, &[&str])] = &[
    ("sslpassword", &[]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslcertmode", &["allow"]),
    ("sslnegotiation", &["postgres"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("requiressl", &["0"]),
    ("require_auth", &[]),
    ("requirepeer", &[]),
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
    ("service", &[]),
    ("passfile", &[]),
];
/// Parameters that make no difference here.
const WITHOUT_EFFECT: &[&str] = &[
    "connect_timeout",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "client_encoding",
    "target_session_attrs",
    "load_balance_hosts",
    "sslcompression",
    "sslsni",
    "krbsrvname",
    "pgbouncer",
];

/// A server, and how it is to be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    options: PgConnectOptions,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// `Options` with what is wrong; a password is never repeated.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let mut kept: Vec<String> = Vec::new();
        let mut tls = Tls::of_environment();
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
            if !tls.read(name, value)? && is_kept(name, value)? {
                kept.push(format!("{name}={value}"));
            }
        }
        let separator = if kept.is_empty() { "" } else { "?" };
        let plain = format!("{place}{separator}{}", kept.join("&"));
        let options = PgConnectOptions::from_str(&plain)
            .map_err(|error| OpenError::Options(format!("the database URL cannot be read: {error}")))?;
        let options = tls.apply(options)?;
        // Poolers do not know this parameter of a new session. Numbers with a point travel in binary, or as the server has them.
        let options = options.extra_float_digits(None).application_name(APPLICATION).disable_statement_logging();
        Ok(Self { options })
    }

    /// The options of the driver, with another way to encrypt.
    pub(crate) fn with_mode(&self, mode: PgSslMode) -> PgConnectOptions {
        self.options.clone().ssl_mode(mode)
    }

    /// Host and port, or the socket of the machine.
    pub(crate) fn shown(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }

    /// Host and port; `None` for a socket of this machine.
    pub(crate) fn host(&self) -> Option<(&str, u16)> {
        let is_socket = self.options.get_socket().is_some() || self.options.get_host().starts_with('/');
        (!is_socket).then(|| (self.options.get_host(), self.options.get_port()))
    }

    /// How the connection is to be encrypted.
    pub(crate) fn mode(&self) -> PgSslMode {
        self.options.get_ssl_mode()
    }

    /// The ways to encrypt that are tried, the preferred one first.
    pub(crate) fn attempts(&self) -> &'static [PgSslMode] {
        use PgSslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        // libpq: sockets of the machine are never encrypted.
        if self.host().is_none() {
            return &[Disable];
        }
        match self.mode() {
            Disable => &[Disable],
            Allow => &[Disable, Require],
            Prefer => &[Prefer, Disable],
            Require => &[Require],
            VerifyCa => &[VerifyCa],
            VerifyFull => &[VerifyFull],
        }
    }
}

/// Whether the driver gets a parameter.
fn is_kept(name: &str, value: &str) -> Result<bool, OpenError> {
    if READ.contains(&name) || name.starts_with("options[") {
        return Ok(true);
    }
    if let Some((_, harmless)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        if harmless.contains(&value) {
            return Ok(false);
        }
        return Err(OpenError::Options(format!("the database URL has {name}, which this program cannot follow")));
    }
    if !WITHOUT_EFFECT.contains(&name) {
        tracing::warn!(parameter = name, "the database URL has a parameter that is not known");
    }
    Ok(false)
}

/// What the address says of encryption.
#[derive(Default)]
struct Tls {
    mode: Option<PgSslMode>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Tls {
    /// As libpq reads it from the environment.
    fn of_environment() -> Self {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { root: of("PGSSLROOTCERT"), certificate: of("PGSSLCERT"), key: of("PGSSLKEY"), mode: None }
    }

    /// Takes a parameter; `false` when it is of another kind.
    fn read(&mut self, name: &str, value: &str) -> Result<bool, OpenError> {
        let text = decode(value);
        match name {
            "sslmode" => self.mode = Some(mode(&text)?),
            // Of other drivers.
            "ssl" if text == "true" || text == "1" => self.mode = Some(PgSslMode::Require),
            "ssl" if text == "false" || text == "0" => self.mode = Some(PgSslMode::Disable),
            "ssl" => return Err(OpenError::Options("ssl in the database URL must be true or false".into())),
            "sslrootcert" => self.root = Some(text),
            "sslcert" => self.certificate = Some(text),
            "sslkey" => self.key = Some(text),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn apply(self, mut options: PgConnectOptions) -> Result<PgConnectOptions, OpenError> {
        let mut mode = self.mode.unwrap_or(options.get_ssl_mode());
        let is_encrypted = !matches!(mode, PgSslMode::Disable);
        if self.root.as_deref() == Some("system") {
            // libpq: anybody can have a certificate of a public authority, so only the name tells.
            if !matches!(mode, PgSslMode::VerifyFull) {
                return Err(OpenError::Options("sslrootcert=system needs sslmode=verify-full".into()));
            }
        } else if is_encrypted && let Some(root) = self.root.map(PathBuf::from).or_else(|| of_home("root.crt")) {
            check_file("sslrootcert", &root)?;
            options = options.ssl_root_cert(&root);
            // libpq: where an authority is named, it is asked.
            if matches!(mode, PgSslMode::Require) {
                mode = PgSslMode::VerifyCa;
            }
        }
        let certificate = self.certificate.map(PathBuf::from).or_else(|| of_home("postgresql.crt"));
        let key = self.key.map(PathBuf::from).or_else(|| of_home("postgresql.key"));
        match (certificate, key) {
            (Some(certificate), Some(key)) if is_encrypted => {
                check_file("sslcert", &certificate)?;
                check_file("sslkey", &key)?;
                options = options.ssl_client_cert(&certificate).ssl_client_key(&key);
            }
            (Some(_), None) if is_encrypted => {
                return Err(OpenError::Options("the database URL has sslcert and no sslkey".into()));
            }
            (None, Some(_)) if is_encrypted => {
                return Err(OpenError::Options("the database URL has sslkey and no sslcert".into()));
            }
            _ => {}
        }
        Ok(options.ssl_mode(mode))
    }
}

fn mode(text: &str) -> Result<PgSslMode, OpenError> {
    Ok(match text {
        "disable" => PgSslMode::Disable,
        "allow" => PgSslMode::Allow,
        "prefer" => PgSslMode::Prefer,
        "require" => PgSslMode::Require,
        "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        other => {
            let other: String = other.chars().take(32).collect();
            return Err(OpenError::Options(format!(
                "sslmode={other} in the database URL: must be disable, allow, prefer, require, verify-ca or verify-full"
            )));
        }
    })
}

/// A file where libpq looks for it, if it is there.
fn of_home(name: &str) -> Option<PathBuf> {
    let file = Path::new(&std::env::var_os("HOME").filter(|home| !home.is_empty())?).join(".postgresql").join(name);
    file.is_file().then_some(file)
}

/// The driver does not say which of its files is not there.
fn check_file(parameter: &str, file: &Path) -> Result<(), OpenError> {
    let text = std::fs::read(file).map_err(|error| {
        OpenError::Options(format!("{parameter}={}: cannot read the file: {error}", file.display()))
    })?;
    let begins = text.windows(11).any(|window| window == b"-----BEGIN ");
    begins.then_some(()).ok_or_else(|| OpenError::Options(format!("{parameter}={}: is no PEM file", file.display())))
}

/// Decodes the value of a parameter.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = if byte.is_some() { &tail[2..] } else { tail };
        decoded.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(parameters: &str) -> String {
        Address::parse(&format!("postgres://me:hunter2@host/db?{parameters}")).unwrap_err().to_string()
    }

    #[test]
    fn each_mode_of_libpq_is_known_and_no_other() {
        for (text, attempts) in [
            ("disable", &[PgSslMode::Disable][..]),
            ("allow", &[PgSslMode::Disable, PgSslMode::Require]),
            ("prefer", &[PgSslMode::Prefer, PgSslMode::Disable]),
            ("require", &[PgSslMode::Require]),
            ("verify-ca", &[PgSslMode::VerifyCa]),
            ("verify-full", &[PgSslMode::VerifyFull]),
        ] {
            let address = Address::parse(&format!("postgres://me@host/db?sslmode={text}")).unwrap();
            assert_eq!(format!("{:?}", address.attempts()), format!("{attempts:?}"), "{text}");
        }
        for wrong in ["", "on", "Require", "verify_full"] {
            let told = problem(&format!("sslmode={wrong}"));
            assert!(told.contains("verify-full") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_socket_of_the_machine_is_never_encrypted() {
        for url in ["postgres:///db?host=/run/postgresql&sslmode=require", "postgres://me@%2Frun%2Fpostgresql/db"] {
            let address = Address::parse(url).unwrap();
            assert!(matches!(address.attempts(), [PgSslMode::Disable]), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_its_name() {
        for refused in [
            "sslpassword=x",
            "sslcrl=a.pem",
            "channel_binding=require",
            "sslnegotiation=direct",
            "require_auth=scram-sha-256",
        ] {
            let told = problem(refused);
            assert!(told.contains(refused.split('=').next().unwrap()) && !told.contains("hunter2"), "{told}");
        }
        for harmless in
            ["channel_binding=prefer", "connect_timeout=5", "gssencmode=disable", "pgbouncer=true", "other=secret"]
        {
            assert!(Address::parse(&format!("postgres://me@host/db?{harmless}")).is_ok(), "{harmless}");
        }
    }

    #[test]
    fn files_are_named_when_they_cannot_be_read() {
        let told = problem("sslmode=verify-full&sslrootcert=/nowhere/ca%20of%20mine.pem");
        assert!(told.contains("sslrootcert=/nowhere/ca of mine.pem"), "{told}");
        assert!(problem("sslmode=require&sslcert=/nowhere/a.pem").contains("no sslkey"));
        assert!(problem("sslmode=require&sslkey=/nowhere/a.pem").contains("no sslcert"));
        assert!(problem("sslmode=verify-ca&sslrootcert=system").contains("verify-full"));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(problem(&format!("sslmode=require&sslrootcert={}", file.path().display())).contains("no PEM file"));
    }

    #[test]
    fn an_authority_that_is_named_is_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let of = |mode: &str| {
            Address::parse(&format!("postgres://me@host/db?sslmode={mode}&sslrootcert={}", file.path().display()))
                .unwrap()
        };
        assert!(matches!(of("require").mode(), PgSslMode::VerifyCa));
        assert!(matches!(of("prefer").mode(), PgSslMode::Prefer));
        assert!(matches!(Address::parse("postgres://me@host/db?ssl=true").unwrap().mode(), PgSslMode::Require));
    }
}
