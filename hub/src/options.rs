//! Options that several commands have: what a client asks with and whom it trusts, and where another end listens.

#![forbid(unsafe_code)]

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use clap::Args;
use taut::tokio::rustls::pki_types::CertificateDer;
use taut::tokio::rustls::pki_types::pem::PemObject;
use taut::tokio::{Client, Proxy, Tls};

use crate::exit::{Exit, Failure};

/// Options of a client. Values that are secret may be `@FILE`, the content of a file: others see what is on a command line.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// A field of the request. @FILE: from a file.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", help_heading = "Request")]
    pub headers: Vec<String>,
    /// The Origin of the request.
    #[arg(long, help_heading = "Request")]
    pub origin: Option<String>,
    /// A subprotocol to offer; of several, the preferred first.
    #[arg(long = "subprotocol", value_name = "NAME", help_heading = "Request")]
    pub subprotocols: Vec<String>,
    /// A cookie. @FILE: from a file.
    #[arg(long = "cookie", value_name = "NAME=VALUE", help_heading = "Request")]
    pub cookies: Vec<String>,

    /// A proxy: http://, https://, socks5:// or socks5h://. @FILE: from a file. Default: as the environment says.
    #[arg(long, value_name = "URL", help_heading = "Network")]
    pub proxy: Option<String>,
    /// Trusts the authorities in this file (PEM), and no others.
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub ca: Option<PathBuf>,
    /// INSECURE: accepts any certificate of anyone. Whoever is on the way can read and change everything.
    #[arg(long, conflicts_with = "ca", help_heading = "Network")]
    pub dangerous_accept_any_certificate: bool,
    /// The name that the server's certificate has to be for, instead of the URL's host.
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub server_name: Option<String>,
}

/// Options of another end, to try clients on.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct EndOptions {
    /// Where to listen; port 0 for any that is free.
    #[arg(default_value = "127.0.0.1:9001", value_name = "ADDRESS:PORT")]
    pub address: String,
    /// Agrees to compression.
    #[arg(long)]
    pub deflate: bool,
    /// The largest message in bytes.
    #[arg(long, value_name = "BYTES")]
    pub max_message: Option<usize>,
    /// A subprotocol that is spoken; of several, the first that a client offers.
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
}

impl ClientOptions {
    /// The client with these.
    ///
    /// # Errors
    /// What cannot be meant, or a file that cannot be read.
    pub(crate) fn applied(&self, mut client: Client) -> Result<Client, Failure> {
        for header in &self.headers {
            let header = revealed(header)?;
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Failure::usage("--header is \"NAME: VALUE\", with a colon"))?;
            client = client.field(name.trim(), value.trim()).map_err(|error| usage("header", &error))?;
        }
        if let Some(origin) = &self.origin {
            client = client.origin(origin).map_err(|error| usage("origin", &error))?;
        }
        for name in &self.subprotocols {
            client = client.subprotocol(name).map_err(|error| usage("subprotocol", &error))?;
        }
        let cookies = self.cookies.iter().map(|cookie| revealed(cookie)).collect::<Result<Vec<_>, _>>()?;
        if !cookies.is_empty() {
            client = client.cookie(&cookies.join("; ")).map_err(|error| usage("cookie", &error))?;
        }
        client = match &self.proxy {
            Some(proxy) => {
                client.proxy(Proxy::parse(&revealed(proxy)?).map_err(|error| usage("proxy", &error))?)
            }
            None => client.proxy_from_environment().map_err(|error| Failure::usage(error.to_string()))?,
        };
        match self.tls()? {
            Some(tls) => Ok(client.tls(tls)?),
            None => Ok(client),
        }
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        if self.ca.is_none() && !self.dangerous_accept_any_certificate && self.server_name.is_none() {
            return Ok(None);
        }
        let mut tls = Tls::new();
        if let Some(path) = &self.ca {
            tls = tls.roots(certificates(path)?);
        }
        if self.dangerous_accept_any_certificate {
            tls = tls.dangerous_accept_any_certificate();
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        Ok(Some(tls))
    }
}

/// What is behind `@FILE`, without the white space around it, or the text itself.
pub(crate) fn revealed(text: &str) -> Result<String, Failure> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let content =
        read_to_string(path).map_err(|error| Failure::new(Exit::Failed, format!("{path}: {error}")))?;
    Ok(content.trim().to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        found.map_err(|error| Failure::new(Exit::Failed, format!("--ca {}: {error}", path.display())))?;
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "--ca {}: there is no certificate in it, as PEM",
            path.display()
        )));
    }
    Ok(found)
}

fn usage(option: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::usage(format!("--{option}: {error}"))
}
