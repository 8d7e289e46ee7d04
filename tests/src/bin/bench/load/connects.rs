//! Connections one after the other, as fast as they are accepted, and held.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::crew::crew;
use super::{Target, packet};

/// So many devices connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connects {
    /// Connections.
    pub(crate) connections: usize,
    /// So many at a time wait for their CONNACK.
    pub(crate) at_once: usize,
}

/// Connections that were made.
#[derive(Debug)]
pub(crate) struct Connected {
    /// Connections a second.
    pub(crate) per_second: f64,
    held: Vec<TcpStream>,
}

impl Connects {
    /// Connects.
    ///
    /// # Errors
    /// When a connection is refused.
    pub(crate) async fn run(self, target: &Target) -> io::Result<Connected> {
        let (target, next) = (target.clone(), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let held = crew(self.at_once, move |_| {
            let (target, next) = (target.clone(), Arc::clone(&next));
            async move {
                let mut held = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= self.connections {
                        return Ok(held);
                    }
                    // It outlives the runtime of this thread.
                    held.push(target.connect(&format!("idle-{number}"), number).await?.into_std()?);
                }
            }
        });
        let held = held.await?.into_iter().flatten().collect();
        Ok(Connected { per_second: self.connections as f64 / began.elapsed().as_secs_f64(), held })
    }
}

impl Connected {
    /// Disconnects all.
    ///
    /// # Errors
    /// When one is broken already.
    pub(crate) fn close(self) -> io::Result<()> {
        self.held.into_iter().try_for_each(|mut stream| stream.write_all(&packet::DISCONNECT))
    }
}
