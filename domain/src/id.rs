//! Identifiers. All are UUIDs of version 7, which sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{Invalid, Timestamp};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id from the time and ten random bytes.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(now.as_millis().unsigned_abs(), &random).into_uuid())
            }

            /// The id as the 16 bytes that adapters store.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id as a UUID.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// Reads an id back from storage.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            /// # Errors
            /// When the text is not a UUID.
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| Invalid::new($field, "must be a UUID such as 0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f"))
            }
        }
    };
}

id!(
    /// Identifies a tenant.
    TenantId,
    "tenantId"
);
id!(
    /// Identifies one log-in of a person. Bearer tokens that are renewed keep the id of the log-in they came from.
    LoginId,
    "loginId"
);
id!(
    /// Identifies one user name and password of a device: what is put in their place has another id, though it were the same.
    DeviceLoginId,
    "deviceLoginId"
);
id!(
    /// Identifies a person who may log in.
    UserId,
    "userId"
);
id!(
    /// Identifies a device within the whole platform.
    DeviceId,
    "deviceId"
);
id!(
    /// Identifies an access rule.
    AccessRuleId,
    "id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let early = DeviceId::new(Timestamp::from_millis(1_000).unwrap(), [0xff; 10]);
        let late = DeviceId::new(Timestamp::from_millis(1_001).unwrap(), [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_uuid().get_version_num(), 7);
    }

    #[test]
    fn an_id_comes_back_from_its_text() {
        let id = TenantId::new(Timestamp::from_millis(1_700_000_000_000).unwrap(), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("boiler".parse::<TenantId>().unwrap_err().field, "tenantId");
    }
}
