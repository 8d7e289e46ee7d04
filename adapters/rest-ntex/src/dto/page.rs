//! Pages of registries, and the tenant that a call works in.

use pocket_domain::{Invalid, PageRequest, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::text::{Parsed, Whole};

/// The parameters of a call that has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// The id in a path, for the document; handlers take it as a type of the domain.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct IdParameter {
    /// The id of what is meant.
    #[param(format = "uuid")]
    id: String,
}

/// The id of a dead letter in a path, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct LetterParameter {
    /// The id of the dead letter.
    #[param(example = "00000000002a")]
    id: String,
}

/// The parameters of a call that works in one tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TenantParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
}

impl TenantParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }
}

/// The parameters of a list of tenants.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParameters {
    /// Entries per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// Entries to skip.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9223372036854775807_u64, default = 0)]
    offset: Option<Whole>,
}

impl PageParameters {
    /// The page that is asked for.
    pub(crate) fn page(&self) -> Result<PageRequest, Invalid> {
        page(self.limit, self.offset)
    }
}

/// The parameters of a list within one tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TenantPageParameters {
    /// The tenant to act in; only platform administrators may choose another than their own.
    #[param(value_type = Option<String>, format = "uuid")]
    tenant_id: Option<Parsed<TenantId>>,
    /// Entries per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Whole>,
    /// Entries to skip.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9223372036854775807_u64, default = 0)]
    offset: Option<Whole>,
}

impl TenantPageParameters {
    /// The tenant that was asked for.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.tenant_id.map(|id| id.0)
    }

    /// The page that is asked for.
    pub(crate) fn page(&self) -> Result<PageRequest, Invalid> {
        page(self.limit, self.offset)
    }
}

/// The page of a limit and an offset as they stand in the query.
pub(crate) fn page(limit: Option<Whole>, offset: Option<Whole>) -> Result<PageRequest, Invalid> {
    PageRequest::new(limit.map(|limit| limit.0), offset.map(|offset| offset.0))
}

/// One page of a registry.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The entries.
    data: Vec<T>,
    /// Which part of the whole they are.
    pagination: Pagination,
}

/// Which part of a registry a page is.
#[derive(Serialize, ToSchema)]
struct Pagination {
    /// Entries on all pages.
    total: u64,
    /// Entries on a page at the most.
    limit: u32,
    /// Entries to skip.
    offset: u64,
}

impl<T> Page<T> {
    /// The page that answers a request.
    pub(crate) fn of<D: Into<T>>(page: pocket_domain::Page<D>, request: PageRequest) -> Self {
        let page = page.map(Into::into);
        let pagination = Pagination { total: page.total, limit: request.limit(), offset: request.offset() };
        Self { data: page.items, pagination }
    }
}
