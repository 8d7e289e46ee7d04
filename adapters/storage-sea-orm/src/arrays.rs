//! Rows as arrays, which PostgreSQL takes any number of in one statement, with a check that the devices and topics of each row
//! are its tenant's.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Value};

use crate::append::Row;

/// The beginning of both statements: rows as arrays, in their order. What comes before is a list of tables to be joined.
macro_rules! insert_from {
    ($first:literal) => {
        concat!(
            "inserted AS (
                INSERT INTO telemetry (device, topic, tenant, timestamp, received_at, payload)
                SELECT device, topic, tenant, timestamp, received_at, payload
                FROM ",
            $first,
            "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
                    WITH ORDINALITY AS message (device, topic, tenant, timestamp, received_at, payload, place)
                ORDER BY place
                RETURNING id
            ), strangers AS (
                SELECT (SELECT count(*) FROM unnest($7::bigint[], $8::bigint[]) AS met (device, tenant)
                    WHERE NOT EXISTS (SELECT 1 FROM devices
                        WHERE devices.key = met.device AND devices.tenant = met.tenant AND NOT devices.deleted))
                + (SELECT count(*) FROM unnest($9::bigint[], $10::bigint[]) AS met (topic, tenant)
                    WHERE NOT EXISTS (SELECT 1 FROM topics
                        WHERE topics.key = met.topic AND topics.tenant = met.tenant)) AS count
            )"
        )
    };
}

/// Keys are given in the order of the rows, and come back in one array, in no order, with the number of devices and topics that
/// are not in the tenant of their rows.
const ARRAYS: &str = concat!(
    "WITH ",
    insert_from!(""),
    " SELECT array_agg(id) AS ids, (SELECT count FROM strangers) AS strangers FROM inserted"
);

/// The same, which first moves the row of a writer on, and inserts nothing when that is elsewhere. It tells the new number, and
/// the newest entry of the access log.
#[allow(dead_code, reason = "as where PostgreSQL is built in")]
pub(crate) const ARRAYS_OF_WRITER: &str = concat!(
    "WITH moved AS (
        UPDATE writers SET number = number + 1, used_at = now()
        WHERE key = $11 AND owner = $12 AND term = $13 AND number = $14 RETURNING number
    ), ",
    insert_from!("moved CROSS JOIN "),
    " SELECT array_agg(id) AS ids, (SELECT number FROM moved) AS number,
        (SELECT coalesce(max(sequence), 0) FROM access_changes) AS seen, (SELECT count FROM strangers) AS strangers
    FROM inserted"
);

/// Devices and topics of rows, each once, with their tenants.
pub(crate) struct Met {
    pub(crate) devices: (Vec<i64>, Vec<i64>),
    pub(crate) topics: (Vec<i64>, Vec<i64>),
}

impl Met {
    pub(crate) fn of(rows: &[Row<'_>]) -> Self {
        let pairs = |key: fn(&Row<'_>) -> i64| {
            let mut pairs: Vec<(i64, i64)> = rows.iter().map(|row| (key(row), row.device.tenant)).collect();
            pairs.sort_unstable();
            pairs.dedup();
            pairs.into_iter().unzip()
        };
        Self { devices: pairs(|row| row.device.device), topics: pairs(|row| row.topic) }
    }
}

/// Writes rows and tells their ids, in their order; `None` when a device or topic is not in the tenant of its row.
pub(crate) async fn insert(transaction: &DatabaseTransaction, rows: &[Row<'_>]) -> Result<Option<Vec<i64>>, DbErr> {
    if rows.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let numbers = |number: fn(&Row<'_>) -> i64| -> Value { rows.iter().map(number).collect::<Vec<i64>>().into() };
    let payloads: Vec<String> = rows.iter().map(|row| row.message.payload.as_str().to_owned()).collect();
    let met = Met::of(rows);
    let values = [
        numbers(|row| row.device.device),
        numbers(|row| row.topic),
        numbers(|row| row.device.tenant),
        numbers(|row| row.message.timestamp.as_millis()),
        numbers(|row| row.message.received_at.as_millis()),
        payloads.into(),
        met.devices.0.into(),
        met.devices.1.into(),
        met.topics.0.into(),
        met.topics.1.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, ARRAYS, values);
    let row = transaction.query_one_raw(statement).await?.ok_or(DbErr::RecordNotInserted)?;
    if row.try_get::<i64>("", "strangers")? > 0 {
        return Ok(None);
    }
    let mut ids: Vec<i64> = row.try_get("", "ids")?;
    ids.sort_unstable();
    Ok(Some(ids))
}
