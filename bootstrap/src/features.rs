//! Which optional parts are compiled into this binary. A setting that needs a missing one is an error at start.

const FEATURES: [(&str, bool); 9] = [
    ("storage-sqlite", cfg!(feature = "storage-sqlite")),
    ("storage-postgres", cfg!(feature = "storage-postgres")),
    ("storage-memory", cfg!(feature = "storage-memory")),
    ("transport-mqtt", cfg!(feature = "transport-mqtt")),
    ("mqtt-tls", cfg!(feature = "mqtt-tls")),
    ("mqtt-websocket", cfg!(feature = "mqtt-websocket")),
    ("bridge", cfg!(feature = "bridge")),
    ("transport-rest", cfg!(feature = "transport-rest")),
    ("rest-openapi", cfg!(feature = "rest-openapi")),
];

/// Whether a Cargo feature of this crate is built in.
pub fn is_built_in(feature: &str) -> bool {
    FEATURES.contains(&(feature, true))
}
