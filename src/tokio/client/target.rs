//! Where a connection is to go: `ws://`, `wss://`, or `ws+unix://`, with or without credentials.

#![forbid(unsafe_code)]

use alloc::format;
use std::path::PathBuf;

use super::authority::{Credentials, decoded, take_credentials};
use crate::error::Error;
use crate::proto::handshake::{UriError, WebSocketUri};

/// A URI, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Whom the request is for.
    pub(super) uri: WebSocketUri,
    /// The socket in the file system, of `ws+unix`.
    pub(super) socket: Option<PathBuf>,
    pub(super) credentials: Option<Credentials>,
}

impl Target {
    /// `ws+unix://` has the path of the socket, percent-encoded where need be, and behind a colon that of the request:
    /// `ws+unix:///run/chat.sock:/rooms/1`.
    pub(super) fn parse(uri: &str) -> Result<Self, Error> {
        if let Some((scheme, rest)) = uri.split_once("://")
            && scheme.eq_ignore_ascii_case("ws+unix")
        {
            return Self::in_file_system(rest);
        }
        let (uri, credentials) = take_credentials(uri).map_err(|()| UriError::UserInfo)?;
        Ok(Self { uri: WebSocketUri::parse(&uri)?, socket: None, credentials })
    }

    fn in_file_system(rest: &str) -> Result<Self, Error> {
        if cfg!(not(unix)) {
            return Err(Error::Unsupported(NO_SOCKETS));
        }
        let (path, resource) = rest.split_once(':').unwrap_or((rest, "/"));
        let path = decoded(path).filter(|path| path.starts_with('/') && !path.contains('\0'));
        let socket = Some(path.ok_or(UriError::SocketPath)?.into());
        if !resource.starts_with('/') {
            return Err(UriError::SocketPath.into());
        }
        // RFC 9112 §3.2 wants a Host; a socket of the file system has none.
        let uri = WebSocketUri::parse(&format!("ws://localhost{resource}"))?;
        Ok(Self { uri, socket, credentials: None })
    }

    /// Whether both are the same server: what is secret for one may be told to the other.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        let server = |target: &Self| (target.uri.is_secure(), target.uri.authority(), target.socket.clone());
        server(self) == server(other)
    }
}

pub(super) const NO_SOCKETS: &str = "ws+unix:// needs UNIX sockets, which are not on this system: use ws://";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn sockets_of_the_file_system_have_a_path_and_a_resource() {
        for (uri, path, resource) in [
            ("ws+unix:///run/a.sock", "/run/a.sock", "/"),
            ("WS+UNIX:///run/a.sock:/b?c=:d", "/run/a.sock", "/b?c=:d"),
            ("ws+unix:///run/a%3ab%20c:/", "/run/a:b c", "/"),
        ] {
            let target = Target::parse(uri).unwrap();
            assert_eq!(target.socket.as_deref(), Some(path.as_ref()), "{uri}");
            assert_eq!((target.uri.resource(), &*target.uri.authority()), (resource, "localhost"), "{uri}");
        }
        for uri in ["ws+unix://run/a", "ws+unix://", "ws+unix:///a:b", "ws+unix:///a%", "ws+unix:///a%00"] {
            assert!(matches!(Target::parse(uri), Err(Error::Uri(UriError::SocketPath))), "{uri}");
        }
        assert!(matches!(Target::parse("ws+unix:///a:/#b"), Err(Error::Uri(UriError::Fragment))));
        assert!(matches!(Target::parse("ws+unix:/a"), Err(Error::Uri(UriError::Scheme))));
    }

    #[test]
    fn servers_are_told_apart() {
        let same = |one: &str, other: &str| {
            Target::parse(one).unwrap().is_same_server(&Target::parse(other).unwrap())
        };
        assert!(same("ws://a/b", "ws://A:80/c"));
        assert!(!same("ws://a", "ws://b") && !same("ws://a", "ws://a:81") && !same("ws://a:443", "wss://a"));
    }
}
