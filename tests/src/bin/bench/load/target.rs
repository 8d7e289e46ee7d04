//! A broker under load.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::packet;

/// Where a broker is, and who may connect.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// User names and passwords; connection `n` takes the `n`th, from the beginning again after the last. None: anonymous.
    pub(crate) credentials: Arc<[(String, String)]>,
}

impl Target {
    /// A broker that lets everybody in.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { address, credentials: Arc::default() }
    }

    /// Connects with the `number`th credentials.
    pub(crate) async fn connect(&self, client_id: &str, number: usize) -> io::Result<TcpStream> {
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
