//! What the application says to connected devices and people.

use crate::AccessChange;

/// The connections of devices and people in this process.
pub trait DeviceSessions: Send + Sync {
    /// Judges the connections that a change concerns anew and closes those that may not stay. Returns at once.
    fn access_changed(&self, change: AccessChange);
}
