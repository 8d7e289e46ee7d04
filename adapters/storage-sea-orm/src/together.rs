//! Questions that wait at the same time are asked together.
//!
//! A trip to a connection wakes threads of the driver and of the runtime, which takes longer than a look-up by a key. While a
//! trip is under way, questions gather; the next trip takes all of them in one statement. A question is never put to a trip
//! that has begun, so an answer sees all that was committed before the question was asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pocket_ports::StorageError;
use tokio::sync::oneshot;

use crate::database::Database;
use crate::error::Error;

/// A question that is answered like many others of its kind.
#[async_trait]
pub(crate) trait Question: Sized + Send + 'static {
    /// What is answered.
    type Answer: Send + 'static;

    /// Trips at the same time.
    const TRIPS: usize;
    /// Questions of one trip.
    const MOST: usize;

    /// The answers to all questions, in their order.
    async fn answer(db: &Database, questions: Vec<Self>) -> Result<Vec<Self::Answer>, Error>;
}

/// Questions of one kind to one database. How many wait is limited by the transports, which serve so many requests at once.
pub(crate) struct Together<Q: Question>(Arc<Mutex<State<Q>>>);

/// Who waits for an answer.
type Asker<Q> = oneshot::Sender<Result<<Q as Question>::Answer, StorageError>>;

struct State<Q: Question> {
    waiting: Vec<(Q, Asker<Q>)>,
    /// Trips that are under way.
    trips: usize,
}

impl<Q: Question> Default for Together<Q> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { waiting: Vec::new(), trips: 0 })))
    }
}

impl<Q: Question> Together<Q> {
    /// Asks, with all who ask meanwhile.
    pub(crate) async fn ask(&self, db: &Arc<Database>, question: Q) -> Result<Q::Answer, StorageError> {
        let (asker, answer) = oneshot::channel();
        {
            let mut state = lock(&self.0);
            state.waiting.push((question, asker));
            if state.trips < Q::TRIPS {
                state.trips += 1;
                db.spawn(travel(Arc::clone(db), Trip { state: Arc::clone(&self.0), is_over: false }));
            }
        }
        let gone = || StorageError::Unavailable("the database did not answer".to_owned());
        db.patiently(answer).await?.unwrap_or_else(|_| Err(gone()))
    }
}

fn lock<Q: Question>(state: &Mutex<State<Q>>) -> MutexGuard<'_, State<Q>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks until nobody waits any more.
async fn travel<Q: Question>(db: Arc<Database>, mut trip: Trip<Q>) {
    while let Some(asked) = trip.next() {
        let (questions, askers): (Vec<Q>, Vec<Asker<Q>>) = asked.into_iter().unzip();
        // An asker who went away takes no answer.
        match db.patiently(Q::answer(&db, questions)).await {
            Ok(Ok(answers)) => {
                for (asker, answer) in askers.into_iter().zip(answers) {
                    let _ = asker.send(Ok(answer));
                }
            }
            Ok(Err(error)) => refuse::<Q>(askers, &error.into()),
            Err(late) => refuse::<Q>(askers, &late),
        }
    }
}

fn refuse<Q: Question>(askers: Vec<Asker<Q>>, error: &StorageError) {
    for asker in askers {
        let _ = asker.send(Err(error.clone()));
    }
}

/// A trip that counts as under way until it is over or dropped, even by a panic.
struct Trip<Q: Question> {
    state: Arc<Mutex<State<Q>>>,
    is_over: bool,
}

impl<Q: Question> Trip<Q> {
    /// Who is waiting; `None` when nobody is, and the trip is over.
    fn next(&mut self) -> Option<Vec<(Q, Asker<Q>)>> {
        let mut state = lock(&self.state);
        if state.waiting.is_empty() {
            state.trips -= 1;
            self.is_over = true;
            return None;
        }
        let most = state.waiting.len().min(Q::MOST);
        Some(state.waiting.drain(..most).collect())
    }
}

impl<Q: Question> Drop for Trip<Q> {
    fn drop(&mut self) {
        if !self.is_over {
            lock(&self.state).trips -= 1;
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, reason = "a test may fail at once")]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::sample::Sample;

