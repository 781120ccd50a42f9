//! The oracle of `proxies`: headers of the PROXY protocol are read as a twin reads them, to their last byte and no
//! further, however they are cut; and nothing that a client puts before the words of a proxy changes who it is.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::str;
use std::task::{Context, Poll};

use arbitrary::{Arbitrary, Unstructured};
use taut::proto::handshake::Fields;
use taut::tokio::{Options, ProxyProtocol};
use taut::{Networks, TrustedProxies};
use tokio::io::{AsyncRead, ReadBuf};

use crate::script::{Piece, Script, Wire};

/// What proxies say, or somebody in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Which of [`LIMITS`] a header has.
    pub limit: u8,
    /// The bytes and where they are cut; a line is a header, a part of one, or of a field.
    pub script: Script,
}

impl Input {
    /// The bytes that mean this input.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.limit];
        self.script.encode(&mut out);
        out
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let limit: u8 = bytes.arbitrary()?;
        Ok(Self { limit: limit & 3, script: Script::arbitrary(bytes)? })
    }
}

/// Reads the bytes as a header, and as fields.
///
/// # Panics
/// If a way differs from the twin, or a client can say who it is.
pub fn check(input: &Input) {
    let wire = input.script.wire(MAX_BYTES, |number| PARTS[usize::from(number) % PARTS.len()].into());
    let max = LIMITS[usize::from(input.limit)];
    let expected = twin(&wire.bytes, max);
    for wire in [wire.uncut(), wire.clone(), wire.in_bytes()] {
        assert_eq!(read(&wire, max), expected, "{:?}", String::from_utf8_lossy(&wire.bytes));
    }
    check_fields(&wire);
}

/// Who the client is, and where the header ends; nothing if it is none.
type Verdict = Option<(Option<SocketAddr>, usize)>;

fn read(wire: &Wire, max: usize) -> Verdict {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let pieces: VecDeque<Vec<u8>> = wire.pieces().filter(|piece| !piece.is_empty()).map(Into::into).collect();
    let proxies = ProxyProtocol::new(proxies()).max_header(max);
    let mut options = Options::new();
    let result =
        RUNTIME.with(|runtime| runtime.block_on(proxies.read(Pieces(pieces), PROXY.into(), &mut options)));
    let (left, client) = result.ok()?;
    let rest: usize = left.0.iter().map(Vec::len).sum();
    Some((Some(client).filter(|client| *client != SocketAddr::from(PROXY)), wire.bytes.len() - rest))
}

/// A stream that gives one piece after the other.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.front_mut() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(piece);
            *piece = rest;
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// By doc/proxy-protocol.txt of HAProxy, with all bytes at hand.
fn twin(bytes: &[u8], max: usize) -> Verdict {
    let (client, end) = twin_v1(bytes).or_else(|| twin_v2(bytes))?;
    // A header of 0.0.0.0:0 and the like is as good as any; the proxy itself is told as "nobody".
    (end <= max).then_some((client.filter(|client| *client != SocketAddr::from(PROXY)), end))
}

fn twin_v1(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().take(107).position(|&byte| byte == b'\n')? + 1;
    let line = str::from_utf8(&bytes[..end]).ok()?.strip_suffix("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let [source, destination] = [source, destination].map(str::parse::<IpAddr>);
            let [from, to] =
                [from, to].map(|port| port.parse::<u16>().ok().filter(|number| number.to_string() == port));
            let (source, destination) = (source.ok()?, destination.ok()?);
            let fits = |address: IpAddr| address.is_ipv4() == (family == "TCP4");
            to.filter(|_| fits(source) && fits(destination))?;
            Some(SocketAddr::new(source, from?))
        }
        _ => return None,
    };
    Some((client, end))
}

fn twin_v2(bytes: &[u8]) -> Verdict {
    let rest = bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
    let body = rest.get(4..4 + length)?;
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let client = match (rest[0], rest[1]) {
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) if length >= 12 => {
            let octets: [u8; 4] = body[..4].try_into().expect("four");
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port(8)))
        }
        (0x21, 0x21) if length >= 36 => {
            let octets: [u8; 16] = body[..16].try_into().expect("sixteen");
            let address = Ipv6Addr::from(octets);
            let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
            Some(SocketAddr::new(address, port(32)))
        }
        (0x21, 0x31) if length >= 216 => None,
        _ => return None,
    };
    Some((client, 16 + length))
}

/// Each piece is a line of a field.
fn check_fields(wire: &Wire) {
    let networks = proxies();
    let [trusted, stranger] = [PROXY.0.into(), IpAddr::from([192, 0, 2, 9])];
    for (name, proxies) in [
        ("X-Forwarded-For", TrustedProxies::x_forwarded_for(networks.clone())),
        ("Forwarded", TrustedProxies::forwarded(networks.clone())),
    ] {
        let fields: Fields = wire.pieces().map(|piece| (name, piece)).collect();
        assert_eq!(proxies.client(stranger, &fields), stranger, "it is no proxy");
        let client = proxies.client(trusted, &fields);
        for claim in [&b"198.51.100.1"[..], b"for=198.51.100.1", b"for=\"", b"\"", b"for=\"\\", b"x", b""] {
            let claimed: Fields =
                [(name, claim)].into_iter().chain(wire.pieces().map(|piece| (name, piece))).collect();
            let found = proxies.client(trusted, &claimed);
            // Only where all that follows is proxies does the first one's word count.
            assert!(found == client || networks.contains(client), "{claim:?} makes {found} of {client}");
        }
    }
}

