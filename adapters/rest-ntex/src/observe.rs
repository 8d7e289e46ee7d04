//! What surrounds every request: its id, its line in the log, headers that every answer carries, and the wall that a panic
//! does not pass.
//!
//! It stands outside of routing, so that it also covers what ntex itself answers.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::{Duration, Instant};

use ntex::SharedCfg;
use ntex::http::body::{BodySize, MessageBody};
use ntex::http::header::{self, HeaderValue};
use ntex::http::{ConnectionType, Method, Request, Response, StatusCode, Version};
use ntex::service::{Middleware, Service, ServiceCtx};
use ntex::web::WebResponse;
use pocket_application::network_of;
use tracing::Instrument;

use crate::code::Code;
use crate::connections;
use crate::drain::Incoming;
use crate::extract::{Shared, bearer};
use crate::gate::{Party, Place};
use crate::problem::Problem;
use crate::request_id::{self, RequestId};
use crate::stats::RestMeter;

/// The path of a call as the table has it, attached to its resource, so that the log does not have a line for every id.
#[derive(Clone, Copy)]
pub(crate) struct Template(pub(crate) &'static str);

/// Surrounds a service.
pub(crate) struct Observe {
    pub(crate) shared: Shared,
    pub(crate) meter: RestMeter,
}

impl<S> Middleware<S, SharedCfg> for Observe {
    type Service = Observed<S>;

    fn create(&self, inner: S, _: SharedCfg) -> Self::Service {
        Observed { inner, shared: self.shared.clone(), meter: self.meter.clone() }
    }
}

/// A service that is surrounded.
pub(crate) struct Observed<S> {
    inner: S,
    shared: Shared,
    meter: RestMeter,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = WebResponse>,
{
    type Response = Response;
    type Error = S::Error;

    async fn ready(&self, ctx: ServiceCtx<'_, Self>) -> Result<(), S::Error> {
        ctx.ready(&self.inner).await
    }

    fn poll(&self, cx: &mut std::task::Context<'_>) -> Result<(), S::Error> {
        self.inner.poll(cx)
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    async fn call(&self, mut request: Request, ctx: ServiceCtx<'_, Self>) -> Result<Response, S::Error> {
        let seen = Seen::new(&request);
        let span = tracing::info_span!("request", id = %seen.id);
        async {
            let incoming = Incoming::share(&mut request);
            let page = self.shared.cors.judge(&request);
            let version = request.version();
            let (mut answer, template, place) = match (self.admit(&request), page.preflight(&request)) {
                (Ok(place), Some(preflight)) => (preflight, None, place),
                (Ok(place), None) => {
                    let (answer, template) = self.answer(request, &seen, ctx).await?;
                    (answer, template, place)
                }
                (Err(problem), _) => (refused(&problem, &seen.path), None, None),
            };
            if version < Version::HTTP_11 {
                end_with_connection(&mut answer);
            }
            if let Some(incoming) = incoming {
                answer = incoming.drain_after(answer).await;
            }
            dress(&mut answer, &seen.id);
            page.dress(&mut answer);
            let took = seen.began.elapsed();
            self.meter.answered(answer.status(), took);
            seen.log(answer.status(), template, took);
            drop(place);
            Ok(answer)
        }
        .instrument(span)
        .await
    }
}

impl<S> Observed<S>
where
    S: Service<Request, Response = WebResponse>,
{
    /// A place for the request. Who watches over the process needs none: these requests end at once.
    fn admit(&self, request: &Request) -> Result<Option<Place>, Problem> {
        check_host(request)?;
        let gate = self.meter.gate();
        if matches!(request.path(), "/health" | "/ready" | "/metrics") && !gate.is_closing() {
            return Ok(None);
        }
        let party = self.party(request);
        connections::belongs_to(request.io(), party);
        gate.enter(party).map(Some).ok_or_else(|| {
            self.meter.turned_away();
            Problem::unavailable(
                "too many requests at once, of all or of this source or tenant, or the server is stopping",
            )
        })
    }

    /// Who makes a request. That a token is still its owner's is asked later.
    fn party(&self, request: &Request) -> Party {
        let shown = bearer(request.headers());
        match shown.and_then(|token| self.shared.application.auth.glance(token)) {
            Some((tenant, _)) => Party::Tenant(tenant),
            None => {
                let peer = request.peer_addr().map(|peer| peer.ip());
                Party::Stranger(network_of(self.shared.trusted.source(peer, request.headers())))
            }
        }
    }

    /// The service's own answer and the path in the table, or a problem when it panics.
    async fn answer(
        &self,
        request: Request,
        seen: &Seen,
        ctx: ServiceCtx<'_, Self>,
    ) -> Result<(Response, Option<&'static str>), S::Error> {
        match caught(ctx.call(&self.inner, request)).await {
            Ok(answer) => {
                let answer = answer?;
                let template = answer.request().app_state::<Template>().map(|template| template.0);
                Ok((answer.into(), template))
            }
            Err(panic) => {
                let problem = Problem::internal(format!("panic: {}", message(&*panic)));
                Ok((problem.answer(&seen.path), None))
            }
        }
    }
}

/// Adds the headers that every answer carries.
pub(crate) fn dress(answer: &mut Response, id: &RequestId) {
    let headers = answer.headers_mut();
    headers.insert(request_id::HEADER, id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Every answer is of this moment, and some carry secrets.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// RFC 9112, 3.2: a request of HTTP/1.1 has one `Host`. Those of HTTP/1.0 need none.
fn check_host(request: &Request) -> Result<(), Problem> {
    let hosts = request.headers().get_all(header::HOST).count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(Problem::new(Code::BadRequest, "a request of HTTP/1.1 must have one Host field"));
    }
    Ok(())
}

/// HTTP/1.0 knows no chunks (RFC 9112, 7.1): an answer of unknown length ends with its connection.
fn end_with_connection(answer: &mut Response) {
    if matches!(answer.body().size(), BodySize::Stream) {
        let head = answer.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

fn refused(problem: &Problem, path: &str) -> Response {
    let mut answer = problem.answer(path);
    // The client's next request may find another process.
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer
}

/// What is kept of a request for its line in the log.
struct Seen {
    id: RequestId,
    method: Method,
    path: String,
    began: Instant,
}

impl Seen {
    fn new(request: &Request) -> Self {
        Self {
            id: RequestId::of(request.headers()),
            method: request.method().clone(),
            path: request.path().to_owned(),
            began: Instant::now(),
        }
    }

    fn log(&self, status: StatusCode, template: Option<&str>, took: Duration) {
        let (method, status) = (self.method.as_str(), status.as_u16());
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match template {
            // Asked for every few seconds by whoever watches the process.
            Some(route @ ("/health" | "/ready" | "/metrics")) => {
                tracing::debug!(target: "pocket_rest_ntex::access", method, route, status, micros, "answered");
            }
            route => {
                let route = route.unwrap_or("none");
                tracing::info!(target: "pocket_rest_ntex::access", method, route, status, micros, "answered");
            }
        }
    }
}

/// Awaits a future; a panic of it becomes an error.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    let poll = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    });
    // The future is not polled again after a panic; what it shared with others is behind locks of its own.
    poll.await
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}
