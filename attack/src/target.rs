//! The server that is attacked: where it listens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where the server listens: `ws://HOST:PORT/PATH`.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) address: SocketAddr,
    /// For the Host field.
    pub(crate) host: String,
    pub(crate) path: String,
    url: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("ws://").ok_or("it does not begin with ws://; TLS is not attacked")?;
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let with_port = if host.rsplit(']').next().unwrap_or(host).contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut addresses =
            with_port.to_socket_addrs().map_err(|error| format!("{with_port} is no address: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{with_port} has no address"))?;
        Ok(Self { address, host: host.to_owned(), path: path.to_owned(), url: url.to_owned() })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.url)
    }
}
