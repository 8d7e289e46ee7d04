//! What handlers take from a request: the platform, who calls, ids of the path and where the call comes from.

use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use ntex::http::{HeaderMap, Payload, header};
use ntex::web::{DefaultError, FromRequest, HttpRequest};
use pocket_application::{Application, Caller, FairSlots, SlotLimits};
use pocket_domain::Invalid;

use crate::budget::BodyBudget;
use crate::config::{BodyLimits, Metrics};
use crate::cors::Cors;
use crate::export::UnderWay;
use crate::problem::Problem;
use crate::readiness::Readiness;
use crate::slots::Slots;
use crate::stats::RestMeter;
use crate::trusted::{TrustedProxies, is_forwarded};

/// What every worker shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) application: Arc<Application>,
    pub(crate) body_limits: BodyLimits,
    pub(crate) metrics: Metrics,
    pub(crate) exports: Slots<UnderWay>,
    pub(crate) imports: Slots<()>,
    pub(crate) trusted: TrustedProxies,
    pub(crate) readiness: Readiness,
    pub(crate) bodies: BodyBudget,
    /// Places for decoding large bodies, so that what comes does not wait for what is read.
    pub(crate) decoding: FairSlots,
    pub(crate) cors: Cors,
}

impl Shared {
    /// Exports, and imports, that there may be at once.
    pub(crate) const TRANSFERS: usize = 8;

    /// What the server was configured with.
    pub(crate) fn new(
        application: Arc<Application>,
        body_limits: BodyLimits,
        metrics: Metrics,
        trusted: TrustedProxies,
        meter: &RestMeter,
    ) -> Self {
        let exports = Slots::new(Self::TRANSFERS, meter.clone());
        let imports = Slots::new(Self::TRANSFERS, meter.clone());
        let (readiness, bodies) = (Readiness::default(), BodyBudget::new(body_limits.telemetry));
        let (decoding, cors) = (FairSlots::new(SlotLimits::READS), Cors::default());
        Self { application, body_limits, metrics, exports, imports, trusted, readiness, bodies, decoding, cors }
    }

    pub(crate) fn of(request: &HttpRequest) -> Result<&Self, Problem> {
        request.app_state::<Self>().ok_or_else(|| Problem::internal("the application is not attached to the server"))
    }
}

/// The use cases.
pub(crate) struct App(Arc<Application>);

impl Deref for App {
    type Target = Application;

    fn deref(&self) -> &Application {
        &self.0
    }
}

impl FromRequest<DefaultError> for App {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        Ok(Self(Arc::clone(&Shared::of(request)?.application)))
    }
}

/// The person whose bearer token came with the request. Stands before the body among a handler's arguments, so that a
/// stranger's body is not read.
pub(crate) struct User(Caller);

impl Deref for User {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl FromRequest<DefaultError> for User {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        let token = bearer(request.headers()).ok_or_else(|| {
            Problem::unauthenticated(
                "log in at /api/v1/auth/login and send its token as `Authorization: Bearer <token>`",
            )
        })?;
        Ok(Self(Shared::of(request)?.application.auth.authenticate(token).await?))
    }
}

/// The bearer token of a request (RFC 6750, 2.1). The scheme is case-insensitive (RFC 9110, 11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// The `{id}` of the path. One that is no id is the id of nothing, so it is answered like an unknown one.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr<Err = Invalid>> FromRequest<DefaultError> for Id<T> {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        let id = request.match_info().get("id").and_then(|id| id.parse().ok());
        id.map(Self).ok_or_else(Problem::not_found)
    }
}

/// The address that a request comes from.
pub(crate) struct Source(pub(crate) IpAddr);

impl Source {
    /// The peer of the connection, or what a trusted proxy says. Others are not believed: anybody can send such headers.
    fn of(request: &HttpRequest) -> Result<IpAddr, Problem> {
        let peer = request.peer_addr().map(|peer| peer.ip());
        Ok(Shared::of(request)?.trusted.source(peer, request.headers()))
    }
}

/// Whether a request comes from this machine, and from no proxy on it.
pub(crate) fn is_local(request: &HttpRequest) -> bool {
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    peer.is_some_and(|peer| peer.is_loopback()) && !is_forwarded(request.headers())
}

impl FromRequest<DefaultError> for Source {
    type Error = Problem;

    async fn from_request(request: &HttpRequest, _: &mut Payload) -> Result<Self, Problem> {
        Self::of(request).map(Self)
    }
}
