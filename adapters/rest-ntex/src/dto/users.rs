//! People in JSON.

use std::fmt;
use std::net::IpAddr;

use garde::Validate;
use pocket_application::{NewUser, PasswordChange};
use pocket_domain::{Invalid, Password, Role, Username};
use pocket_ports::UserUpdate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parses;
use super::patch::present;
use super::text::{Moment, Parsed};

/// Somebody who may log in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "uuid")]
    tenant_id: String,
    #[schema(example = "ann")]
    username: String,
    #[schema(value_type = RoleText)]
    role: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Moment,
}

/// A role, for the document. Each includes what the ones after it may do.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "snake_case", example = "operator")]
#[expect(dead_code, reason = "only its description is used")]
enum RoleText {
    PlatformAdmin,
    Admin,
    Operator,
    Viewer,
}

impl From<pocket_domain::User> for User {
    fn from(user: pocket_domain::User) -> Self {
        Self {
            id: user.id.to_string(),
            tenant_id: user.tenant_id.to_string(),
            username: user.username.to_string(),
            role: user.role.as_str(),
            created_at: user.created_at.into(),
        }
    }
}

/// A text that is never printed.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl std::ops::Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A user to be added.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateUser {
    /// 3 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`; unique in the tenant.
    #[garde(custom(parses(Username::parse)))]
    #[schema(example = "ann", pattern = "^[a-z0-9._-]{3,64}$")]
    username: String,
    /// 12 to 256 characters.
    #[garde(custom(parses(|text| Password::parse(text))))]
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    password: Secret,
    /// Not above the caller's own.
    #[garde(skip)]
    #[schema(value_type = RoleText)]
    role: Parsed<Role>,
}

impl CreateUser {
    pub(crate) fn parse(self) -> Result<NewUser, Invalid> {
        Ok(NewUser {
            username: Username::parse(&self.username)?,
            password: Password::parse(self.password.0)?,
            role: self.role.0,
        })
    }
}

/// Changes to a user; what is absent stays.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateUser {
    /// 3 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`.
    #[serde(default, deserialize_with = "present")]
    #[garde(inner(custom(parses(Username::parse))))]
    #[schema(nullable = false, pattern = "^[a-z0-9._-]{3,64}$")]
    username: Option<String>,
    /// Not above the caller's own.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<RoleText>, nullable = false)]
    role: Option<Parsed<Role>>,
}

impl UpdateUser {
    pub(crate) fn parse(self) -> Result<UserUpdate, Invalid> {
        let username = self.username.as_deref().map(Username::parse).transpose()?;
        Ok(UserUpdate { username, role: self.role.map(|role| role.0) })
    }
}

/// A new password.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SetPassword {
    /// 12 to 256 characters.
    #[garde(custom(parses(|text| Password::parse(text))))]
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    password: Secret,
    /// The present password; needed by everybody who changes their own.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<String>, nullable = false, format = Password)]
    current_password: Option<Secret>,
}

impl SetPassword {
    pub(crate) fn parse(self, source: IpAddr) -> Result<PasswordChange, Invalid> {
        let current = self.current_password.map(|current| current.0);
        Ok(PasswordChange { password: Password::parse(self.password.0)?, current, source })
    }
}
