//! Tenants in JSON.

use garde::Validate;
use pocket_application::NewTenant;
use pocket_domain::{Invalid, PayloadPolicy, TenantName};
use pocket_ports::TenantUpdate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::parses;
use super::patch::present;
use super::retention::{Retention, SetRetention};
use super::text::{Moment, Parsed};

/// A tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    #[schema(format = "uuid")]
    id: String,
    #[schema(example = "acme")]
    name: String,
    /// `auto`: JSON, and any other text as a string; `json`: payloads must be JSON; `any`: others are wrapped.
    #[schema(value_type = PolicyText)]
    payload_policy: &'static str,
    retention: Retention,
    #[schema(value_type = String, format = DateTime)]
    created_at: Moment,
}

/// A payload policy, for the document.
#[derive(ToSchema)]
#[schema(as = PayloadPolicy, rename_all = "lowercase")]
#[expect(dead_code, reason = "only its description is used")]
enum PolicyText {
    Auto,
    Json,
    Any,
}

impl From<pocket_domain::Tenant> for Tenant {
    fn from(tenant: pocket_domain::Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name.to_string(),
            payload_policy: tenant.payload_policy.as_str(),
            retention: tenant.retention.into(),
            created_at: tenant.created_at.into(),
        }
    }
}

/// A tenant to be added.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateTenant {
    /// 1 to 63 characters of `a-z`, `0-9` and `-`; unique in the platform.
    #[garde(custom(parses(TenantName::parse)))]
    #[schema(example = "acme", pattern = "^[a-z0-9-]{1,63}$")]
    name: String,
    /// `auto`, `json` or `any`; absent: what `POCKET_PAYLOAD_POLICY` says, `auto` unless set.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<PolicyText>, nullable = false)]
    payload_policy: Option<Parsed<PayloadPolicy>>,
    /// What is kept of its telemetry.
    #[serde(default, deserialize_with = "present")]
    #[garde(dive)]
    #[schema(nullable = false)]
    retention: Option<SetRetention>,
}

impl CreateTenant {
    pub(crate) fn parse(self) -> Result<NewTenant, Invalid> {
        let payload_policy = self.payload_policy.map(|policy| policy.0);
        let retention = self.retention.unwrap_or_default().parse()?.of(pocket_domain::Retention::default());
        Ok(NewTenant { name: TenantName::parse(&self.name)?, payload_policy, retention })
    }
}

/// Changes to a tenant; what is absent stays.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UpdateTenant {
    /// 1 to 63 characters of `a-z`, `0-9` and `-`.
    #[serde(default, deserialize_with = "present")]
    #[garde(inner(custom(parses(TenantName::parse))))]
    #[schema(nullable = false, pattern = "^[a-z0-9-]{1,63}$")]
    name: Option<String>,
    /// `auto`, `json` or `any`.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<PolicyText>, nullable = false)]
    payload_policy: Option<Parsed<PayloadPolicy>>,
    /// What is kept of its telemetry.
    #[serde(default, deserialize_with = "present")]
    #[garde(dive)]
    #[schema(nullable = false)]
    retention: Option<SetRetention>,
}

impl UpdateTenant {
    pub(crate) fn parse(self) -> Result<TenantUpdate, Invalid> {
        Ok(TenantUpdate {
            name: self.name.as_deref().map(TenantName::parse).transpose()?,
            payload_policy: self.payload_policy.map(|policy| policy.0),
            retention: self.retention.unwrap_or_default().parse()?,
        })
    }
}

/// The parameters of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParameters {
    /// The name of the tenant, so that nobody deletes another by a slip.
    #[param(example = "acme")]
    pub(crate) confirm: Option<String>,
}
