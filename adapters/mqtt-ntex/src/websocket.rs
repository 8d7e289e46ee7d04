//! MQTT over WebSocket: the HTTP request that begins it, and the layer that turns frames into a stream of bytes.

mod frame;
mod layer;
mod upgrade;

use ntex::io::IoBoxed;
use ntex::service::cfg::SharedCfgBuilder;

use layer::WebSocket;

/// Whether this transport is there.
pub(crate) const IS_BUILT_IN: bool = true;

/// Adds what the sockets of a listener need.
pub(crate) fn configure(settings: SharedCfgBuilder) -> SharedCfgBuilder {
    settings.add(upgrade::http_config())
}

/// Makes a WebSocket of a connection whose packets have up to `packet_bytes`; `None` when the client does not ask for one
/// in the right way, which it was told.
pub(crate) async fn open(io: IoBoxed, packet_bytes: u32) -> Option<IoBoxed> {
    if upgrade::upgrade(&io).await {
        return Some(WebSocket::over(io, packet_bytes));
    }
    // Sends the answer, as long as the disconnect timeout of the socket allows.
    let _ = io.shutdown().await;
    None
}
