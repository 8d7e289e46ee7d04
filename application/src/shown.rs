//! What a client shows when it connects, by its form. Clients put the same secret into different fields.

use pocket_domain::{DevicePassword, DeviceToken, DeviceUsername, Password, Principal, TenantName, Username};

use crate::gateway::{ClientAccess, ClientCredentials};
use crate::passwords::ShownPassword;

/// User name and password as text, without what forms and files put around them.
pub(crate) struct Shown<'a> {
    username: &'a str,
    /// `None` when it is no text.
    password: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// Fewer characters of an id may be those of many devices that were registered at about the same time.
    const MIN_ID_CHARS: usize = 16;

    pub(crate) fn of(credentials: &ClientCredentials<'a>) -> Self {
        let password = credentials.password.unwrap_or_default();
        Self { username: credentials.username.unwrap_or_default().trim(), password: std::str::from_utf8(password).ok() }
    }

    /// The device token in the password, if it may be one.
    pub(crate) fn token_in_password(&self) -> Option<DeviceToken> {
        DeviceToken::parse(self.password?).ok()
    }

    /// The device token in the user name, if it may be one.
    pub(crate) fn token_in_username(&self) -> Option<DeviceToken> {
        DeviceToken::parse(self.username).ok()
    }

    /// Whether the user name is an id, whole or the beginning of one, and not that of the device. Any other name says nothing.
    pub(crate) fn names_another(&self, access: &ClientAccess) -> bool {
        let Principal::Device(device) = access.principal else { return false };
        self.is_an_id() && !device.to_string().replace('-', "").starts_with(&self.digits())
    }

    fn digits(&self) -> String {
        self.username.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase()
    }

    fn is_an_id(&self) -> bool {
        let digits = self.digits();
        digits.len() >= Self::MIN_ID_CHARS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// A person's name and bearer token; a token has two dots.
    pub(crate) fn bearer(&self) -> Option<(&'a str, &'a str)> {
        let token = self.password?.trim();
        (token.matches('.').count() == 2).then_some((self.username, token))
    }

    /// A user name and password of a person or of a device; `None` when it can be neither, so that nothing is looked up or hashed.
    pub(crate) fn password(&self) -> Option<ShownPassword<'a>> {
        let password = self.password?;
        let person = self.person().filter(|_| Password::parse(password).is_ok());
        // A shorter one than may be chosen now may have come from elsewhere.
        let may_be_of_device =
            (1..=DevicePassword::MAX_BYTES).contains(&password.len()) && !DeviceToken::is_written_out(password.trim());
        let device = DeviceUsername::parse(self.username).ok().filter(|_| may_be_of_device);
        (person.is_some() || device.is_some()).then_some(ShownPassword { person, device, password })
    }

    /// A person's tenant and name. The tenant may stand before the name, as in `acme/ann`.
    fn person(&self) -> Option<(TenantName, Username)> {
        // Of a device that shows a wrong token; a password would take a core to judge.
        if self.is_an_id() || self.token_in_username().is_some() {
            return None;
        }
        let (tenant, username) = match self.username.split_once('/') {
            Some((tenant, username)) => (TenantName::parse(tenant).ok()?, username),
            None => (TenantName::default_tenant(), self.username),
        };
        Some((tenant, Username::parse(username).ok()?))
    }
}
