//! Without PostgreSQL nothing is appended past the layer above the driver.

use pocket_domain::TelemetryId;
use pocket_ports::BatchNumber;

use crate::append::Row;
use crate::database::Database;
use crate::error::Error;
use crate::writers::{Place, Writer};

/// What became of rows.
#[allow(dead_code, reason = "as where PostgreSQL is built in")]
pub(crate) enum Direct {
    Done(BatchNumber, Vec<TelemetryId>),
    KnowsTooLittle,
    Elsewhere,
}

/// Nothing is stored in this way.
#[allow(clippy::unused_async, reason = "as where there is something to wait for")]
pub(crate) async fn append(_: &Database, _: &mut Writer, _: Place, _: i64, _: &[Row<'_>]) -> Result<Direct, Error> {
    Ok(Direct::KnowsTooLittle)
}
