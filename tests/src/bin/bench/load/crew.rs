//! Connections of one kind, on threads of their own.

use std::io;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Half of the cores, so that senders, receivers and the broker have some each.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Does `work` for each number below `count` at the same time. Returns what came of each.
///
/// # Errors
/// The first error of any; the others are given up then.
pub(crate) async fn crew<T, F>(count: usize, work: impl Fn(usize) -> F + Clone + Send + 'static) -> io::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + 'static,
{
    let threads = threads().min(count);
    let mut parts = Vec::new();
    for first in 0..threads {
        let (send, part) = oneshot::channel();
        let work = work.clone();
        std::thread::spawn(move || send.send(on_this_thread((first..count).step_by(threads), work)));
        parts.push(part);
    }
    let mut all = Vec::with_capacity(count);
    for part in parts {
        all.extend(part.await.map_err(io::Error::other)??);
    }
    Ok(all)
}

fn on_this_thread<T: 'static, F: Future<Output = io::Result<T>> + 'static>(
    numbers: impl Iterator<Item = usize>,
    work: impl Fn(usize) -> F,
) -> io::Result<Vec<T>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let set = LocalSet::new();
    let tasks: Vec<_> = numbers.map(|number| set.spawn_local(work(number))).collect();
    set.block_on(&runtime, async {
        let mut done = Vec::with_capacity(tasks.len());
        for task in tasks {
            done.push(task.await.map_err(io::Error::other)??);
        }
        Ok(done)
    })
}
