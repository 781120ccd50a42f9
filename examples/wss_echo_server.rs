//! An echo server over TLS.
//!
//! `wss_echo_server [--pem CHAIN KEY | --self-signed FILE] [--deflate] ADDR`
//!
//! Prints the address it listens on. With `--pem` it shows the certificates in CHAIN and has the key in KEY, both of
//! them PEM; on UNIX, SIGHUP has it read them again. Without, it signs a certificate itself, for `localhost` and the
//! address; `--self-signed` writes that to FILE, which clients can be told to trust. It wants the feature
//! `rustls-ring`: `cargo run --features rustls-ring --example wss_echo_server -- 127.0.0.1:9001`.

use std::net::SocketAddr;
use std::process::ExitCode;

const USAGE: &str = "usage: wss_echo_server [--pem CHAIN KEY | --self-signed FILE] [--deflate] ADDR";

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => serve(settings).await,
        Err(problem) => Err(format!("{problem}\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("wss_echo_server: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[cfg_attr(not(feature = "rustls"), expect(dead_code, reason = "without TLS it only looks at its arguments"))]
struct Settings {
    pem: Option<(String, String)>,
    self_signed: Option<String>,
    deflate: bool,
    address: SocketAddr,
}

impl Settings {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut pem, mut self_signed, mut deflate, mut address) = (None, None, false, None);
        while let Some(argument) = arguments.next() {
            let mut file = || arguments.next().ok_or(format!("{argument} needs a file"));
            match argument.as_str() {
                "--pem" => pem = Some((file()?, file()?)),
                "--self-signed" => self_signed = Some(file()?),
                "--deflate" => deflate = true,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if address.is_some() => return Err(format!("one address is enough: {argument}")),
                _ => address = Some(argument.parse().map_err(|_| format!("{argument:?} is not an address"))?),
            }
        }
        if pem.is_some() && self_signed.is_some() {
            return Err("--pem and --self-signed exclude each other".into());
        }
        Ok(Self { pem, self_signed, deflate, address: address.ok_or("no address to listen on")? })
    }
}

#[cfg(not(feature = "rustls"))]
async fn serve(_: Settings) -> Result<(), Box<dyn std::error::Error>> {
    Err("TLS wants the feature rustls-ring".into())
}

#[cfg(feature = "rustls")]
use tls::serve;

#[cfg(feature = "rustls")]
mod tls {
    use std::error::Error;
    use std::time::Duration;

    use taut::proto::Deflate;
    use taut::proto::handshake::Accept;
    use taut::tokio::rustls::pki_types::PrivateKeyDer;
    use taut::tokio::{Options, ServerTls, TlsAcceptor, accept_with};
    use tokio::net::{TcpListener, TcpStream};

    use super::Settings;

    pub(super) async fn serve(settings: Settings) -> Result<(), Box<dyn Error>> {
        let tls = match &settings.pem {
            Some((chain, key)) => ServerTls::from_pem_files(chain, key),
            None => self_signed(&settings)?,
        };
        let acceptor = TlsAcceptor::new(tls)?;
        reload_at_hangup(acceptor.clone())?;
        let listener = TcpListener::bind(settings.address).await?;
        println!("{}", listener.local_addr()?);
        let options = Options::new().deflate(settings.deflate.then(Deflate::new));
        loop {
            // An error here is one client's, or too many open files: others can still come.
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match echo(stream, &acceptor, options).await {
                    Err(error) if !matches!(error, taut::Error::NoRequest) => eprintln!("{peer}: {error}"),
                    _ => {}
                }
            });
        }
    }

    async fn echo(
        stream: TcpStream,
        acceptor: &TlsAcceptor,
        mut options: Options,
    ) -> Result<(), taut::Error> {
        let stream = acceptor.wrap(stream, &mut options).await?;
        let mut socket = accept_with(stream, options, |_| Ok(Accept::new())).await?;
        while let Some(message) = socket.recv().await? {
            if message.is_data() {
                socket.send(message).await?;
            }
        }
        Ok(())
    }

    fn self_signed(settings: &Settings) -> Result<ServerTls, Box<dyn Error>> {
        let names = ["localhost".to_owned(), settings.address.ip().to_string()];
        let made = rcgen::generate_simple_self_signed(names)?;
        if let Some(file) = &settings.self_signed {
            std::fs::write(file, made.cert.pem())?;
        }
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        Ok(ServerTls::from_certificate([made.cert.der().clone()], key))
    }

    #[cfg(unix)]
    fn reload_at_hangup(acceptor: TlsAcceptor) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut hangups = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                match acceptor.reload() {
                    Ok(()) => println!("reloaded"),
                    Err(error) => eprintln!("wss_echo_server: the certificates stay as they were: {error}"),
                }
            }
        });
        Ok(())
    }

    #[cfg(not(unix))]
    fn reload_at_hangup(_: TlsAcceptor) -> std::io::Result<()> {
        Ok(())
    }
}
