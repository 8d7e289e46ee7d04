//! Large answers and bodies: they are written and decoded on a thread that may be blocked, and not on the one that serves all
//! requests.
//!
//! Such work holds one of a few places, of which a tenant has a share: answers one of those for reads. It ends when its client
//! goes away.

use std::io;
use std::sync::{Arc, Weak};

use pocket_application::FairSlots;
use pocket_domain::TenantId;
use serde::Serialize;

use crate::answer::{Answer, ok, ok_with};
use crate::problem::Problem;

/// Texts with more bytes are large.
pub(crate) const LARGE: usize = 64 * 1_024;
/// About how many bytes an entry of a list of registered things takes.
pub(crate) const ENTRY: usize = 256;

/// Whether somebody still waits for a piece of work.
pub(crate) struct Wanted(Weak<()>);

impl Wanted {
    fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Does work of a tenant on a thread that may be blocked, in one of some places.
///
/// # Errors
/// `Busy` when no place becomes free in time.
pub(crate) async fn aside<T: Send + 'static>(
    places: &FairSlots,
    tenant: TenantId,
    work: impl FnOnce(Wanted) -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = places.enter(tenant).await?;
    // Dropped with the request.
    let waiting = Arc::new(());
    let wanted = Wanted(Arc::downgrade(&waiting));
    let done = tokio::task::spawn_blocking(move || {
        let done = work(wanted);
        drop(place);
        done
    });
    done.await.map_err(|error| Problem::internal(error.to_string()))
}

/// 200 with a body of about so many bytes, which is made where it does not hold up others.
///
/// # Errors
/// As of [`aside`], when it is large.
pub(crate) async fn ok_aside<T: Serialize>(
    reads: &FairSlots,
    tenant: TenantId,
    bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> Answer {
    if bytes <= LARGE {
        return ok(&body());
    }
    let write = move |text: &mut Text| {
        serde_json::to_writer(text, &body()).map_err(|error| Problem::internal(format!("answer not written: {error}")))
    };
    written_aside(reads, tenant, bytes, write).await
}

/// 200 with a text of about so many bytes, as [`ok_aside`].
///
/// # Errors
/// That of the writer, and those of [`aside`], when it is large.
pub(crate) async fn written_aside(
    reads: &FairSlots,
    tenant: TenantId,
    bytes: usize,
    write: impl FnOnce(&mut Text) -> Result<(), Problem> + Send + 'static,
) -> Answer {
    let work = move |wanted| {
        let mut text = Text { bytes: Vec::with_capacity(bytes), wanted, checked: 0 };
        write(&mut text).map(|()| text.bytes)
    };
    let text = if bytes <= LARGE { work(Wanted(Weak::new())) } else { aside(reads, tenant, work).await? };
    ok_with(text?)
}

/// A text that is written as long as it is wanted.
pub(crate) struct Text {
    bytes: Vec<u8>,
    wanted: Wanted,
    /// How long it was when somebody was seen to want it.
    checked: usize,
}

impl Text {
    /// Adds a whole text.
    pub(crate) fn add(&mut self, text: Vec<u8>) {
        if self.bytes.is_empty() { self.bytes = text } else { self.bytes.extend(text) }
    }
}

impl io::Write for Text {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() - self.checked > LARGE {
            self.checked = self.bytes.len();
            if !self.wanted.is_wanted() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use pocket_application::SlotLimits;
    use pocket_domain::Timestamp;

    use super::*;

    fn tenant(n: u8) -> TenantId {
        TenantId::new(Timestamp::MIN, [n; 10])
    }

    #[tokio::test]
    async fn large_work_of_a_tenant_leaves_places_to_others_and_the_thread_to_all() {
        let reads = FairSlots::new(SlotLimits { places: 2, ..SlotLimits::READS });
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = aside(&reads, tenant(1), move |_| wait.recv());
        let mut second = std::pin::pin!(aside(&reads, tenant(1), |_| ()));
        let others = async {
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
            aside(&reads, tenant(2), |_| ()).await.unwrap();
            go.send(()).unwrap();
        };
        let (done, ()) = tokio::join!(first, others);
        assert!(done.is_ok_and(|received| received.is_ok()));
        second.await.unwrap();
        assert_eq!((reads.stats().served, reads.stats().taken), (3, 0));
    }

    #[tokio::test]
    async fn a_text_that_nobody_waits_for_is_not_written_to_its_end() {
        let reads = FairSlots::new(SlotLimits::READS);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (ended, end) = tokio::sync::oneshot::channel();
        let write = move |text: &mut Text| {
            text.write_all(&[b'x'; LARGE + 1]).unwrap();
            begun.send(()).unwrap();
            wait.recv().unwrap();
            ended.send(text.write_all(&[b'x'; LARGE + 1]).is_err()).unwrap();
            Ok(())
        };
        let answer = written_aside(&reads, tenant(1), LARGE + 1, write);
        tokio::select! { biased; _ = answer => panic!("it does not end"), _ = has_begun => {} }
        go.send(()).unwrap();
        assert!(end.await.unwrap());
    }

    #[tokio::test]
    async fn short_answers_are_written_at_once() {
        let reads = FairSlots::new(SlotLimits::READS);
        ok_aside(&reads, tenant(1), LARGE, || "short").await.ok().unwrap();
        assert_eq!(reads.stats().served, 0);
        ok_aside(&reads, tenant(1), LARGE + 1, || "long").await.ok().unwrap();
        assert_eq!(reads.stats().served, 1);
    }
}
