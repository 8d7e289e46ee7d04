//! In the place of `websocket.rs` where the feature is left out.

use ntex::io::IoBoxed;
use ntex::service::cfg::SharedCfgBuilder;

/// Whether this transport is there.
pub(crate) const IS_BUILT_IN: bool = false;

/// Adds nothing.
pub(crate) fn configure(settings: SharedCfgBuilder) -> SharedCfgBuilder {
    settings
}

/// Nobody can ask for a WebSocket, because no port is taken for it.
pub(crate) async fn open(_: IoBoxed, _: u32) -> Option<IoBoxed> {
    None
}
