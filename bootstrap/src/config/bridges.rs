//! Bridges to other brokers: the tables `[[bridge]]` of the configuration file. User names and passwords may come from the environment.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use pocket_domain::{DeviceId, DeviceName, TenantName, TopicFilter, TopicName};
use serde::Deserialize;

use super::Secret;
use super::origin::Origin;
use super::problem::Problem;

/// The key of the tables.
pub(super) const KEY: &str = "bridge";
/// The most bridges.
const MOST: usize = 100;
/// How names in the environment begin: `POCKET_BRIDGE_<NAME>_USER`, `_PASSWORD` and `_PASSWORD_FILE`.
pub(super) const PREFIX: &str = "POCKET_BRIDGE_";

/// A bridge to another broker.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// Its name.
    pub name: String,
    /// The other broker's name or address, and its port.
    pub host: String,
    /// The other broker's port.
    pub port: u16,
    /// How the connection is encrypted, if it is.
    pub tls: Option<BridgeTls>,
    /// Whether 5.0 is spoken; otherwise 3.1.1.
    pub is_version_5: bool,
    /// The client id there, where it is not made of the device's id.
    pub client_id: Option<String>,
    /// The user name there.
    pub user: Option<String>,
    /// The password there.
    pub password: Option<Secret>,
    /// The tenant on this side.
    pub tenant: TenantName,
    /// The device on this side.
    pub device: BridgeDeviceSetting,
    /// The keep-alive in seconds.
    pub keep_alive: u16,
    /// Whether the session there is begun anew at each connection.
    pub clean_start: bool,
    /// Which messages go where.
    pub topics: Vec<BridgeTopic>,
}

/// Files of TLS to the other broker.
#[derive(Clone, Debug, Default)]
pub struct BridgeTls {
    /// Authorities that are trusted; without it, the public ones.
    pub ca: Option<PathBuf>,
    /// A certificate to be shown.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Which device a bridge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeDeviceSetting {
    /// The one of this id.
    Id(DeviceId),
    /// The one of this name, registered when it is not there.
    Named(DeviceName),
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BridgeDirection {
    /// From the other broker.
    In,
    /// To the other broker.
    Out,
    /// Both ways.
    Both,
}

/// Messages that go to the other side.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeTopic {
    /// A filter, below both prefixes.
    pub filter: String,
    /// Which way.
    pub direction: BridgeDirection,
    /// Before the topic on this side.
    #[serde(default)]
    pub local_prefix: String,
    /// Before the topic on the other side.
    #[serde(default)]
    pub remote_prefix: String,
    /// The highest QoS.
    #[serde(default = "at_least_once")]
    pub qos: u8,
}

fn at_least_once() -> u8 {
    1
}

/// A table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    url: String,
    client_id: Option<String>,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    tenant: Option<String>,
    device: Option<String>,
    version: Option<String>,
    keep_alive: Option<u16>,
    #[serde(default)]
    clean_start: bool,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    topics: Vec<BridgeTopic>,
}

/// Reads the tables. Everything that is wrong with them goes to `problems`.
pub(super) fn read(value: &toml::Value, origin: &Origin, problems: &mut Vec<Problem>) -> Vec<BridgeSettings> {
    let tables = match value {
        toml::Value::Array(tables) if tables.iter().all(toml::Value::is_table) => tables,
        _ => {
            problems.push(Problem::new(format!("{origin}: {KEY} must be tables, each under [[{KEY}]]")));
            return Vec::new();
        }
    };
    if tables.len() > MOST {
        problems
            .push(Problem::new(format!("{origin}: there are {} bridges, more than the {MOST} allowed", tables.len())));
        return Vec::new();
    }
    let (mut bridges, mut names) = (Vec::new(), BTreeSet::new());
    for (number, table) in tables.iter().enumerate() {
        let shown =
            table.get("name").and_then(toml::Value::as_str).map_or_else(|| (number + 1).to_string(), str::to_owned);
        let mut told = |what: String| problems.push(Problem::new(format!("{origin}: bridge {shown}: {what}")));
        let read = table.clone().try_into::<Table>().map_err(|error| vec![first_line(&error.to_string())]);
        match read.and_then(bridge) {
            Ok(bridge) if !names.insert(bridge.name.clone()) => told("there is another of this name".to_owned()),
            Ok(bridge) => bridges.push(bridge),
            Err(wrong) => wrong.into_iter().for_each(&mut told),
        }
    }
    bridges
}

