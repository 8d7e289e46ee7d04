//! Requests over HTTP/1.1, on connections that stay open.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::crew::crew;

/// GETs of some paths.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    /// The server.
    pub(crate) address: SocketAddr,
    /// Paths and queries, which each connection asks for in turns.
    pub(crate) paths: Vec<String>,
    /// Bearer token.
    pub(crate) token: String,
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
    /// Requests of each.
    pub(crate) each: usize,
}

impl Requests {
    /// Answers a second.
    ///
    /// # Errors
    /// When a connection breaks, or an answer is not 200 with its length.
    pub(crate) async fn run(&self) -> io::Result<f64> {
        let began = Instant::now();
        self.times().await?;
        Ok((self.connections * self.each) as f64 / began.elapsed().as_secs_f64())
    }

    /// How long each answer took, in microseconds, the shortest first.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub(crate) async fn times(&self) -> io::Result<Vec<u32>> {
        let request = |path: &String| {
            let (address, token) = (self.address, &self.token);
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")
        };
        let requests: Arc<[String]> = self.paths.iter().map(request).collect();
        let (address, each) = (self.address, self.each);
        let times = crew(self.connections, move |number| ask(address, Arc::clone(&requests), number, each)).await?;
        let mut times = times.concat();
        times.sort_unstable();
        Ok(times)
    }
}

/// Sends so many of the requests, one after the other, from the first of this number on. Returns how long each answer took, in
/// microseconds.
async fn ask(address: SocketAddr, requests: Arc<[String]>, first: usize, count: usize) -> io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(64 * 1024);
    let mut times = Vec::with_capacity(count);
    for request in requests.iter().cycle().skip(first % requests.len()).take(count) {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::other("the server closed a connection"));
            }
            match length(&answer)? {
                Some(length) if answer.len() < length => {}
                Some(length) if answer.len() == length => break,
                Some(_) => return Err(io::Error::other("more came than was asked for")),
                None => {}
            }
        }
        times.push(began.elapsed().as_micros() as u32);
    }
    Ok(times)
}

/// The length of a whole answer, head and body; `None` while its head is not whole.
fn length(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) if head.starts_with("HTTP/1.1 200 ") => Ok(Some(end + 4 + length)),
        _ => Err(io::Error::other(format!("not a whole answer of 200: {head}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn an_answer_is_as_long_as_its_head_says() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(length(answer).unwrap(), Some(answer.len()));
        assert_eq!(length(&answer[..20]).unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(length(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
