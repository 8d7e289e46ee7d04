//! The PROXY protocol, version 2: what a proxy tells of a connection before the connection's own bytes.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2. A header is read whole and bounded, and what
//! follows it is left to the next layer. Its checksum and its other extensions are not looked at.

use std::any::{Any, TypeId};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use ntex::codec::Decoder;
use ntex::io::types::PeerAddr;
use ntex::io::{Filter, FilterCtx, Readiness};
use ntex::util::BytesMut;

/// What every header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The longest header that is read. Addresses take 52 bytes with the beginning; the rest is for extensions, such as the
/// name in a certificate.
const MAX_HEADER: usize = 4_096;

/// The bytes are no header of version 2, or it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY protocol header of version 2")]
pub(crate) struct Malformed;

/// Reads one header. The item is the source that it names; `None` for a connection of the proxy itself, or one that did
/// not come over TCP: then the socket's own address holds.
pub(crate) struct HeaderDecoder;

impl Decoder for HeaderDecoder {
    type Item = Option<SocketAddr>;
    type Error = Malformed;

    fn decode(&self, src: &mut BytesMut) -> Result<Option<Self::Item>, Malformed> {
        let begun = src.len().min(SIGNATURE.len());
        if src[..begun] != SIGNATURE[..begun] {
            return Err(Malformed);
        }
        let Some((fixed, rest)) = src.split_first_chunk::<FIXED>() else { return Ok(None) };
        let [.., version_and_command, family, len_high, len_low] = *fixed;
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if FIXED + len > MAX_HEADER {
            return Err(Malformed);
        }
        let Some(block) = rest.get(..len) else { return Ok(None) };
        let source = match version_and_command {
            // LOCAL: the proxy's own connection, such as a health check; what it says of addresses is ignored.
            0x20 => None,
            0x21 => source(family, block)?,
            _ => return Err(Malformed),
        };
        src.advance_to(FIXED + len);
        Ok(Some(source))
    }
}

/// The source in the addresses of a family and protocol.
fn source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let address = |ip: IpAddr, port: [u8; 2]| Some(SocketAddr::new(ip, u16::from_be_bytes(port)));
    match family {
        // TCP over IPv4: source, destination, source port, destination port.
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block.first_chunk().ok_or(Malformed)?;
            Ok(address(Ipv4Addr::new(a, b, c, d).into(), [high, low]))
        }
        // TCP over IPv6, in the same order.
        0x21 => {
            let addresses: &[u8; 36] = block.first_chunk().ok_or(Malformed)?;
            let ip: &[u8; 16] = addresses.first_chunk().ok_or(Malformed)?;
            Ok(address(Ipv6Addr::from(*ip).to_canonical(), [addresses[32], addresses[33]]))
        }
        // Unspecified, UDP and Unix sockets: valid, but nothing that a TCP address could be made of.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(None),
        _ => Err(Malformed),
    }
}

/// The lowest layer of a connection that may have come through a proxy: everything as below, but with the address that
/// the proxy named, if it named one.
pub(crate) struct Proxied<F> {
    below: F,
    source: Option<SocketAddr>,
}

impl<F> Proxied<F> {
    /// A connection from `source`, which the layer below knows by the address of the proxy.
    pub(crate) fn new(below: F, source: Option<SocketAddr>) -> Self {
        Self { below, source }
    }
}

impl<F: Filter> Filter for Proxied<F> {
    fn query(&self, id: TypeId) -> Option<Box<dyn Any>> {
        match self.source {
            Some(source) if id == TypeId::of::<PeerAddr>() => Some(Box::new(PeerAddr(source))),
            _ => self.below.query(id),
        }
    }

    fn process_read_buf(&self, ctx: &mut FilterCtx<'_>) -> io::Result<()> {
        self.below.process_read_buf(ctx)
    }

    fn process_write_buf(&self, ctx: &mut FilterCtx<'_>) -> io::Result<()> {
        self.below.process_write_buf(ctx)
    }

