//! What is still sent of a body when its answer is ready: passed over, so that the client can read the answer. A connection that is
//! closed while its client sends is reset, and with the reset goes what the client has not read.
//!
//! The answer goes out at once. Its body is not over for the server until the rest of the request has come, or is too much, or
//! takes too long; the client knows from `content-length` that it has all.

use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ntex::http::body::{Body, BodySize, MessageBody, ResponseBody};
use ntex::http::error::PayloadError;
use ntex::http::{ConnectionType, Payload, Request, Response};
use ntex::util::{Bytes, Stream};
use tokio::time::{Instant, Sleep};

/// Bytes that are passed over, and for how long, before the connection is closed nevertheless.
const MOST_BYTES: usize = 64 * 1_024 * 1_024;
const MOST_TIME: Duration = Duration::from_secs(10);
/// How long a client that was answered may send nothing of the rest.
const SILENCE: Duration = Duration::from_secs(2);
/// How long an answer without a body waits for the rest of the request, which it cannot wait for afterwards.
const BEFORE: Duration = Duration::from_millis(500);
const BYTES_BEFORE: usize = 256 * 1_024;

/// The body of a request, shared by the handler that reads it and by who passes over the rest.
#[derive(Clone)]
pub(crate) struct Incoming(Rc<RefCell<State>>);

struct State {
    payload: Payload,
    is_over: bool,
}

impl Incoming {
    /// Shares the body of a request; `None` when it has none.
    pub(crate) fn share(request: &mut Request) -> Option<Self> {
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let incoming = Self(Rc::new(RefCell::new(State { payload, is_over: false })));
        request.replace_payload(Payload::from_stream(incoming.clone()));
        Some(incoming)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let mut state = self.0.borrow_mut();
        if state.is_over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(state.payload.poll_recv(cx));
        if !matches!(next, Some(Ok(_))) {
            state.is_over = true;
        }
        Poll::Ready(next)
    }

    fn is_over(&self) -> bool {
        self.0.borrow().is_over
    }

    /// Lets the rest go, upon which the connection is closed after the answer.
    fn abandon(&self) {
        let mut state = self.0.borrow_mut();
        state.is_over = true;
        drop(state.payload.take());
    }

    /// The answer, which goes out now, and after which the rest of the body is discarded.
    pub(crate) async fn drain_after(self, answer: Response) -> Response {
        if self.is_over() {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let bytes = match body {
            ResponseBody::Body(Body::Bytes(bytes)) | ResponseBody::Other(Body::Bytes(bytes)) => bytes,
            other => {
                // It cannot go on when such an answer is over.
                self.drain_before().await;
                let answer = head.map_body(|_, _| other);
                return if self.is_over() { answer } else { self.close_after(answer) };
            }
        };
        let drain = Drain {
            length: bytes.len() as u64,
            bytes: Some(bytes),
            rest: self,
            left: MOST_BYTES,
            until: Instant::now() + MOST_TIME,
            time: Box::pin(tokio::time::sleep(SILENCE)),
        };
        head.map_body(|_, _| ResponseBody::Body(Body::from_message(drain)))
    }

    /// Lets the rest go; ntex closes the connection after the answer.
    fn close_after(&self, mut answer: Response) -> Response {
        self.abandon();
        answer.head_mut().set_connection_type(ConnectionType::Close);
        answer
    }

    /// Passes over a short rest before an answer that has no body of its own.
    async fn drain_before(&self) {
        let mut passed = 0;
        let rest = async {
            while passed < BYTES_BEFORE {
                match std::future::poll_fn(|cx| self.poll(cx)).await {
                    Some(Ok(bytes)) => passed += bytes.len(),
                    _ => return,
                }
            }
        };
        // What takes longer is not waited for.
        let _ = tokio::time::timeout(BEFORE, rest).await;
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

/// The body of an answer, which ends when the request does.
struct Drain {
    length: u64,
    bytes: Option<Bytes>,
    rest: Incoming,
    left: usize,
    until: Instant,
    time: Pin<Box<Sleep>>,
}

impl MessageBody for Drain {
    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Rc<dyn Error>>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        loop {
            match self.rest.poll(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(bytes))) if bytes.len() <= self.left => {
                    self.left -= bytes.len();
                    self.time.as_mut().reset(self.until.min(Instant::now() + SILENCE));
                }
                Poll::Pending if self.time.as_mut().poll(cx).is_pending() => return Poll::Pending,
                Poll::Ready(Some(_)) | Poll::Pending => self.rest.abandon(),
            }
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.rest.abandon();
    }
}