fn proxies() -> Networks {
    "127.0.0.1, 10.0.0.0/8, 2001:db8::/32".parse().expect("networks")
}

const PROXY: ([u8; 4], u16) = ([10, 0, 0, 1], 1);

/// How long a header may be: as by default, as short as one can be, that of version 2 without addresses, and as long as
/// one can be.
const LIMITS: [usize; 4] = [4 << 10, 15, 16, 65_551];

/// The most bytes.
const MAX_BYTES: usize = 72 << 10;

/// Headers, parts of them, and of fields.
const PARTS: [&[u8]; 32] = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 0\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY ",
    b"TCP4 ",
    b"255.255.255.255 ",
    b"65535",
    b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x21\x31\0\xd8",
    b"\x20\0\0\0",
    b"\x21\0\0\x03",
    b"\xc0\0\x02\x01\xc0\0\x02\x02\x12\x67\x01\xbb",
    b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\x08",
    b"GET / HTTP/1.1\r\n",
    b"192.0.2.1",
    b"10.0.0.2",
    b"[2001:db8::1]:4711",
    b"[2001:470::1]",
    b"for=",
    b"For=\"[2001:470::1]:4711\"",
    b";proto=https",
    b"unknown",
    b"_hidden",
    b", ",
    b";",
    b"\"",
    b"\\",
    b"fe80::1%eth0",
    b"=",
];

/// Every seed, with the name of its file.
#[must_use]
pub fn seeds() -> Vec<(String, Input)> {
    let lines = |numbers: &[u8]| numbers.iter().copied().map(Piece::Line).collect::<Vec<_>>();
    let mut seeds = Vec::new();
    let mut add = |name: &str, limit, cuts, pieces| {
        seeds.push((name.to_owned(), Input { limit, script: Script { cuts, pieces } }));
    };
    for (name, parts) in [
        ("v1-tcp4", &[0, 16][..]),
        ("v1-tcp6", &[1, 16]),
        ("v1-unknown", &[2, 16]),
        ("v1-made", &[3, 4, 5, 5, 6, 31, 7]),
        ("v2-ipv4", &[8, 9, 14, 16]),
        ("v2-ipv6", &[8, 10, 15, 16]),
        ("v2-local", &[8, 12, 16]),
        ("v2-unspecified", &[8, 13, 16]),
        ("v2-too-short", &[8, 10, 14]),
        ("no-header", &[16]),
        ("nothing", &[]),
    ] {
        add(name, 0, [0; 2], lines(parts));
        add(&format!("{name}-cut"), 0, [1, 7], lines(parts));
    }
    let unix = [lines(&[8, 11]), vec![Piece::Filled { length: 12, filling: 0 }]].concat();
    add("v2-unix", 0, [0; 2], unix);
    add("at-the-limit-of-15", 1, [0; 2], lines(&[2]));
    add("over-the-limit-of-15", 1, [0; 2], lines(&[8, 12]));
    add("at-the-limit-of-16", 2, [0; 2], lines(&[8, 12]));
    add("over-the-limit-of-16", 2, [0; 2], lines(&[0]));
    let longest = vec![
        Piece::Line(8),
        Piece::Raw(b"\x20\0\xff\xff".to_vec()),
        Piece::Filled { length: 15, filling: 1 },
    ];
    add("v2-longest", 3, [0; 2], longest.clone());
    add("v2-longest-refused", 0, [0; 2], longest);
    let long_line =
        vec![Piece::Line(2), Piece::Truncate(2), Piece::Filled { length: 3, filling: 1 }, Piece::Line(7)];
    add("v1-too-long", 0, [0; 2], long_line);
    for (name, parts) in [
        ("list", &[17, 26, 18][..]),
        ("list-of-proxies", &[18, 26, 18]),
        ("list-with-ports", &[19, 26, 20]),
        ("unknown", &[17, 26, 24, 26, 18]),
        ("zone", &[30]),
        ("forwarded", &[21, 17, 23, 26, 21, 18]),
        ("forwarded-quoted", &[22, 23, 26, 21, 18]),
        ("forwarded-hidden", &[21, 25, 26, 21, 18]),
        ("forwarded-twice", &[21, 17, 27, 21, 17]),
        ("quote-open", &[21, 28, 17, 26, 21, 17]),
        ("quote-escaped", &[21, 28, 29, 28, 26, 21, 17, 28]),
    ] {
        add(name, 0, [0; 2], lines(parts));
        let cut = lines(parts).into_iter().flat_map(|piece| [piece, Piece::Cut]).collect();
        add(&format!("{name}-in-lines"), 0, [0; 2], cut);
    }
    seeds
}