    /// What becomes of a trip.
    #[derive(Clone, Copy, PartialEq)]
    enum Fate {
        Arrives,
        Fails,
        Panics,
    }

    struct Number {
        number: usize,
        fate: Fate,
        /// How many questions each trip had.
        trips: Arc<Mutex<Vec<usize>>>,
        /// Lets a trip go on.
        gate: Arc<Semaphore>,
    }

    #[async_trait]
    impl Question for Number {
        type Answer = usize;
        const TRIPS: usize = 1;
        const MOST: usize = 4;

        async fn answer(_: &Database, questions: Vec<Self>) -> Result<Vec<usize>, Error> {
            questions[0].trips.lock().unwrap().push(questions.len());
            questions[0].gate.acquire().await.unwrap().forget();
            match questions[0].fate {
                Fate::Arrives => Ok(questions.iter().map(|question| question.number).collect()),
                Fate::Fails => Err(StorageError::NotFound.into()),
                Fate::Panics => panic!("a trip that is meant to panic"),
            }
        }
    }

    struct Desk {
        sample: Sample,
        together: Arc<Together<Number>>,
        trips: Arc<Mutex<Vec<usize>>>,
        gate: Arc<Semaphore>,
    }

    type Asked = tokio::task::JoinHandle<Result<usize, StorageError>>;

    impl Desk {
        async fn new() -> Self {
            let (trips, gate) = (Arc::default(), Arc::new(Semaphore::new(0)));
            Self { sample: Sample::new().await, together: Arc::default(), trips, gate }
        }

        /// Asks, and returns when the question waits or is on its way.
        async fn ask(&self, number: usize, fate: Fate) -> Asked {
            let question = Number { number, fate, trips: Arc::clone(&self.trips), gate: Arc::clone(&self.gate) };
            let (together, db) = (Arc::clone(&self.together), Arc::clone(&self.sample.database));
            let before = self.known();
            let asked = tokio::spawn(async move { together.ask(&db, question).await });
            while self.known() == before {
                tokio::task::yield_now().await;
            }
            asked
        }

        /// Questions that wait, or went.
        fn known(&self) -> usize {
            lock(&self.together.0).waiting.len() + self.trips.lock().unwrap().iter().sum::<usize>()
        }

        async fn until_trips(&self, trips: &[usize]) {
            while *self.trips.lock().unwrap() != trips {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn questions_that_wait_go_together_and_each_gets_its_own_answer() {
        let desk = Desk::new().await;
        let mut asked = vec![desk.ask(0, Fate::Arrives).await];
        desk.until_trips(&[1]).await;
        for number in 1..7 {
            asked.push(desk.ask(number, Fate::Arrives).await);
        }
        // Not one of them is put to the trip that has begun, and no trip has more than it may.
        desk.gate.add_permits(3);
        for (number, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap(), Ok(number));
        }
        assert_eq!(*desk.trips.lock().unwrap(), [1, 4, 2]);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_of_a_trip_and_to_nobody_else() {
        let desk = Desk::new().await;
        desk.gate.add_permits(1);
        assert_eq!(desk.ask(0, Fate::Fails).await.await.unwrap(), Err(StorageError::NotFound));
        let first = desk.ask(1, Fate::Arrives).await;
        desk.until_trips(&[1, 1]).await;
        let others = [desk.ask(2, Fate::Fails).await, desk.ask(3, Fate::Fails).await];
        desk.gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(1));
        for other in others {
            assert_eq!(other.await.unwrap(), Err(StorageError::NotFound));
        }
    }

    #[tokio::test]
    async fn a_panic_leaves_the_way_free() {
        let desk = Desk::new().await;
        desk.gate.add_permits(2);
        let lost = desk.ask(0, Fate::Panics).await.await.unwrap();
        assert!(matches!(lost, Err(StorageError::Unavailable(_))), "{lost:?}");
        assert_eq!(desk.ask(1, Fate::Arrives).await.await.unwrap(), Ok(1));
    }
}
