//! Messages that come round: a bridge of this process has had them, and they come in again by another way.

use pocket_application::{ClientAccess, DeviceGateway};
use pocket_mqtt_core::Inbound;
use pocket_ports::BRIDGE_MARK;

/// Whether a message was here before, by the marks that bridges leave on it.
pub(crate) fn was_here(gateway: &DeviceGateway, access: &ClientAccess, inbound: &Inbound<'_>) -> bool {
    let Some(properties) = inbound.properties.as_ref().filter(|properties| !properties.user_properties.is_empty())
    else {
        return false;
    };
    let marks = properties.user_properties.iter().filter(|(name, _)| &**name == BRIDGE_MARK);
    marks.into_iter().any(|(_, mark)| gateway.had_before(access, mark))
}
