//! Who is at the other end of a connection.

use std::fmt;
use std::sync::Arc;

use pocket_domain::{Invalid, Principal, TenantId};

/// A client id: 1 to 1,024 bytes of UTF-8 without U+0000, unique within its device or person. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The most bytes. The specifications demand 23 and allow 65,535.
    pub const MAX_BYTES: usize = 1_024;

    /// Parses what a client sent.
    ///
    /// # Errors
    /// When it is empty, too long or has U+0000.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if (1..=Self::MAX_BYTES).contains(&text.len()) && !text.contains('\0') {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new("clientId", "must be 1 to 1024 bytes without U+0000"))
        }
    }

    /// An id for a client that leaves the choice to the server: `auto-` and a UUID of version 4 that is made of `random`.
    pub fn assigned(random: [u8; 16]) -> Self {
        let [a, b, c, d, e] = uuid_parts(u128::from_be_bytes(random));
        Self(format!("auto-{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text that is shared and not copied.
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// The five numbers of a UUID, with version and variant in their places (RFC 9562, section 5.4).
fn uuid_parts(random: u128) -> [u64; 5] {
    let bits = |from: u32, count: u32| (random >> from) as u64 & ((1 << count) - 1);
    [bits(96, 32), bits(80, 16), 0x4000 | bits(64, 12), 0x8000 | bits(48, 14), bits(0, 48)]
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A session's owner. Two tenants, or two devices or people of one, may use the same client id and never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The tenant that the credential gave.
    pub tenant_id: TenantId,
    /// The device or person that the credential gave.
    pub principal: Principal,
    /// The client id.
    pub client_id: ClientId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_has_two_bounds() {
        assert!(ClientId::parse("a").is_ok());
        assert!(ClientId::parse(&"a".repeat(ClientId::MAX_BYTES)).is_ok());
        for wrong in ["", "a\0", &"a".repeat(ClientId::MAX_BYTES + 1)] {
            assert!(ClientId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_assigned_id_is_a_valid_id() {
        for random in [[0; 16], [0xab; 16], [0xff; 16]] {
            let id = ClientId::assigned(random);
            assert_eq!(id.as_str().len(), 41);
            assert_eq!(ClientId::parse(id.as_str()), Ok(id));
        }
        assert_eq!(ClientId::assigned([0xff; 16]).as_str(), "auto-ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
