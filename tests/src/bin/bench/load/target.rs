//! A broker under load.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::packet;

/// How many connect at the same time. A broker bounds how many of one address have not said yet who they are.
const AT_ONCE: usize = 1_000;

/// Where a broker is, and who may connect.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// User names and passwords; connection `n` takes the `n`th, from the beginning again after the last. None: anonymous.
    pub(crate) credentials: Arc<[(String, String)]>,
    places: Arc<Semaphore>,
}

impl Target {
    /// A broker that knows these.
    pub(crate) fn new(address: SocketAddr, credentials: Arc<[(String, String)]>) -> Self {
        Self { address, credentials, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// A broker that lets everybody in.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::new(address, Arc::default())
    }

    /// Connects with the `number`th credentials.
    pub(crate) async fn connect(&self, client_id: &str, number: usize) -> io::Result<TcpStream> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let credentials = self.credentials.get(number % self.credentials.len().max(1));
        stream.write_all(&packet::connect(client_id, credentials)).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer != packet::ACCEPTED {
            return Err(io::Error::other(format!("the broker refused a connection: CONNACK {answer:?}")));
        }
        Ok(stream)
    }
}
