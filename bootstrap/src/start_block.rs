//! What a person reads once at start: where things are, how to log in, how a device publishes. Meant for pasting.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use pocket_domain::{Password, Username};

use crate::reachable::reachable;

/// What the block tells. Addresses are those that were bound, so a port 0 has become a real one.
#[derive(Clone, Debug)]
pub struct StartBlock {
    /// Where REST listens, if it does.
    pub api: Option<SocketAddr>,
    /// Where MQTT listens, if it does, each address with its scheme.
    pub mqtt: Vec<(&'static str, SocketAddr)>,
    /// The database, without its password.
    pub database: String,
    /// The data directory.
    pub data_dir: String,
    /// The administrator who was made just now.
    pub admin: Option<(Username, FirstPassword)>,
}

/// Where the password of the first administrator is to be had.
#[derive(Clone, Debug)]
pub enum FirstPassword {
    /// Somebody chose it.
    Configured,
    /// It was generated, and is told here.
    Told(Password),
    /// It was generated, and is in this file, because the output is read by programs.
    InFile(PathBuf),
}

impl StartBlock {
    fn login(&self, f: &mut Formatter<'_>, api: SocketAddr) -> fmt::Result {
        let (mut username, mut password) = ("admin", "PASSWORD");
        if let Some((first, where_it_is)) = &self.admin {
            username = first.as_str();
            write!(f, "  First administrator: {username}, password ")?;
            match where_it_is {
                FirstPassword::Configured => writeln!(f, "as configured")?,
                FirstPassword::Told(told) => {
                    password = told.expose();
                    writeln!(f, "{password} (shown only now)")?;
                }
                FirstPassword::InFile(file) => writeln!(f, "in {} (read it, and remove the file)", file.display())?,
            }
        }
        writeln!(f, "  Log in:")?;
        writeln!(f, "    curl -sS http://{api}/api/v1/auth/login -H 'content-type: application/json' \\")?;
        writeln!(f, "      -d '{{\"username\":\"{username}\",\"password\":\"{password}\"}}'")
    }
}

impl StartBlock {
    /// `mosquitto_pub` knows TCP and TLS.
    fn publish(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let over = |wanted: &str| self.mqtt.iter().find(|(scheme, _)| *scheme == wanted);
        let Some((scheme, address)) = over("mqtt").or_else(|| over("mqtts")) else { return Ok(()) };
        let (host, port) = (reachable(*address).ip(), address.port());
        let trust = if *scheme == "mqtts" { " --cafile CA.pem" } else { "" };
        writeln!(f, "  Publish as a device (POST /api/v1/devices gives DEVICE_ID and DEVICE_TOKEN):")?;
        writeln!(f, "    mosquitto_pub -h {host} -p {port}{trust} -u DEVICE_ID -P DEVICE_TOKEN \\")?;
        writeln!(f, "      -t sensors/temperature -q 1 -m '{{\"celsius\":21.5}}'")
    }
}

impl Display for StartBlock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "pocket-iot {} is ready", env!("CARGO_PKG_VERSION"))?;
        if let Some(api) = self.api.map(reachable) {
            writeln!(f, "  REST API:  http://{api}")?;
        }
        for (scheme, address) in &self.mqtt {
            let path = if scheme.starts_with("ws") { "/mqtt" } else { "" };
            writeln!(f, "  MQTT:      {scheme}://{}{path}", reachable(*address))?;
        }
        writeln!(f, "  Data:      {} ({})", self.data_dir, self.database)?;
        if let Some(api) = self.api.map(reachable) {
            self.login(f, api)?;
        }
        self.publish(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> StartBlock {
        StartBlock {
            api: Some("0.0.0.0:3000".parse().unwrap()),
            mqtt: vec![("mqtt", "[::]:1883".parse().unwrap())],
            database: "sqlite://./data/pocket.db?mode=rwc".into(),
            data_dir: "./data".into(),
            admin: Some((Username::parse("admin").unwrap(), FirstPassword::Told(Password::generate([0; 20])))),
        }
    }

    #[test]
    fn a_first_start_shows_the_generated_password_ready_to_paste() {
        let text = block().to_string();
        let password = "a".repeat(20);
        assert!(text.contains(&format!("First administrator: admin, password {password} (shown only now)")), "{text}");
        assert!(text.contains(&format!(r#"-d '{{"username":"admin","password":"{password}"}}'"#)), "{text}");
        assert!(text.contains("REST API:  http://127.0.0.1:3000\n"), "{text}");
        assert!(text.contains("mosquitto_pub -h ::1 -p 1883 -u DEVICE_ID -P DEVICE_TOKEN"), "{text}");
    }

    #[test]
    fn a_password_that_somebody_chose_is_not_shown() {
        let admin = Some((Username::parse("ann").unwrap(), FirstPassword::Configured));
        let text = StartBlock { admin, ..block() }.to_string();
        assert!(text.contains("First administrator: ann, password as configured"), "{text}");
        assert!(text.contains(r#""password":"PASSWORD""#), "{text}");
    }

    #[test]
    fn a_password_in_a_file_is_not_shown() {
        let admin = Some((Username::parse("admin").unwrap(), FirstPassword::InFile("./data/first-password".into())));
        let text = StartBlock { admin, ..block() }.to_string();
        assert!(text.contains("First administrator: admin, password in ./data/first-password"), "{text}");
        assert!(text.contains(r#""password":"PASSWORD""#), "{text}");
    }

    #[test]
    fn a_later_start_has_no_credentials() {
        let text = StartBlock { admin: None, ..block() }.to_string();
        assert!(!text.contains("First administrator"), "{text}");
    }

    #[test]
    fn every_way_to_reach_the_broker_is_shown() {
        let others = [("mqtts", "0.0.0.0:8883"), ("ws", "0.0.0.0:8083"), ("wss", "10.0.0.1:8084")]
            .map(|(scheme, address)| (scheme, address.parse().unwrap()));
        let text = StartBlock { mqtt: [block().mqtt, others.to_vec()].concat(), ..block() }.to_string();
        for line in
            ["mqtt://[::1]:1883", "mqtts://127.0.0.1:8883", "ws://127.0.0.1:8083/mqtt", "wss://10.0.0.1:8084/mqtt"]
        {
            assert!(text.contains(&format!("  MQTT:      {line}\n")), "{text}");
        }
        let text = StartBlock { mqtt: others.to_vec(), ..block() }.to_string();
        assert!(text.contains("mosquitto_pub -h 127.0.0.1 -p 8883 --cafile CA.pem -u DEVICE_ID"), "{text}");
        let text = StartBlock { mqtt: others[1..].to_vec(), ..block() }.to_string();
        assert!(!text.contains("mosquitto_pub"), "{text}");
    }

    #[test]
    fn only_what_is_served_is_shown() {
        let text = StartBlock { api: None, ..block() }.to_string();
        assert!(!text.contains("curl") && text.contains("mosquitto_pub"), "{text}");
        let text = StartBlock { mqtt: Vec::new(), ..block() }.to_string();
        assert!(text.contains("curl") && !text.contains("mosquitto_pub"), "{text}");
    }
}
