//! Where MQTT is served, and what contradicts itself in that.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::problem::Problem;
use super::setting::Setting;
use super::settings::{Mode, Reader};
use super::table;

/// Where MQTT is served; port 0 takes any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttListeners {
    /// Over TCP, unencrypted.
    pub tcp: Option<SocketAddr>,
    /// Over TLS.
    pub tls: Option<SocketAddr>,
    /// Over WebSocket.
    pub websocket: Option<SocketAddr>,
    /// Over WebSocket over TLS.
    pub secure_websocket: Option<SocketAddr>,
    /// The certificate; present where something is served over TLS.
    pub certificate: Option<TlsSettings>,
    /// Whether a proxy tells where connections come from.
    pub proxy_protocol: bool,
}

/// The files that TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The chain of certificates.
    pub certificate: PathBuf,
    /// The key of the first of them.
    pub key: PathBuf,
    /// Certificates of which clients must have one that leads to them.
    pub client_ca: Option<PathBuf>,
}

type PortSetting = Setting<Option<u16>>;

impl Reader<'_> {
    pub(super) fn mqtt_listeners(&mut self) -> MqttListeners {
        let ports = [&table::MQTT_PORT, &table::MQTT_TLS_PORT, &table::MQTT_WS_PORT, &table::MQTT_WSS_PORT];
        self.check_ports(&ports);
        let host = self.get(&table::MQTT_HOST);
        let [tcp, tls, websocket, secure_websocket] =
            ports.map(|port| self.get(port).map(|port| SocketAddr::new(host, port)));
        MqttListeners {
            tcp,
            tls,
            websocket,
            secure_websocket,
            certificate: self.certificate(),
            proxy_protocol: self.get(&table::MQTT_PROXY_PROTOCOL),
        }
    }

    /// At least one port is on, and none is there twice.
    fn check_ports(&mut self, ports: &[&PortSetting]) {
        let on: Vec<_> = ports.iter().filter_map(|setting| Some((setting.name(), self.get(setting)?))).collect();
        if on.is_empty() {
            self.problem("POCKET_MQTT_PORT is empty: another port of MQTT must be on".to_owned());
        }
        for (place, (name, port)) in on.iter().enumerate().filter(|(_, (_, port))| *port != 0) {
            if let Some((other, _)) = on[..place].iter().find(|(_, other)| other == port) {
                self.problem(format!("{name}={port}: this is {other} already"));
            }
        }
        if self.get(&table::MODE) != Mode::All {
            return;
        }
        let (api, mqtt) = (self.get(&table::API_HOST), self.get(&table::MQTT_HOST));
        let share = api == mqtt || api.is_unspecified() || mqtt.is_unspecified();
        let api_port = self.get(&table::API_PORT);
        for (name, port) in on.iter().filter(|(_, port)| share && *port != 0 && *port == api_port) {
            self.problem(format!("{name}={port}: this is POCKET_API_PORT already"));
        }
    }

    /// The certificate and its key, which must be there together, and exactly where something is served over TLS.
    fn certificate(&mut self) -> Option<TlsSettings> {
        let served = [&table::MQTT_TLS_PORT, &table::MQTT_WSS_PORT].map(|port| self.get(port).map(|_| port.name()));
        let served = served.into_iter().flatten().next();
        let given = [&table::TLS_CERT, &table::TLS_KEY, &table::MQTT_TLS_CLIENT_CA]
            .map(|setting| (setting.name(), self.get(setting)));
        let Some(port) = served else {
            for (name, path) in given {
                if let Some(path) = path {
                    let on = "POCKET_MQTT_TLS_PORT or POCKET_MQTT_WSS_PORT must be on";
                    self.problem(format!("{name}={}: {on}", path.display()));
                }
            }
            return None;
        };
        let [certificate, key, (_, client_ca)] = given;
        for (name, path) in [&certificate, &key] {
            if path.is_none() {
                self.problem(format!("{port} is on: {name} must name a PEM file"));
            }
        }
        Some(TlsSettings { certificate: certificate.1?, key: key.1?, client_ca })
    }

    fn problem(&mut self, text: String) {
        self.problems.push(Problem::new(text));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{MqttListeners, Settings, TlsSettings};

    fn listeners(pairs: &[(&str, &str)]) -> Result<MqttListeners, Vec<String>> {
        let settings = Settings::with(pairs.iter().copied());
        let told = settings.map_err(|problems| problems.iter().map(ToString::to_string).collect());
        told.map(|settings| settings.mqtt.listeners)
    }

    fn problem(pairs: &[(&str, &str)]) -> String {
        let problems = listeners(pairs).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    }

    #[test]
    fn tls_has_a_port_a_certificate_and_a_key() {
        if !crate::features::is_built_in("mqtt-tls") {
            return;
        }
        let files = [("mqtt.tls_cert", "c.pem"), ("mqtt.tls_key", "k.pem")];
        let whole = listeners(&[("mqtt.tls_port", "8883"), files[0], files[1]]).unwrap();
        assert_eq!(whole.tls, Some("0.0.0.0:8883".parse().unwrap()));
        let expected = TlsSettings { certificate: "c.pem".into(), key: "k.pem".into(), client_ca: None };
        assert_eq!(whole.certificate, Some(expected));
        assert_eq!(
            problem(&[("mqtt.tls_port", "8883"), files[0]]),
            "POCKET_MQTT_TLS_PORT is on: POCKET_TLS_KEY must name a PEM file"
        );
        assert_eq!(
            problem(&[("mqtt.tls_port", "8883"), files[1]]),
            "POCKET_MQTT_TLS_PORT is on: POCKET_TLS_CERT must name a PEM file"
        );
        assert_eq!(
            listeners(&files).unwrap_err(),
            [
                "POCKET_TLS_CERT=c.pem: POCKET_MQTT_TLS_PORT or POCKET_MQTT_WSS_PORT must be on",
                "POCKET_TLS_KEY=k.pem: POCKET_MQTT_TLS_PORT or POCKET_MQTT_WSS_PORT must be on",
            ]
        );
        assert_eq!(
            problem(&[("mqtt.tls_client_ca", "ca.pem")]),
            "POCKET_MQTT_TLS_CLIENT_CA=ca.pem: POCKET_MQTT_TLS_PORT or POCKET_MQTT_WSS_PORT must be on"
        );
    }

    #[test]
    fn a_secure_websocket_needs_the_certificate_too() {
        if !crate::features::is_built_in("mqtt-tls") || !crate::features::is_built_in("mqtt-websocket") {
            return;
        }
        let files = [("mqtt.tls_cert", "c.pem"), ("mqtt.tls_key", "k.pem")];
        let whole = listeners(&[("mqtt.wss_port", "8084"), files[0], files[1]]).unwrap();
        assert!(whole.tls.is_none() && whole.secure_websocket.is_some() && whole.certificate.is_some());
        assert_eq!(
            problem(&[("mqtt.wss_port", "8084"), files[0]]),
            "POCKET_MQTT_WSS_PORT is on: POCKET_TLS_KEY must name a PEM file"
        );
    }

    #[test]
    fn a_port_is_there_once_and_at_least_one_is_on() {
        assert_eq!(problem(&[("mqtt.port", "")]), "POCKET_MQTT_PORT is empty: another port of MQTT must be on");
        if crate::features::is_built_in("mqtt-websocket") {
            let without_tcp = listeners(&[("mqtt.port", ""), ("mqtt.ws_port", "8083")]).unwrap();
            assert!(without_tcp.tcp.is_none() && without_tcp.websocket.is_some());
            assert_eq!(
                problem(&[("mqtt.ws_port", "1883")]),
                "POCKET_MQTT_WS_PORT=1883: this is POCKET_MQTT_PORT already"
            );
            assert!(listeners(&[("mqtt.port", "0"), ("mqtt.ws_port", "0")]).is_ok());
        }
    }
}
