//! Many rows in few statements, in the SQL of both databases.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Value};

/// Rows in one statement, falling, so that each size is one prepared statement. 512 rows of eight values stay below the
/// 32,766 parameters that SQLite allows.
const BLOCKS: [usize; 5] = [512, 128, 32, 8, 1];

/// `INSERT INTO {target} VALUES (…),(…) {conflict}`, as often as the rows need it. A row has `width` of the values.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    target: &str,
    width: usize,
    conflict: &str,
    values: Vec<Value>,
) -> Result<(), DbErr> {
    let sql =
        |rows: usize, backend| format!("INSERT INTO {target} VALUES {} {conflict}", row_list(backend, rows, width));
    in_blocks(transaction, sql, width, values).await
}

/// `{head} IN (…){tail}`, as often as the keys need it.
pub(super) async fn for_keys(
    transaction: &DatabaseTransaction,
    head: &str,
    tail: &str,
    keys: Vec<Value>,
) -> Result<(), DbErr> {
    let sql = |keys: usize, backend| format!("{head} IN ({}){tail}", placeholders(backend, 0, keys));
    in_blocks(transaction, sql, 1, keys).await
}

/// `{head} IN (VALUES (…),(…))`, as often as the rows need it. A row has `width` of the values.
pub(super) async fn for_rows(
    transaction: &DatabaseTransaction,
    head: &str,
    width: usize,
    values: Vec<Value>,
) -> Result<(), DbErr> {
    let sql = |rows: usize, backend| format!("{head} IN (VALUES {})", row_list(backend, rows, width));
    in_blocks(transaction, sql, width, values).await
}

/// Runs one statement with `?` for each value.
pub(super) async fn run(transaction: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    transaction.execute_raw(statement(backend, sql, values)).await.map(|_| ())
}

/// A statement with `?` for each value, as the database writes it.
pub(crate) fn statement(backend: DbBackend, sql: &str, values: Vec<Value>) -> Statement {
    let mut numbered = String::with_capacity(sql.len());
    let mut number = 0;
    for part in sql.split_inclusive('?') {
        match part.strip_suffix('?') {
            Some(part) => {
                numbered.push_str(part);
                numbered.push_str(&placeholders(backend, number, 1));
                number += 1;
            }
            None => numbered.push_str(part),
        }
    }
    Statement::from_sql_and_values(backend, numbered, values)
}

/// What stands in `IN (…)` for any number of keys, with one `?`, and the value for it.
pub(crate) fn any_of(backend: DbBackend, keys: &[i64]) -> (&'static str, Value) {
    match backend {
        DbBackend::Postgres => ("SELECT unnest(?::bigint[])", keys.to_vec().into()),
        _ => ("SELECT value FROM json_each(?)", serde_json::json!(keys).to_string().into()),
    }
}

async fn in_blocks(
    transaction: &DatabaseTransaction,
    sql: impl Fn(usize, DbBackend) -> String,
    width: usize,
    values: Vec<Value>,
) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    let mut rest = values.as_slice();
    for rows in BLOCKS {
        if rest.len() < rows * width {
            continue;
        }
        let sql = sql(rows, backend);
        while let Some((block, after)) = rest.split_at_checked(rows * width) {
            rest = after;
            let statement = Statement::from_sql_and_values(backend, &sql, block.iter().cloned());
            transaction.execute_raw(statement).await?;
        }
    }
    Ok(())
}

/// Placeholders for rows of `width` values.
fn row_list(backend: DbBackend, rows: usize, width: usize) -> String {
    let row = |row: usize| format!("({})", placeholders(backend, row * width, width));
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

/// Placeholders for `count` values after the first `offset`.
fn placeholders(backend: DbBackend, offset: usize, count: usize) -> String {
    let one = |number: usize| match backend {
        DbBackend::Postgres => format!("${}", offset + number + 1),
        // Without a number: to look each of thousands of numbers up, the driver walks through all of them.
        _ => "?".to_owned(),
    };
    (0..count).map(one).collect::<Vec<_>>().join(",")
}
