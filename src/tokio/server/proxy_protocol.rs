//! The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt): who the client behind a TCP proxy is.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::tokio::io::{AsyncRead, AsyncReadExt};
use ::tokio::time::{Instant, timeout};

use super::super::accept::is_gone;
use crate::error::{Deadline, Error};
use crate::network_error::ProxyHeaderError;
use crate::networks::Networks;
use crate::options::Options;

/// The TCP proxies in front of a server that send a header of the PROXY protocol, version 1 or 2: HAProxy's
/// `send-proxy`, nginx's `proxy_protocol on` in a `stream`, the load balancers of clouds.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tokio::io::AsyncWriteExt;
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     let mut stream = tokio::net::TcpStream::connect(address).await?;
/// #     stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").await?;
/// #     let request = taut::proto::handshake::ClientRequest::new("localhost", "/")?;
/// #     taut::tokio::connect_over(stream, &request, Default::default()).await?.recv().await
/// # });
/// use taut::tokio::{Options, ProxyProtocol, accept_with};
///
/// let proxies = ProxyProtocol::new("10.0.0.0/8, 127.0.0.1".parse()?);
/// let (stream, peer) = listener.accept().await?;
/// let mut options = Options::new();
/// let (stream, client) = proxies.read(stream, peer, &mut options).await?;
/// assert_eq!(client, "192.0.2.7:4711".parse()?);
/// let socket = accept_with(stream, options, |_| Ok(Default::default())).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Networks,
    max_header: usize,
}

impl ProxyProtocol {
    /// Proxies in these networks. What comes from elsewhere is not looked at: a header from there is bytes that are
    /// not a handshake.
    #[must_use]
    pub const fn new(trusted: Networks) -> Self {
        Self { trusted, max_header: 4 << 10 }
    }

    /// How long a header may be, in bytes. Default: 4 KiB; addresses take at most 232, and beside them are names and
    /// certificates, which are read and dropped.
    #[must_use]
    pub const fn max_header(mut self, bytes: usize) -> Self {
        self.max_header = bytes;
        self
    }

    /// Reads the header if `peer` is trusted, and tells the address of the client; of the stream that comes back,
    /// nothing else was read. From a peer that is not trusted, nothing is. A proxy that comes on its own behalf, as
    /// for a health check, or does not know the address, is its own client.
    ///
    /// The time that it takes is taken off [`Options::handshake_timeout`], so that the header, TLS and the handshake
    /// have one deadline together. Dropping the future closes the stream.
    ///
    /// # Errors
    /// [`Error::ProxyHeader`] if a trusted proxy sends anything else: whether there is a header is never guessed.
    /// [`Error::Io`], or [`Error::Timeout`]; [`Error::NoRequest`] if nothing came.
    pub fn read<S>(
        &self,
        mut stream: S,
        peer: SocketAddr,
        options: &mut Options,
    ) -> impl Future<Output = Result<(S, SocketAddr), Error>>
    where
        S: AsyncRead + Send + Unpin + 'static,
    {
        let max = self.trusted.contains(peer.ip()).then_some(self.max_header);
        // On the heap until it is done, as `accept_with`.
        Box::pin(async move {
            let Some(max) = max else { return Ok((stream, peer)) };
            let start = Instant::now();
            let read = timeout(options.handshake_timeout, read_header(&mut stream, max)).await;
            let client = read.map_err(|_| Error::Timeout(Deadline::ProxyHeader))??;
            options.handshake_timeout = options.handshake_timeout.saturating_sub(start.elapsed());
            Ok((stream, client.unwrap_or(peer)))
        })
    }
}

