//! The call that takes a history.

use std::time::Duration;

use ntex::http::{Payload, header};
use ntex::web::{DefaultError, FromRequest, HttpRequest};
use pocket_application::{Error, ImportSummary};
use pocket_telemetry_text::{Format, TextImport, TextImportError};

use crate::answer::{Answer, ok};
use crate::code::Code;
use crate::dto::import::ImportResult;
use crate::dto::page::TenantParameters;
use crate::encoding::is_gzip;
use crate::extract::{App, Shared, User};
use crate::problem::Problem;
use crate::query::Query;
use crate::slots::Slot;

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// The body of a request as it arrives.
pub(crate) struct Stream(Payload);

impl FromRequest<DefaultError> for Stream {
    type Error = Problem;

    async fn from_request(_: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        Ok(Self(payload.take()))
    }
}

/// Import telemetry
///
/// Rows in the form of an export, of any length. What is there already, with the same device, topic, timestamp and payload, is not
/// stored again, so an import can be repeated. Rows are stored in batches of up to 1,000; when a line is wrong, its batch is not
/// stored, and those before it are.
#[utoipa::path(post, path = "/telemetry/import", tag = "telemetry", operation_id = "importTelemetry",
    params(TenantParameters),
    request_body(content(
        (String = "application/x-ndjson"),
        (String = "text/csv", example = "deviceId,topic,payload,timestamp"),
    )),
    responses((status = 200, description = "All rows are stored.", body = ImportResult)))]
pub(crate) async fn import(
    app: App,
    user: User,
    query: Query<TenantParameters>,
    request: HttpRequest,
    stream: Stream,
) -> Answer {
    let format = format(&request)?;
    let gzip = is_gzip(request.headers())?;
    let importer = app.telemetry.import(&user, query.tenant()).await?;
    let mut slot = Shared::of(&request)?.imports.take(user.tenant_id(), (), "imports")?;
    let mut payload = stream.0;
    let import = TextImport::new(importer, format, gzip);
    match take(&mut payload, import, &mut slot).await {
        Ok(summary) => ok(&ImportResult::from(summary)),
        // The rest of the body is passed over, as of every other request.
        Err(problem) => Ok(problem.answer(request.path())),
    }
}

/// Imports what arrives. The problem says how much is stored.
async fn take(payload: &mut Payload, mut import: TextImport, slot: &mut Slot<()>) -> Result<ImportSummary, Problem> {
    loop {
        if slot.with(|()| ()).is_none() || slot.is_slow() {
            let detail = "the body arrived too slowly; at least 1 KiB per second is required";
            return Err(Problem::new(Code::RequestTimeout, detail).stored_before(import.summary()));
        }
        slot.wait();
        let next = tokio::time::timeout(SILENCE, payload.recv()).await;
        let next = next.map_err(|_| {
            let detail = format!("nothing of the body arrived for {} seconds", SILENCE.as_secs());
            Problem::new(Code::RequestTimeout, detail).stored_before(import.summary())
        })?;
        let Some(bytes) = next else { break };
        let bytes = bytes.map_err(|error| {
            let problem = Problem::new(Code::BadRequest, format!("the body did not arrive: {error}"));
            problem.stored_before(import.summary())
        })?;
        slot.go_on(bytes.len());
        if let Err(error) = import.push(bytes.to_vec()).await {
            return Err(problem(error).stored_before(import.summary()));
        }
    }
    import.finish().await.map_err(|(error, summary)| problem(error).stored_before(summary))
}

fn problem(error: TextImportError) -> Problem {
    match error {
        TextImportError::Line(wrong) => Problem::field(Code::Invalid, wrong.place(), wrong.message),
        TextImportError::NotGzip(error) => Problem::new(Code::BadRequest, error.to_string()),
        // The tenant was removed meanwhile.
        TextImportError::Other(Error::NotFound) => Problem::not_found(),
        TextImportError::Other(error) => error.into(),
    }
}

fn format(request: &HttpRequest) -> Result<Format, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let mut parts = media_type.unwrap_or_default().split(';').map(str::trim);
    let format = Format::of_media_type(&parts.next().unwrap_or_default().to_ascii_lowercase());
    let other_charset = parts.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    format.filter(|_| !other_charset).ok_or_else(|| {
        let detail = "the body must be application/x-ndjson or text/csv, in UTF-8, and its content-type must say so";
        Problem::new(Code::UnsupportedMediaType, detail)
    })
}
