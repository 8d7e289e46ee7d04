//! Rows of telemetry as text: CSV (RFC 4180) and lines of JSON, each also as gzip; written for exports and read for imports.
//! docs/HTTP-API.md describes the forms.
//!
//! Everything goes in and comes out in pieces, so that memory does not depend on how long a text is. Payloads pass through
//! as the JSON text they are. Where the bytes come from and go to is the business of others: REST and the command line.
//!
//! Architecture invariant: no files, no sockets, no clock.

mod csv;
mod export;
mod fields;
mod format;
mod gunzip;
mod import;
mod json;
mod lines;
mod read;
mod records;
mod write;

pub use export::TextExport;
pub use format::Format;
pub use gunzip::{GZIP_MAGIC, NotGzip};
pub use import::{TextImport, TextImportError};
pub use json::write_json;
