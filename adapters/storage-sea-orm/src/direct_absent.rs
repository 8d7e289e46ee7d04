//! Without PostgreSQL nothing is appended past the layer above the driver.

use pocket_domain::TelemetryId;

use crate::append::Row;
use crate::database::Database;
use crate::error::Error;

/// `None`: nothing is stored in this way.
#[allow(clippy::unused_async, reason = "as where there is something to wait for")]
pub(crate) async fn append(_: &Database, _: i64, _: &[Row<'_>]) -> Result<Option<Vec<TelemetryId>>, Error> {
    Ok(None)
}
