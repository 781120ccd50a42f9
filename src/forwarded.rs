//! Who the client behind HTTP proxies is, as far as those proxies can be believed: a pure function of the request.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::networks::Networks;
use crate::proto::handshake::Fields;

/// The HTTP proxies in front of a server, which say in a field of the request for whom they ask.
///
/// A client can send such a field as well, so that only what trusted proxies wrote counts: the list is read from its
/// end, where the nearest proxy wrote, and the first address that is not a trusted proxy's is the client's. Whatever
/// stands before it is the client's own claim.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use taut::proto::handshake::ClientRequest;
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
/// # let asking = ClientRequest::new("localhost", "/")?.field("X-Forwarded-For", "198.51.100.1, 192.0.2.7")?;
/// # tokio::spawn(async move { taut::tokio::connect_over(stream, &asking, Default::default()).await });
/// use taut::proto::handshake::{Accept, Reject};
/// use taut::tokio::{Incoming, Options};
/// use taut::{Admission, AdmissionLimits, TrustedProxies};
///
/// let proxies = TrustedProxies::x_forwarded_for("127.0.0.1, 10.0.0.0/8".parse()?);
/// let admission = Admission::new(AdmissionLimits::new().max_connections_from_one(100));
/// let (stream, peer) = listener.accept().await?;
/// let incoming = Incoming::read(stream, Options::new()).await?;
///
/// // The field is `198.51.100.1, 192.0.2.7`: the proxy wrote the latter, the client the former.
/// let client = proxies.client(peer.ip(), incoming.request().fields());
/// assert_eq!(client, "192.0.2.7".parse::<std::net::IpAddr>()?);
/// match admission.admit(client) {
///     Ok(mut admitted) => {
///         let socket = incoming.accept(Accept::new()).await?;
///         admitted.opened();
///     }
///     Err(_) => incoming.reject(Reject::new(503)?).await?,
/// }
/// # Ok(()) }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Networks,
    field: Field,
}

/// Which field the proxies write. One that they do not write is passed on as the client sent it.
#[derive(Clone, Copy, Debug)]
enum Field {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl TrustedProxies {
    /// Proxies in these networks that add to `X-Forwarded-For`, as most do: nginx needs
    /// `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`.
    #[must_use]
    pub const fn x_forwarded_for(networks: Networks) -> Self {
        Self { networks, field: Field::XForwardedFor }
    }

    /// Proxies in these networks that add to `Forwarded` (RFC 7239).
    #[must_use]
    pub const fn forwarded(networks: Networks) -> Self {
        Self { networks, field: Field::Forwarded }
    }

    /// The address of the client that `peer` asks for: the last one in the list that is not a trusted proxy's, and the
    /// first one if all are. `peer` itself if it is no trusted proxy, or wrote no list. A proxy that does not tell an
    /// address (`unknown`, `_hidden`), or tells nonsense, stands for its clients.
    ///
    /// For a proxy that comes over a UNIX socket, whose permissions say who may, pass an address that is trusted, such
    /// as 127.0.0.1.
    #[must_use]
    pub fn client(&self, peer: IpAddr, fields: &Fields) -> IpAddr {
        let name = match self.field {
            Field::XForwardedFor => "X-Forwarded-For",
            Field::Forwarded => "Forwarded",
        };
        let mut client = peer.to_canonical();
        if !self.networks.contains(client) {
            return client;
        }
        // A comma in quotes is taken for one between elements: what is cut there has a quote without its other one,
        // and ends the way back. Quotes of a client could else hide what proxies wrote behind them.
        let elements: Vec<&[u8]> = fields.list(name).collect();
        for element in elements.into_iter().rev() {
            let node = match self.field {
                Field::XForwardedFor => core::str::from_utf8(element).ok(),
                Field::Forwarded => node_of(element),
            };
            let Some(address) = node.and_then(address) else { break };
            client = address;
            if !self.networks.contains(client) {
                break;
            }
        }
        client
    }
}

/// The value of `for` in an element of `Forwarded`, without its quotes; `None` if there is none, or if anything is not
/// as RFC 7239 §4 has it.
fn node_of(element: &[u8]) -> Option<&str> {
    let mut node = None;
    for pair in core::str::from_utf8(element).ok()?.split(';') {
        let (name, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        let value = match value.strip_prefix('"') {
            // None of the values that matter has a quote or a backslash.
            Some(quoted) => quoted.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))?,
            None => Some(value).filter(|token| is_token(token))?,
        };
        if !is_token(name) || (name.eq_ignore_ascii_case("for") && node.replace(value).is_some()) {
            return None;
        }
    }
    node
}

