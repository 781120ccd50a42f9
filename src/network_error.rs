//! Why a client did not get through: the network, a proxy, TLS, a redirect. And what a server learns of TLS and of the
//! proxies in front of it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use std::io;

/// A host that could not be reached.
#[derive(Debug)]
pub struct ConnectError(Box<Unreachable>);

#[derive(Debug)]
struct Unreachable {
    host: Box<str>,
    cause: Cause,
}

#[derive(Debug)]
#[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "who connects is on tokio"))]
enum Cause {
    /// Its name has no address.
    Resolve(io::Error),
    /// None of its addresses answered.
    Attempts(Vec<(SocketAddr, io::Error)>),
    /// A socket of the file system, or a connector of the program.
    Other(io::Error),
}

impl ConnectError {
    #[cfg(feature = "tokio")]
    pub(crate) fn unresolved(host: &str, error: io::Error) -> Self {
        Self(Box::new(Unreachable { host: host.into(), cause: Cause::Resolve(error) }))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn unreached(host: &str, attempts: Vec<(SocketAddr, io::Error)>) -> Self {
        Self(Box::new(Unreachable { host: host.into(), cause: Cause::Attempts(attempts) }))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn other(host: &str, error: io::Error) -> Self {
        Self(Box::new(Unreachable { host: host.into(), cause: Cause::Other(error) }))
    }

    /// Whom nobody could reach: a host, a proxy's, or the path of a socket.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Each address that was tried, in the order in which they failed. None if the name did not resolve.
    #[must_use]
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        if let Cause::Attempts(attempts) = &self.0.cause { attempts } else { &[] }
    }

    /// Whether the name of the host could not be resolved.
    #[must_use]
    pub fn is_resolve(&self) -> bool {
        matches!(self.0.cause, Cause::Resolve(_))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0.host;
        match &self.0.cause {
            Cause::Resolve(error) => write!(f, "no address is known for {host}: {error}"),
            Cause::Attempts(attempts) if attempts.is_empty() => {
                write!(f, "no address is known for {host}: check the name")
            }
            Cause::Attempts(attempts) => {
                write!(f, "{host} cannot be reached")?;
                for (number, (address, error)) in attempts.iter().enumerate() {
                    write!(f, "{} {address}: {error}", if number == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
            Cause::Other(error) => write!(f, "{host} cannot be reached: {error}"),
        }
    }
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Resolve(error) | Cause::Other(error) => Some(error),
            Cause::Attempts(attempts) => attempts.first().map(|(_, error)| error as _),
        }
    }
}

/// Why a proxy did not let a client through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyError {
    /// Not the URI of a proxy: `http://`, `https://`, `socks5://` or `socks5h://`, a host, and a port. Here is
    /// where it came from: the name of an environment variable, or nothing.
    Uri(&'static str),
    /// It wants a user name and password, and got none.
    CredentialsMissing,
    /// It did not accept the user name and password.
    CredentialsRefused,
    /// A user name, password or host that the protocol of the proxy has no room for.
    TooLong,
    /// A proxy of HTTP answered CONNECT with this status.
    Status(u16),
    /// A SOCKS proxy answered with this code (RFC 1928 §6).
    Reply(u8),
    /// What it says is not its protocol: what should have come.
    Malformed(&'static str),
    /// It ended the connection before it had answered.
    Ended,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri("") => {
                f.write_str("not the URI of a proxy: write http://host:port or socks5h://host:port")
            }
            Self::Uri(variable) => write!(
                f,
                "the environment variable {variable} is not the URI of a proxy: write http://host:port or \
                 socks5h://host:port"
            ),
            Self::CredentialsMissing => {
                f.write_str("the proxy wants a user name and password: add them to its URI")
            }
            Self::CredentialsRefused => {
                f.write_str("the proxy did not accept the user name and password: check those in its URI")
            }
            Self::TooLong => f.write_str(
                "a user name, password or host is empty, or longer than the 255 bytes that SOCKS has room for",
            ),
            Self::Status(status) => {
                write!(
                    f,
                    "the proxy answered CONNECT with status {status}: it may not allow this host or port"
                )
            }
            Self::Reply(code) => write!(f, "the SOCKS proxy refused: {}", reply(*code)),
            Self::Malformed(what) => write!(f, "the proxy does not speak its protocol: no {what} came"),
            Self::Ended => f.write_str("the proxy ended the connection before it had answered"),
        }
    }
}

impl core::error::Error for ProxyError {}

/// RFC 1928 §6.
const fn reply(code: u8) -> &'static str {
    match code {
        1 => "it failed (1)",
        2 => "its rules do not allow the connection (2)",
        3 => "the network is unreachable (3)",
        4 => "the host is unreachable (4)",
        5 => "the host refused the connection (5)",
        6 => "the host did not answer in time (6)",
        7 => "it does not support CONNECT (7)",
        8 => "it does not support this kind of address (8)",
        _ => "with a code of no meaning",
    }
}

/// Why a redirect was not followed; it is where the answer pointed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectError {
    /// From `wss` to `ws`: what is secret would go out in the open.
    Downgrade,
    /// A redirecting status without Location, or with one that is not the URI of a WebSocket or of a web page.
    Location,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downgrade => {
                "the server redirects from wss to ws, which would leave TLS: ask for its secure address"
            }
            Self::Location => "the server redirects without a Location that leads to a WebSocket",
        })
    }
}

impl core::error::Error for RedirectError {}