/// The rest of what the parser says repeats the text, which may hold a secret.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn bridge(table: Table) -> Result<BridgeSettings, Vec<String>> {
    let mut wrong = Vec::new();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=32).contains(&table.name.len()) || !table.name.chars().all(is_name) {
        wrong.push("name must be 1 to 32 characters of a-z, 0-9 and '-'".to_owned());
    }
    let place = place(&table.url).unwrap_or_else(|told| {
        wrong.push(format!("url {told}"));
        Place { host: String::new(), port: 1, is_encrypted: true }
    });
    let is_version_5 = match table.version.as_deref() {
        None | Some("5" | "5.0") => true,
        Some("3.1.1") => false,
        Some(other) => {
            wrong.push(format!("version={other:?}: must be \"5.0\" or \"3.1.1\""));
            true
        }
    };
    let tenant = TenantName::parse(table.tenant.as_deref().unwrap_or("default"));
    let device = device(&table);
    for text in [&table.client_id, &table.user].into_iter().flatten() {
        if text.is_empty() || text.len() > usize::from(u16::MAX) || text.contains('\0') {
            wrong.push("client_id and user must be 1 to 65535 bytes without U+0000".to_owned());
        }
    }
    let password = password(&table).unwrap_or_else(|told| {
        wrong.push(told);
        None
    });
    let (ca, certificate, key) = (table.ca, table.cert, table.key);
    let tls = if place.is_encrypted {
        if certificate.is_some() != key.is_some() {
            wrong.push("cert and key belong together".to_owned());
        }
        for (name, file) in [("ca", &ca), ("cert", &certificate), ("key", &key)] {
            if let Some(file) = file
                && let Err(error) = std::fs::read(file)
            {
                wrong.push(format!("{name}={} cannot be read: {error}", file.display()));
            }
        }
        Some(BridgeTls { ca, certificate, key })
    } else {
        if ca.is_some() || certificate.is_some() || key.is_some() {
            wrong.push("ca, cert and key are for url = \"mqtts://…\"".to_owned());
        }
        None
    };
    if table.topics.is_empty() {
        wrong.push("topics is empty: name at least one, such as { filter = \"#\", direction = \"out\" }".to_owned());
    }
    wrong.extend(table.topics.iter().filter_map(|topic| check(topic).err()));
    match (tenant, device) {
        (Ok(tenant), Ok(device)) if wrong.is_empty() => Ok(BridgeSettings {
            name: table.name,
            host: place.host,
            port: place.port,
            tls,
            is_version_5,
            client_id: table.client_id,
            user: table.user,
            password,
            tenant,
            device,
            keep_alive: table.keep_alive.unwrap_or(60),
            clean_start: table.clean_start,
            topics: table.topics,
        }),
        (tenant, device) => {
            wrong.extend(tenant.err().map(|error| format!("tenant {}", error.message)));
            wrong.extend(device.err());
            Err(wrong)
        }
    }
}

fn device(table: &Table) -> Result<BridgeDeviceSetting, String> {
    let Some(device) = &table.device else {
        let name =
            DeviceName::parse(&format!("bridge {}", table.name)).map_err(|error| format!("name {}", error.message))?;
        return Ok(BridgeDeviceSetting::Named(name));
    };
    match device.parse() {
        Ok(id) => Ok(BridgeDeviceSetting::Id(id)),
        Err(_) => {
            let name = DeviceName::parse(device).map_err(|error| format!("device {}", error.message))?;
            Ok(BridgeDeviceSetting::Named(name))
        }
    }
}

