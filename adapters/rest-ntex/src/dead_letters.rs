//! Calls about messages that the database refused.

use pocket_domain::DeadLetterId;

use crate::answer::{Answer, created, no_content};
use crate::dto::dead_letters::{DeadLetterParameters, DeadLetters};
use crate::dto::page::{LetterParameter, TenantParameters};
use crate::dto::telemetry::Stored;
use crate::extract::{App, Id, User};
use crate::large::{ENTRY, ok_aside};
use crate::query::Query;

/// List the dead letters, which are messages that the database rejected, newest first
///
/// Such a message becomes a dead letter with the reason, while all others are stored. The platform keeps the last 10,000.
#[utoipa::path(get, path = "/dead-letters", tag = "telemetry", operation_id = "listDeadLetters",
    params(DeadLetterParameters),
    responses((status = 200, description = "A page of dead letters.", body = DeadLetters)))]
pub(crate) async fn list(app: App, user: User, query: Query<DeadLetterParameters>) -> Answer {
    let wanted = query.query()?;
    let page = app.dead_letters.list(&user, query.tenant(), &wanted).await?;
    let bytes = page.letters.iter().map(|letter| ENTRY + letter.payload.len()).sum();
    let limit = wanted.page_limit;
    ok_aside(&app.reads, user.tenant_id(), bytes, move || DeadLetters::of(page, limit)).await
}

/// Remove a dead letter
#[utoipa::path(delete, path = "/dead-letters/{id}", tag = "telemetry", operation_id = "deleteDeadLetter",
    params(LetterParameter, TenantParameters),
    responses((status = 204, description = "The dead letter was removed.")))]
pub(crate) async fn delete(app: App, user: User, query: Query<TenantParameters>, id: Id<DeadLetterId>) -> Answer {
    app.dead_letters.delete(&user, query.tenant(), id.0).await?;
    no_content()
}

/// Retry storing a dead letter
///
/// When it is stored, the dead letter is removed; when it is rejected again, it stays.
#[utoipa::path(post, path = "/dead-letters/{id}/retry", tag = "telemetry", operation_id = "retryDeadLetter",
    params(LetterParameter, TenantParameters),
    responses((status = 201, description = "The message is committed.", body = Stored)))]
pub(crate) async fn retry(app: App, user: User, query: Query<TenantParameters>, id: Id<DeadLetterId>) -> Answer {
    let stored = app.dead_letters.retry(&user, query.tenant(), id.0).await?;
    created(&Stored::from(vec![stored]))
}
