//! Stores messages unless they are there.
//!
//! Two imports at the same time exclude each other, within a process by its one turn, between processes by the only writer of
//! a SQLite file or a lock in PostgreSQL. So whoever looks sees all that another has stored.

use std::sync::Arc;

use pocket_domain::NewTelemetry;
use pocket_ports::{Import, Imported};
use sea_orm::{DatabaseTransaction, DbBackend};

use crate::access_log;
use crate::append::{ATTEMPTS, Inserted, Row, Tried, devices, insert, nowhere, topics};
use crate::database::{Database, LIMIT};
use crate::error::Error;
use crate::key_cache::{DeviceKeys, Found, KeyCache};
use crate::locks::{self, Lock};
use crate::telemetry::{Ahead, Wanted, present};
use crate::writers::{Place, Writer, WriterName};

/// Stores those that are not there, in one transaction; none when a device is gone.
pub(crate) async fn import(db: &Database, messages: &[NewTelemetry]) -> Result<Import, Error> {
    db.require_room().await?;
    // Those that wait for their turn hold no connection.
    let mut writer = db.writers.get(WriterName::Import).await;
    for _ in 0..ATTEMPTS {
        let place = writer.ready(db).await?;
        let (is_new, inserted) = match db.in_time(LIMIT, look_and_insert(db, &writer, place, messages)).await? {
            Looked::Inserted(Tried::Done(looked)) => looked,
            Looked::Inserted(Tried::Elsewhere) => {
                writer.find_again(db).await?;
                continue;
            }
            Looked::Inserted(Tried::Stranger) => {
                writer.keys.forget();
                continue;
            }
            Looked::Inserted(Tried::Nothing) => break,
            Looked::DeviceGone(gone) => return Ok(Import::DeviceGone(gone)),
        };
        let (_, ids) = inserted.commit(db, &mut writer).await?;
        let mut ids = ids.into_iter().map(Imported::Stored);
        let imported = is_new.into_iter().map(|is_new| if is_new { ids.next() } else { None });
        return Ok(Import::Done(imported.map(|id| id.unwrap_or(Imported::Present)).collect()));
    }
    Err(nowhere())
}

/// What became of an attempt before its commit.
enum Looked<'a> {
    /// What is not there is inserted; of each message, whether it was that.
    Inserted(Tried<(Vec<bool>, Inserted<'a>)>),
    /// The device of the message at this place is gone.
    DeviceGone(usize),
}

/// Inserts what is not there.
async fn look_and_insert<'a>(
    db: &Database,
    writer: &Writer,
    place: Place,
    messages: &'a [NewTelemetry],
) -> Result<Looked<'a>, Error> {
    let ahead = match db.backend() {
        // Nobody else could write while this transaction looks.
        DbBackend::Sqlite => match look_ahead(db, &writer.keys, messages).await? {
            Ok(ahead) => Some(ahead),
            Err(gone) => return Ok(Looked::DeviceGone(gone)),
        },
        _ => None,
    };
    let transaction = db.begin().await?;
    locks::take(&transaction, Lock::Import).await?;
    let Resolved { rows, as_of, found } = match resolve(&writer.keys, &transaction, messages).await? {
        Ok(resolved) => resolved,
        Err(gone) => return Ok(Looked::DeviceGone(gone)),
    };
    let (wanted, is_first) = wanted(&rows);
    let present = match ahead {
        Some(ahead) => ahead.go_on(db, &transaction, &wanted).await?,
        None => present(db, &transaction, &wanted).await?,
    };
    let is_new: Vec<bool> =
        is_first.iter().enumerate().map(|(number, is_first)| *is_first && !present.contains(&number)).collect();
    let rows: Vec<Row<'_>> = rows.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(row, _)| *row).collect();
    if writer.move_on(&transaction, place).await?.is_none() {
        return Ok(Looked::Inserted(Tried::Elsewhere));
    }
    let Some(ids) = insert(db, &transaction, &rows).await? else { return Ok(Looked::Inserted(Tried::Stranger)) };
    Ok(Looked::Inserted(Tried::Done((is_new, Inserted { transaction, rows, ids, found, as_of }))))
}

/// What a transaction that only reads saw of the messages, or which of their devices is gone. Their topics have keys then.
async fn look_ahead(db: &Database, keys: &KeyCache, messages: &[NewTelemetry]) -> Result<Result<Ahead, usize>, Error> {
    let transaction = db.begin().await?;
    let Resolved { rows, as_of, found } = match resolve(keys, &transaction, messages).await? {
        Ok(resolved) => resolved,
        Err(gone) => return Ok(Err(gone)),
    };
    transaction.commit().await?;
    keys.learn(as_of, found);
    Ok(Ok(Ahead::look(db, &wanted(&rows).0).await?))
}

/// Messages with the keys of their devices and topics.
struct Resolved<'a> {
    rows: Vec<Row<'a>>,
    as_of: i64,
    found: Found,
}

/// Finds the keys, or says which message's device is gone. No device is deleted until the transaction ends.
async fn resolve<'a>(
    keys: &KeyCache,
    transaction: &DatabaseTransaction,
    messages: &'a [NewTelemetry],
) -> Result<Result<Resolved<'a>, usize>, Error> {
    locks::share(transaction, Lock::Access).await?;
    let as_of = access_log::latest(transaction).await?;
    let mut found = Found::default();
    let devices = devices(keys, transaction, as_of, messages, &mut found).await?;
    if let Some(gone) = devices.iter().position(Option::is_none) {
        return Ok(Err(gone));
    }
    let accepted: Vec<(DeviceKeys, &NewTelemetry)> = devices.into_iter().flatten().zip(messages).collect();
    let topics = topics(keys, transaction, as_of, &accepted, &mut found).await?;
    let rows = accepted.into_iter().zip(topics).map(|((device, message), topic)| Row { device, topic, message });
    Ok(Ok(Resolved { rows: rows.collect(), as_of, found }))
}

/// What is looked for, and of each message whether it is the first of those that are the same.
fn wanted(rows: &[Row<'_>]) -> (Arc<Wanted>, Vec<bool>) {
    let mut wanted = Wanted::default();
    let is_first = rows.iter().enumerate().map(|(number, row)| {
        let message = row.message;
        wanted.add(row.device.device, message.timestamp.as_millis(), row.topic, message.payload.as_str(), number)
    });
    let is_first = is_first.collect();
    (Arc::new(wanted), is_first)
}