async fn read_header<S: AsyncRead + Unpin>(stream: &mut S, max: usize) -> Result<Option<SocketAddr>, Error> {
    let mut header = Vec::with_capacity(V2_ADDRESSES_V6);
    loop {
        let more = match parse(&header, max)? {
            Parsed::Done(client) => return Ok(client),
            Parsed::More(more) => more,
        };
        let read = stream.take(more as u64).read_buf(&mut header).await;
        match read {
            Ok(1..) => {}
            Ok(0) if header.is_empty() => return Err(Error::NoRequest),
            Err(error) if header.is_empty() && is_gone(&error) => {
                return Err(Error::NoRequest);
            }
            Ok(0) => return Err(ProxyHeaderError::Ended.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How far a header is known.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// It has at least so many further bytes.
    More(usize),
    /// It ends here; the address of the client, if it is told.
    Done(Option<SocketAddr>),
}

/// Reads what came of a header; it never asks for bytes behind its end.
fn parse(bytes: &[u8], max: usize) -> Result<Parsed, ProxyHeaderError> {
    let begins = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    let parsed = if begins(V1) && !bytes.is_empty() {
        parse_v1(bytes)?
    } else if begins(V2) {
        parse_v2(bytes)?
    } else {
        return Err(ProxyHeaderError::Missing);
    };
    match parsed {
        Parsed::More(more) if bytes.len().saturating_add(more) > max => {
            Err(ProxyHeaderError::TooLong { max })
        }
        parsed => Ok(parsed),
    }
}

/// A line of text: `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443` and CR LF.
fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        if bytes.len() >= V1_MOST {
            return Err(ProxyHeaderError::TooLong { max: V1_MOST });
        }
        return Ok(Parsed::More(LEAST.saturating_sub(bytes.len()).max(1)));
    };
    let malformed = ProxyHeaderError::Malformed;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(malformed("end of line"))?;
    let line = core::str::from_utf8(line).map_err(|_| malformed("character"))?;
    let mut words = line.split(' ').skip(1);
    let mut word = |what| words.next().ok_or(malformed(what));
    let is_v4 = match word("protocol")? {
        // "The receiver must ignore anything presented before the CRLF is found".
        "UNKNOWN" => return Ok(Parsed::Done(None)),
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(malformed("protocol")),
    };
    let mut address = |what| {
        let address: IpAddr = word(what)?.parse().map_err(|_| malformed(what))?;
        if address.is_ipv4() == is_v4 { Ok(address) } else { Err(malformed(what)) }
    };
    let source = address("source address")?;
    address("destination address")?;
    let mut port = |what| {
        let digits = word(what)?;
        let plain =
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        digits.parse().ok().filter(|_| plain).ok_or(malformed(what))
    };
    let source_port: u16 = port("source port")?;
    let _: u16 = port("destination port")?;
    if words.next().is_some() {
        return Err(malformed("end of line"));
    }
    Ok(Parsed::Done(Some(SocketAddr::new(source, source_port))))
}

/// Twelve bytes that no other protocol begins with, version and command, family and transport, and the length of what
/// follows: addresses, and more that is not looked at.
fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let malformed = ProxyHeaderError::Malformed;
    let rest = bytes.get(V2.len()..).unwrap_or_default();
    let [command, family, high, low, rest @ ..] = rest else {
        // The least of version 1 is one byte less, and that is known by the first byte.
        return Ok(Parsed::More(if bytes.is_empty() { LEAST } else { V2.len() + 4 - bytes.len() }));
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(malformed("version or command")),
    };
    let least = match family {
        // "The receiver … must … discard the protocol block including the family which is ignored."
        _ if is_local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        // A UNIX socket has no address that could be counted.
        0x31 => 216,
        _ => return Err(malformed("family or transport")),
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length < least {
        return Err(malformed("length"));
    }
    if rest.len() < length {
        return Ok(Parsed::More(length - rest.len()));
    }
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    Ok(Parsed::Done(match (is_local, family, rest) {
        (false, 0x11, [a, b, c, d, ..]) => {
            Some(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port(8)))
        }
        (false, 0x21, rest) => {
            let address = rest.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
            address.map(|address| SocketAddr::new(IpAddr::from(address).to_canonical(), port(32)))
        }
        _ => None,
    }))
}

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const V1_MOST: usize = 107;
/// The shortest header: `PROXY UNKNOWN` and CR LF.
const LEAST: usize = 15;
/// A header of version 2 with addresses of IPv6, and nothing more.
const V2_ADDRESSES_V6: usize = 16 + 36;

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::{format, vec};

    use super::*;

    const MAX: usize = 4 << 10;

    /// Feeds bytes as a reader would, and tells what came out and how many were taken.
    fn read(mut wire: &[u8], max: usize) -> (Result<Parsed, ProxyHeaderError>, usize) {
        let mut header = Vec::new();
        loop {
            match parse(&header, max) {
                Ok(Parsed::More(more)) if !wire.is_empty() => {
                    assert!(more > 0);
                    let (taken, left) = wire.split_at(more.min(wire.len()));
                    // A byte at a time must come to the same.
                    header.extend_from_slice(taken);
                    wire = left;
                }
                parsed => return (parsed, header.len()),
            }
        }
    }

    fn client(wire: &[u8]) -> Option<String> {
        match read(wire, MAX) {
            (Ok(Parsed::Done(client)), taken) => {
                assert_eq!(taken, wire.len(), "all of it, and no more");
                client.map(|client| format!("{client}"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    const BODY_V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 0xbb];

    fn body_v6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x67, 1, 0xbb]].concat()
    }

    #[test]
    fn headers_tell_the_client() {
        for (wire, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(), Some("192.0.2.1:4711")),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(),
                Some("255.255.255.255:65535"),
            ),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 0\r\n".to_vec(), Some("[2001:db8::1]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n".to_vec(), None),
            (v2(0x21, 0x11, &BODY_V4), Some("192.0.2.1:4711")),
            (v2(0x21, 0x21, &body_v6()), Some("[2001:db8::1]:4711")),
            (v2(0x21, 0x11, &[&BODY_V4[..], &[4, 0, 1, 0]].concat()), Some("192.0.2.1:4711")),
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x20, 0x11, &BODY_V4), None),
            (v2(0x20, 0xff, b"anything"), None),
            (v2(0x20, 0x00, b""), None),
        ] {
            assert_eq!(client(&wire).as_deref(), expected, "{wire:?}");
        }
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let wire = v2(0x21, 0x21, &[&mapped.octets()[..], &[0; 16], &[0, 7, 0, 0]].concat());
        assert_eq!(client(&wire).as_deref(), Some("192.0.2.1:7"));
    }

    #[test]
    fn what_is_no_header_fails_at_its_byte() {
        let malformed = |what| Err(ProxyHeaderError::Malformed(what));
        for (wire, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], Err(ProxyHeaderError::Missing)),
            (b"P!", Err(ProxyHeaderError::Missing)),
            (b"PROXYTCP4 192.0.2.1", Err(ProxyHeaderError::Missing)),
            (b"\r\n\r\n\0\r\nQUIT\r", Err(ProxyHeaderError::Missing)),
            (b"\x16\x03\x01", Err(ProxyHeaderError::Missing)),
            (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", malformed("protocol")),
            (b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", malformed("protocol")),
            (b"PROXY unknown\r\n", malformed("protocol")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", malformed("end of line")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", malformed("end of line")),
            (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", malformed("source address")),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", malformed("source address")),
            (b"PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", malformed("destination address")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", malformed("source port")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", malformed("source port")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n", malformed("source port")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", malformed("destination port")),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", malformed("destination port")),
            (b"PROXY UNKNOWN \xff\r\n", malformed("character")),
            (&[b"PROXY UNKNOWN ", &[b' '; 200][..]].concat(), Err(ProxyHeaderError::TooLong { max: 107 })),
            (&v2(0x11, 0x11, &BODY_V4), malformed("version or command")),
            (&v2(0x22, 0x11, &BODY_V4), malformed("version or command")),
            (&v2(0x21, 0x12, &BODY_V4), malformed("family or transport")),
            (&v2(0x21, 0x11, &BODY_V4[1..]), malformed("length")),
            (&v2(0x21, 0x21, &BODY_V4), malformed("length")),
            (&v2(0x21, 0x11, &vec![0; MAX]), Err(ProxyHeaderError::TooLong { max: MAX })),
        ] {
            assert_eq!(read(wire, MAX).0, error, "{}", String::from_utf8_lossy(wire));
        }
        // The longest line there can be.
        let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
        assert_eq!((line.len(), client(line.as_bytes())), (107, None));
        // The limit counts what is announced, before it came.
        let wire = v2(0x21, 0x11, &[0; 100]);
        assert_eq!(read(&wire, 116).0, Ok(Parsed::Done(Some(SocketAddr::from(([0, 0, 0, 0], 0))))));
        assert_eq!(read(&wire[..20], 115).0, Err(ProxyHeaderError::TooLong { max: 115 }));
    }

    /// Every header that is cut, changed or followed by others is taken in full, refused, or waits: never beyond its
    /// end, and alike however it is cut.
    #[test]
    fn any_bytes_are_taken_up_to_the_end() {
        let seeds = [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 0\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(0x21, 0x11, &BODY_V4),
            v2(0x21, 0x21, &body_v6()),
            v2(0x20, 0x00, b"abc"),
        ];
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for seed in &seeds {
            assert_eq!(
                read(&[&seed[..], b"GET / HTTP/1.1"].concat(), MAX).1,
                seed.len(),
                "nothing behind it"
            );
            for cut in 0..seed.len() {
                assert!(matches!(read(&seed[..cut], MAX).0, Ok(Parsed::More(_))), "{seed:?} {cut}");
            }
            for _ in 0..3_000 {
                let mut wire = [&seed[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
                for _ in 0..=random(3) {
                    let at = random(seed.len());
                    wire[at] = random(256) as u8;
                }
                let (outcome, taken) = read(&wire, MAX);
                // A byte at a time: the same outcome, except that a mistake may show at an earlier byte.
                let first = (0..=taken).map(|end| parse(&wire[..end], MAX));
                let first = first.into_iter().find(|parsed| !matches!(parsed, Ok(Parsed::More(_))));
                match (outcome, first) {
                    (Ok(Parsed::More(_)), None) => {}
                    (Ok(done), Some(first)) => assert_eq!(first, Ok(done), "{wire:?}"),
                    (Err(_), Some(Err(_))) => {}
                    (outcome, first) => panic!("{wire:?}: {outcome:?} and {first:?}"),
                }
            }
        }
    }
}