    fn shutdown(&self, ctx: &mut FilterCtx<'_>) -> io::Result<Poll<()>> {
        self.below.shutdown(ctx)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<Readiness> {
        self.below.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<Readiness> {
        self.below.poll_write_ready(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &len, block].concat()
    }

    fn addresses(source: SocketAddr) -> (u8, Vec<u8>) {
        let ports = [source.port().to_be_bytes(), 1883u16.to_be_bytes()].concat();
        match source.ip() {
            IpAddr::V4(ip) => (0x11, [ip.octets().as_slice(), &[127, 0, 0, 1], &ports].concat()),
            IpAddr::V6(ip) => (0x21, [ip.octets().as_slice(), &[1; 16], &ports].concat()),
        }
    }

    /// The source in a header, and the bytes after it; `None` while bytes are missing.
    type Read = Result<Option<(Option<SocketAddr>, Vec<u8>)>, Malformed>;

    /// Feeds bytes in pieces until the header is read.
    fn read(bytes: &[u8], piece: usize) -> Read {
        let mut buffer = BytesMut::new();
        for (number, bytes_of_piece) in bytes.chunks(piece).enumerate() {
            buffer.extend_from_slice(bytes_of_piece);
            if let Some(source) = HeaderDecoder.decode(&mut buffer)? {
                let rest = bytes.get((number + 1) * piece..).unwrap_or_default();
                return Ok(Some((source, [&buffer, rest].concat())));
            }
        }
        Ok(None)
    }

    fn read_whole(bytes: &[u8]) -> Read {
        read(bytes, bytes.len())
    }

    fn sources() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
    }

    proptest! {
        #[test]
        fn the_source_is_read_and_what_follows_is_left(
            source in sources(),
            extensions in prop::collection::vec(any::<u8>(), 0..100),
            following in prop::collection::vec(any::<u8>(), 0..100),
            piece in 1usize..200,
        ) {
            let (family, block) = addresses(source);
            let bytes = [header(0x21, family, &[block, extensions].concat()), following.clone()].concat();
            prop_assert_eq!(read(&bytes, piece), Ok(Some((Some(source), following))));
        }

        #[test]
        fn a_part_of_a_header_is_waited_for(source in sources(), cut in any::<prop::sample::Index>()) {
            let (family, block) = addresses(source);
            let bytes = header(0x21, family, &block);
            let part = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(HeaderDecoder.decode(&mut BytesMut::from(part)), Ok(None));
        }

        #[test]
        fn no_bytes_make_it_panic_or_wait_for_more_than_the_bound(
            begins_well: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut all = if begins_well { SIGNATURE.to_vec() } else { Vec::new() };
            all.extend(bytes);
            if let Ok(None) = HeaderDecoder.decode(&mut BytesMut::from(all.as_slice())) {
                all.resize(MAX_HEADER, 0);
                prop_assert!(HeaderDecoder.decode(&mut BytesMut::from(all.as_slice())) != Ok(None));
            }
        }
    }

    #[test]
    fn a_header_that_is_not_about_tcp_leaves_the_address_of_the_socket() {
        for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
            assert_eq!(read_whole(&header(0x21, family, &[0; 216])), Ok(Some((None, Vec::new()))));
        }
        // LOCAL, with and without addresses, of a family that does not exist.
        assert_eq!(read_whole(&header(0x20, 0x00, b"")), Ok(Some((None, Vec::new()))));
        assert_eq!(read_whole(&header(0x20, 0x99, &[0; 12])), Ok(Some((None, Vec::new()))));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_is_the_ipv4_address() {
        let mut block = [0; 36];
        block[..16].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped().octets());
        let source = read_whole(&header(0x21, 0x21, &block)).unwrap().unwrap().0.unwrap();
        assert_eq!(source.ip(), IpAddr::from([10, 0, 0, 7]));
    }

    #[test]
    fn what_is_no_header_of_version_2_is_refused() {
        for bytes in [
            b"PROXY TCP4 10.0.0.7 10.0.0.1 1 2\r\n".to_vec(),
            b"\x10\x0d\0\x04MQTT".to_vec(),
            // Another version, another command, another family, addresses that are cut short.
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x41, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
        ] {
            assert_eq!(read_whole(&bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_header_may_be_as_long_as_the_bound() {
        assert!(read_whole(&header(0x21, 0x11, &[0; MAX_HEADER - FIXED])).unwrap().is_some());
        let too_long = header(0x21, 0x11, &[0; MAX_HEADER - FIXED + 1]);
        assert_eq!(read_whole(&too_long[..FIXED]), Err(Malformed));
    }
}