/// Why what a trusted proxy sent is no header of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// It does not begin as one.
    Missing,
    /// It is not as version 1 or 2 has it: which part.
    Malformed(&'static str),
    /// It is longer than it may be.
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// The transport ended amid it.
    Ended,
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "a trusted proxy sent no header of the PROXY protocol: switch it on there, or trust that peer no more",
            ),
            Self::Malformed(what) => write!(f, "a proxy's header of the PROXY protocol has a wrong {what}"),
            Self::TooLong { max } => {
                write!(f, "a proxy's header of the PROXY protocol is longer than {max} bytes")
            }
            Self::Ended => f.write_str("a proxy ended the connection amid its header of the PROXY protocol"),
        }
    }
}

impl core::error::Error for ProxyHeaderError {}

/// Why there is no TLS with a server, or with a client.
#[derive(Debug)]
pub struct TlsError(Box<Insecure>);

#[derive(Debug)]
struct Insecure {
    problem: TlsProblem,
    /// None for a client.
    host: Option<String>,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

/// What is wrong, where TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The certificate is for other hosts.
    WrongHost,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    NotYetValid,
    /// The certificate is signed by itself, and is not among the trusted ones.
    SelfSigned,
    /// The certificate is signed by an authority that is not trusted.
    Untrusted,
    /// The certificate is another than the one that is accepted.
    NotTheOne,
    /// The certificate was revoked.
    Revoked,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The server wants a certificate of the client, or refused the one it got.
    ClientCertificate,
    /// The client did not accept the certificate of this server.
    ServerCertificate,
    /// The other end does not speak TLS.
    NotTls,
    /// No version, cipher or protocol that both ends know.
    NothingInCommon,
    /// The transport ended amid the handshake of TLS.
    Ended,
    /// The settings here are wrong.
    Configuration,
    /// Something else.
    Other,
}

impl TlsError {
    #[cfg(feature = "rustls")]
    pub(crate) fn new(
        problem: TlsProblem,
        host: impl Into<String>,
        source: Option<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Insecure { problem, host: Some(host.into()), source }))
    }

    /// Of a server, with a client.
    #[cfg(feature = "rustls")]
    pub(crate) fn with_client(
        problem: TlsProblem,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Insecure { problem, host: None, source: Some(source.into()) }))
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> TlsProblem {
        self.0.problem
    }

    /// The host with which TLS was to be; empty if it is about settings, or about a client.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Insecure { problem, host, source } = &*self.0;
        let Some(host) = host else {
            f.write_str(sentence_on_client(*problem))?;
            return source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"));
        };
        let detail = |f: &mut fmt::Formatter<'_>, sentence: fmt::Arguments<'_>| match source {
            Some(source) => write!(f, "{sentence}: {source}"),
            None => f.write_fmt(sentence),
        };
        match problem {
            TlsProblem::WrongHost => detail(
                f,
                format_args!("the certificate of {host} is for another host: check the name in the URI"),
            ),
            TlsProblem::Expired => detail(
                f,
                format_args!(
                    "the certificate of {host} has expired: its owner has to renew it, or the clock is wrong here"
                ),
            ),
            TlsProblem::NotYetValid => {
                detail(f, format_args!("the certificate of {host} is not valid yet: check the clock here"))
            }
            TlsProblem::SelfSigned => write!(
                f,
                "the certificate of {host} is signed by itself: trust it with Tls::dangerous_accept_certificate, \
                 or its authority with Tls::roots"
            ),
            TlsProblem::Untrusted => write!(
                f,
                "the certificate of {host} is signed by an authority that is not trusted here: add it with Tls::roots"
            ),
            TlsProblem::NotTheOne => write!(
                f,
                "the certificate of {host} is not the one of Tls::dangerous_accept_certificate: if the server has a \
                 new one, accept that"
            ),
            TlsProblem::Revoked => write!(f, "the certificate of {host} was revoked"),
            TlsProblem::Certificate => {
                detail(f, format_args!("the certificate of {host} cannot be accepted"))
            }
            TlsProblem::ClientCertificate => detail(
                f,
                format_args!(
                    "{host} wants another certificate of the client: give one with Tls::client_certificate"
                ),
            ),
            TlsProblem::ServerCertificate => detail(f, format_args!("{host} was not accepted")),
            TlsProblem::NotTls => detail(
                f,
                format_args!("{host} does not speak TLS on this port: is it ws:// instead of wss://?"),
            ),
            TlsProblem::NothingInCommon => {
                detail(f, format_args!("{host} knows no version or cipher of TLS that is known here"))
            }
            TlsProblem::Ended => write!(f, "{host} ended the connection amid the handshake of TLS"),
            TlsProblem::Configuration => detail(f, format_args!("the settings of TLS are wrong")),
            TlsProblem::Other => detail(f, format_args!("TLS with {host} failed")),
        }
    }
}

impl core::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What a server says of a client.
const fn sentence_on_client(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::ServerCertificate => {
            "the client does not accept the certificate of this server: it may not trust its authority, or know the \
             server by another name"
        }
        TlsProblem::ClientCertificate => "the client has no certificate, without which it is not let in",
        TlsProblem::NotTls => "the client does not speak TLS: it may use ws:// instead of wss://",
        TlsProblem::NothingInCommon => {
            "the client knows no version, cipher or protocol of TLS that is known here"
        }
        TlsProblem::Ended => "the client ended the connection amid the handshake of TLS",
        TlsProblem::Configuration => "the settings of TLS are wrong",
        TlsProblem::Other => "TLS with the client failed",
        _ => "the certificate of the client cannot be accepted",
    }
}