fn password(table: &Table) -> Result<Option<Secret>, String> {
    match (&table.password, &table.password_file) {
        (Some(_), Some(_)) => Err("password and password_file are both set; keep one".to_owned()),
        (Some(password), None) => Ok(Some(Secret::new(password.clone()))),
        (None, Some(file)) => {
            of_file(file).map(Some).map_err(|error| format!("password_file={}: {error}", file.display()))
        }
        (None, None) => Ok(None),
    }
}

fn of_file(file: &std::path::Path) -> std::io::Result<Secret> {
    Ok(Secret::new(std::fs::read_to_string(file)?.trim_end_matches(['\r', '\n'])))
}

struct Place {
    host: String,
    port: u16,
    is_encrypted: bool,
}

fn place(url: &str) -> Result<Place, String> {
    let allowed = "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]";
    let (scheme, rest) = url.split_once("://").ok_or(allowed)?;
    let is_encrypted = match scheme {
        "mqtt" | "tcp" => false,
        "mqtts" | "ssl" | "tls" => true,
        _ => return Err(allowed.to_owned()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err(format!("{allowed}; name the user by user, and the password by password_file"));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        None => {
            if is_encrypted {
                8_883
            } else {
                1_883
            }
        }
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(allowed)?,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(allowed.to_owned());
    }
    Ok(Place { host: host.to_owned(), port, is_encrypted })
}

fn check(topic: &BridgeTopic) -> Result<(), String> {
    let of = |what: String| format!("topic {:?}: {what}", topic.filter);
    if topic.qos > 1 {
        return Err(of("qos must be 0 or 1".to_owned()));
    }
    for (name, prefix) in [("local_prefix", &topic.local_prefix), ("remote_prefix", &topic.remote_prefix)] {
        TopicName::parse(&format!("{prefix}x")).map_err(|error| of(format!("{name} {}", error.message)))?;
        if prefix.starts_with('$') {
            return Err(of(format!("{name} must not begin with $: such topics belong to a broker")));
        }
        let whole = format!("{prefix}{}", topic.filter);
        TopicFilter::parse(&whole).map_err(|error| of(format!("with {name}: {}", error.message)))?;
        if whole.starts_with('$') {
            return Err(of("must not begin with $: such topics belong to a broker".to_owned()));
        }
    }
    Ok(())
}

/// User names and passwords of bridges that stand in the environment.
pub(super) fn lay_environment(
    bridges: &mut [BridgeSettings],
    variables: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let ours = variables.iter().filter_map(|(name, value)| Some((name.to_str()?.strip_prefix(PREFIX)?, value)));
    for (rest, value) in ours {
        let found = bridges.iter_mut().find_map(|bridge| {
            let begin = bridge.name.to_ascii_uppercase().replace('-', "_");
            let what = rest.strip_prefix(&begin)?.to_owned();
            matches!(&*what, "_USER" | "_PASSWORD" | "_PASSWORD_FILE").then_some((bridge, what))
        });
        match found {
            None => warnings
                .push(format!("{PREFIX}{rest} in the environment belongs to no bridge of the configuration file")),
            Some((bridge, what)) => {
                if let Err(told) = take(bridge, &what, value) {
                    problems.push(Problem::new(format!("{PREFIX}{rest} (environment): {told}")));
                }
            }
        }
    }
}

fn take(bridge: &mut BridgeSettings, what: &str, value: &OsStr) -> Result<(), String> {
    match (what, value.to_str()) {
        ("_PASSWORD_FILE", _) => {
            let file = std::path::Path::new(value);
            bridge.password = Some(of_file(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?);
        }
        (_, None) => return Err("is not UTF-8".to_owned()),
        ("_USER", Some(user)) => bridge.user = Some(user.to_owned()),
        (_, Some(password)) => bridge.password = Some(Secret::new(password)),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
