//! The statements of MQTT 5.0 that bind a server, by its sections. docs/CONFORMANCE.md lists them all, with the tests
//! elsewhere that show those which are missing here.

mod acknowledgements;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod expiry;
mod flags;
mod flow;
mod identifiers;
mod properties;
mod publish;
mod qos;
mod shared;
mod subscribe;
mod text;
mod topics;
mod unsubscribe;
mod wills;
