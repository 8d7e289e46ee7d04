//! Whether the platform can store, asked at most once a second, however many ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pocket_application::Application;
use pocket_ports::StorageError;
use tokio::sync::Mutex;

/// For how long an answer holds.
const HOLDS: Duration = Duration::from_secs(1);

/// An answer, and when it was given.
type Answer = (Instant, Result<(), StorageError>);

/// The last answer. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<Answer>>>);

impl Readiness {
    /// See [`Application::ready`]. Those who ask together wait for one answer.
    pub(crate) async fn ask(&self, application: &Application) -> Result<(), StorageError> {
        let mut last = self.0.lock().await;
        match &*last {
            Some((at, answer)) if at.elapsed() < HOLDS => answer.clone(),
            _ => {
                let answer = application.ready().await;
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }
}
