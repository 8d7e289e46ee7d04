//! The call that gives a whole history.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ntex::http::body::{Body, BodySize, MessageBody};
use ntex::http::{Method, header};
use ntex::util::Bytes;
use ntex::web::{HttpRequest, HttpResponse};
use pocket_application::Error;
use pocket_telemetry_text::TextExport;

use crate::answer::Answer;
use crate::connections;
use crate::cut_filters;
use crate::dto::export::ExportParameters;
use crate::dto::telemetry::TelemetryRow;
use crate::encoding::accepts_gzip;
use crate::extract::{App, Shared, User};
use crate::query::Query;
use crate::slots::Slot;

/// Bytes that are given to the connection together.
const PIECE: usize = 32 * 1_024;

/// Export the history of telemetry
///
/// All rows that meet the conditions, device after device, each from its oldest row on, as a text that is sent while it is read. An
/// answer that is cut off ends without its last chunk, so a client can tell; a compressed one also lacks its end.
#[utoipa::path(get, path = "/telemetry/export", tag = "telemetry", operation_id = "exportTelemetry",
    params(ExportParameters),
    responses((status = 200, description = "The rows, compressed when gzip is accepted.", content(
        (TelemetryRow = "application/x-ndjson"),
        (String = "text/csv", example = "id,deviceId,topic,payload,timestamp,receivedAt"),
    ))))]
pub(crate) async fn export(app: App, user: User, query: Query<ExportParameters>, request: HttpRequest) -> Answer {
    let scan = query.scan()?;
    cut_filters::refuse(&app, &user, query.tenant(), scan.topic.as_ref()).await?;
    let exporter = app.telemetry.export(&user, query.tenant(), scan).await?;
    let (format, gzip) = (query.format(), accepts_gzip(request.headers()));
    let mut answer = HttpResponse::Ok();
    answer
        .header(header::CONTENT_TYPE, format.media_type())
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"telemetry.{format}\""))
        .header(header::VARY, "Accept-Encoding");
    if gzip {
        answer.header(header::CONTENT_ENCODING, "gzip");
    }
    if *request.method() == Method::HEAD {
        // Reading all of it would only be work.
        return Ok(answer.body(Body::None));
    }
    let export = TextExport::new(exporter, format, gzip);
    let export = if query.for_spreadsheet() { export.for_spreadsheet() } else { export };
    let under_way = UnderWay::begin(export);
    let slot = Shared::of(&request)?.exports.take(user.tenant_id(), under_way, "exports")?;
    connections::may_pause(request.io());
    Ok(answer.body(Body::from_message(ExportBody(slot, 0))))
}

type Next = Pin<Box<dyn Future<Output = (TextExport, Result<Option<Vec<u8>>, Error>)> + Send>>;

/// An export that is being sent.
pub(crate) struct UnderWay {
    /// Bytes that are not sent yet.
    bytes: Bytes,
    /// What brings the next ones; `None` at the end.
    next: Option<Next>,
}

impl UnderWay {
    fn begin(export: TextExport) -> Self {
        Self { bytes: Bytes::new(), next: Some(after(export)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            if !self.bytes.is_empty() {
                return Poll::Ready(Some(Ok(self.bytes.split_to(PIECE.min(self.bytes.len())))));
            }
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let (export, result) = std::task::ready!(next.as_mut().poll(cx));
            self.next = None;
            match result {
                Ok(Some(bytes)) => {
                    self.bytes = bytes.into();
                    self.next = Some(after(export));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

fn after(mut export: TextExport) -> Next {
    Box::pin(async move {
        let next = export.next().await;
        (export, next)
    })
}

/// The body of the answer, with the bytes of the piece that is under way. It is asked for the next piece when the connection has room, and
/// dropped with the connection.
struct ExportBody(Slot<UnderWay>, usize);

impl MessageBody for ExportBody {
    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Rc<dyn StdError>>>> {
        // The client is waited for from the time on at which it gets a piece.
        self.0.go_on(std::mem::take(&mut self.1));
        let polled = self.0.with(|under_way| under_way.poll(cx));
        let Some(polled) = polled else {
            let cut = Cut("its client took next to nothing, and another export needed its place".into());
            return Poll::Ready(Some(Err(Rc::new(cut))));
        };
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            self.1 = piece.len();
            self.0.wait();
        }
        polled.map(|next| next.map(|piece| piece.map_err(|error| Rc::new(Cut(error.to_string())) as Rc<dyn StdError>)))
    }
}

/// Why an export was cut off; for the log.
#[derive(Debug)]
struct Cut(String);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an export was cut off: {}", self.0)
    }
}

impl StdError for Cut {}