/// An address, with a port or without, in brackets or without (RFC 7239 §6).
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse().ok().or_else(|| node.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::{format, vec};

    use super::*;
    use crate::proto::handshake::ServerHandshake;

    /// The fields of a request with these.
    fn fields(lines: &[&str]) -> Fields {
        let mut handshake = ServerHandshake::new();
        let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        handshake.feed(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
            )
            .as_bytes(),
        );
        handshake.poll().unwrap().unwrap().request().fields().clone()
    }

    fn networks() -> Networks {
        "127.0.0.1, 10.0.0.0/8, 2001:db8:aaaa::/48".parse().unwrap()
    }

    fn by_x(peer: &str, lines: &[&str]) -> String {
        let client =
            TrustedProxies::x_forwarded_for(networks()).client(peer.parse().unwrap(), &fields(lines));
        format!("{client}")
    }

    fn by_rfc(peer: &str, values: &[&str]) -> String {
        let lines: Vec<String> = values.iter().map(|value| format!("Forwarded: {value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let client = TrustedProxies::forwarded(networks()).client(peer.parse().unwrap(), &fields(&lines));
        format!("{client}")
    }

    #[test]
    fn the_last_untrusted_address_is_the_client() {
        for (lines, client) in [
            (&["X-Forwarded-For: 192.0.2.1"][..], "192.0.2.1"),
            (&["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            (&["X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            // Fields of one name are one list.
            (
                &["X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1", "X-Forwarded-For: 10.1.1.1"],
                "192.0.2.1",
            ),
            // Nobody but proxies: the farthest of them asks.
            (&["X-Forwarded-For: 10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"),
            (&["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
            (&["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
            (&["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
            (&["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1"),
            (&["X-Forwarded-For: 192.0.2.1, 2001:db8:aaaa::9"], "192.0.2.1"),
            // Nothing that a proxy says: it stands for its clients.
            (&[][..], "127.0.0.1"),
            (&["X-Forwarded-For: "], "127.0.0.1"),
            (&["X-Forwarded-For: 192.0.2.1, unknown"], "127.0.0.1"),
            (&["X-Forwarded-For: 192.0.2.1, unknown, 10.1.1.1"], "10.1.1.1"),
            (&["X-Forwarded-For: 192.0.2.1, \u{e9}"], "127.0.0.1"),
            // Another field than the one that the proxies write.
            (&["Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1"], "127.0.0.1"),
        ] {
            assert_eq!(by_x("127.0.0.1", lines), client, "{lines:?}");
        }
        assert_eq!(by_x("::ffff:127.0.0.1", &["X-Forwarded-For: 192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(by_x("192.0.2.9", &["X-Forwarded-For: 127.0.0.1"]), "192.0.2.9");
        assert_eq!(by_rfc("192.0.2.9", &["for=127.0.0.1"]), "192.0.2.9");
        let nobody = TrustedProxies::x_forwarded_for(Networks::default());
        let fields = fields(&["X-Forwarded-For: 192.0.2.1"]);
        assert_eq!(nobody.client([127, 0, 0, 1].into(), &fields), IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (values, client) in [
            (&["for=192.0.2.43"][..], "192.0.2.43"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&["by=203.0.113.43 ; FOR=\"192.0.2.60:80\"; host=\"a:80\""], "192.0.2.60"),
            (&["for=6.6.6.6, for=198.51.100.17", "for=10.0.0.1"], "198.51.100.17"),
            (&["for=198.51.100.17", "for=unknown"], "127.0.0.1"),
            (&["for=198.51.100.17", "for=_hidden, for=10.0.0.1"], "10.0.0.1"),
            // What is not by the grammar says nothing.
            (&["192.0.2.43"], "127.0.0.1"),
            (&["for=192.0.2.43;"], "127.0.0.1"),
            (&["for=192.0.2.43;for=192.0.2.44"], "127.0.0.1"),
            (&["proto=http"], "127.0.0.1"),
            (&["for=[2001:db8::1]"], "127.0.0.1"),
            (&["for=\"192.0.2.43"], "127.0.0.1"),
            (&["for=192.0.2.43\""], "127.0.0.1"),
        ] {
            assert_eq!(by_rfc("127.0.0.1", values), client, "{values:?}");
        }
    }

    /// What a proxy quotes of a client's words does not become the proxy's, and hides nothing.
    #[test]
    fn quotes_neither_smuggle_nor_hide() {
        for value in [
            "for=192.0.2.1;host=\"a, for=6.6.6.6\"",
            "for=192.0.2.1;host=\"a, for=6.6.6.6;b=\"",
            "for=192.0.2.1;host=\"a\\\", for=6.6.6.6;b=\\\"\"",
            "for=192.0.2.1;host=\"a, for=6.6.6.6, b\"",
            "for=192.0.2.1;host=\", for=6.6.6.6\\\\\"",
        ] {
            assert_ne!(by_rfc("127.0.0.1", &[value]), "6.6.6.6", "{value}");
        }
        for start in ["for=\"", "for=\"6.6.6.6", "\"", "host=\"a\\"] {
            assert_eq!(by_rfc("127.0.0.1", &[&format!("{start}, for=192.0.2.1")]), "192.0.2.1", "{start}");
            assert_eq!(by_rfc("127.0.0.1", &[start, "for=192.0.2.1"]), "192.0.2.1", "{start}");
        }
    }

    /// No list takes long, or comes out as what it does not hold.
    #[test]
    fn any_list_gives_an_address_of_its_own() {
        let parts = [
            "10.0.0.1",
            "6.6.6.6",
            "for=",
            ",",
            ";",
            "\"",
            "\\",
            "[",
            "]",
            ":80",
            "192.0.2.1",
            " ",
            "unknown",
        ];
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let known = ["127.0.0.1", "10.0.0.1", "6.6.6.6", "192.0.2.1"];
        for _ in 0..5_000 {
            let value: String = (0..random(12)).map(|_| parts[random(parts.len())]).collect();
            for found in
                [by_rfc("127.0.0.1", &[&value]), by_x("127.0.0.1", &[&format!("X-Forwarded-For: {value}")])]
            {
                // Digits that happen to stand side by side make other addresses.
                assert!(found.parse::<IpAddr>().is_ok());
                assert!(known.contains(&&*found) || value.contains(&*found), "{value}: {found}");
            }
        }
        let long = vec!["10.0.0.1"; 1_500].join(",");
        assert_eq!(by_x("127.0.0.1", &[&format!("X-Forwarded-For: {long}")]), "10.0.0.1");
    }
}
