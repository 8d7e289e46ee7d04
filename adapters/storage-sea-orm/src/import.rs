//! Stores messages unless they are there.
//!
//! Two imports at the same time exclude each other, within a process by its one turn, between processes by the only writer of
//! a SQLite file or a lock in PostgreSQL. So whoever looks sees all that another has stored.

use std::sync::Arc;

use pocket_domain::{NewTelemetry, TelemetryId};
use pocket_ports::{Import, Imported};

use crate::access_log;
use crate::append::{Row, devices, insert, note, topics};
use crate::commit::commit;
use crate::database::Database;
use crate::error::Error;
use crate::key_cache::{DeviceKeys, Found};
use crate::locks::{self, Lock};
use crate::telemetry::{Wanted, present};

/// Stores those that are not there, in one transaction; none when a device is gone.
pub(crate) async fn import(db: &Database, messages: &[NewTelemetry]) -> Result<Import, Error> {
    // Those that wait for their turn hold no connection.
    let _turn = db.importing.lock().await;
    let transaction = db.begin().await?;
    locks::take(&transaction, Lock::Import).await?;
    locks::share(&transaction, Lock::Access).await?;
    let as_of = access_log::latest(&transaction).await?;
    let mut found = Found::default();
    let devices = devices(db, &transaction, as_of, messages, &mut found).await?;
    if let Some(gone) = devices.iter().position(Option::is_none) {
        return Ok(Import::DeviceGone(gone));
    }
    let accepted: Vec<(DeviceKeys, &NewTelemetry)> = devices.into_iter().flatten().zip(messages).collect();
    let topics = topics(db, &transaction, as_of, &accepted, &mut found).await?;
    let rows = accepted.into_iter().zip(topics).map(|((device, message), topic)| Row { device, topic, message });
    let rows: Vec<Row<'_>> = rows.collect();
    let mut wanted = Wanted::default();
    let is_first: Vec<bool> = rows.iter().enumerate().map(|(number, row)| add(&mut wanted, row, number)).collect();
    let present = present(db, &transaction, &Arc::new(wanted)).await?;
    let is_new: Vec<bool> =
        is_first.iter().enumerate().map(|(number, is_first)| *is_first && !present.contains(&number)).collect();
    let new: Vec<Row<'_>> = rows.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(row, _)| *row).collect();
    let (ids, number) = insert(db, &transaction, &new).await?;
    commit(db, transaction, number).await?;
    note(db, &new, &ids);
    db.keys.learn(as_of, found);
    let mut ids = ids.into_iter().map(|id| Imported::Stored(TelemetryId::from_key(id.unsigned_abs())));
    let imported = is_new.into_iter().map(|is_new| if is_new { ids.next() } else { None });
    Ok(Import::Done(imported.map(|id| id.unwrap_or(Imported::Present)).collect()))
}

fn add(wanted: &mut Wanted, row: &Row<'_>, number: usize) -> bool {
    let message = row.message;
    wanted.add(row.device.device, message.timestamp.as_millis(), row.topic, message.payload.as_str(), number)
}
