//! Log-ins in JSON.

use std::net::IpAddr;

use garde::Validate;
use pocket_application::{LoginAttempt, Session};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::patch::present;
use super::text::Switch;
use super::users::{Secret, User};

/// A name and a password.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub(crate) struct Login {
    #[schema(example = "admin")]
    username: String,
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// The name of the tenant; `default` when absent.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, example = "default")]
    tenant: Option<String>,
}

impl Login {
    /// The attempt, from where it came. Names are not checked: one that cannot exist is answered like one that does not.
    pub(crate) fn attempt(self, source: IpAddr) -> LoginAttempt {
        LoginAttempt { tenant: self.tenant, username: self.username, password: self.password.0, source }
    }
}

/// Which log-ins to end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogoutParameters {
    /// `true`: all log-ins of the user; otherwise the one whose token is shown.
    #[param(value_type = Option<bool>, default = false)]
    all: Option<Switch>,
}

impl LogoutParameters {
    /// Whether all log-ins of the user end.
    pub(crate) fn all(&self) -> bool {
        self.all.is_some_and(|all| all.0)
    }
}

/// A bearer token and its user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoggedIn {
    /// To be sent as `Authorization: Bearer <token>`.
    token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds for which the token is valid.
    #[schema(example = 3600)]
    expires_in: u64,
    user: User,
}

impl From<Session> for LoggedIn {
    fn from(session: Session) -> Self {
        let Session { token, expires_in, user } = session;
        Self { token, token_type: "Bearer", expires_in, user: user.into() }
    }
}
