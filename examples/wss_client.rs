//! Connects over TLS, with the proxies that the environment names; says a line, and prints what comes until the end.
//!
//! `wss_client [--roots FILE] URL [LINE]`
//!
//! With `--roots` it trusts the authorities in the file (PEM), and no others; else those of the operating system.
//! URL may have credentials: `wss://user:password@example.com/`. For `wss://` it wants the feature `rustls-ring`:
//! `cargo run --features rustls-ring --example wss_client -- wss://example.com/`.

use taut::proto::Message;
use taut::tokio::Client;

const USAGE: &str = "usage: wss_client [--roots FILE] URL [LINE]";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("wss_client: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut client = Client::new().proxy_from_environment()?;
    if arguments.next_if(|argument| argument == "--roots").is_some() {
        client = trust(client, &arguments.next().ok_or(USAGE)?)?;
    }
    let url = arguments.next().ok_or(USAGE)?;
    let mut socket = client.connect(&url).await?;
    // Where TLS is compiled in, what it agreed on can be asked for.
    #[cfg(feature = "rustls")]
    if let Some(version) = socket.with_stream(|stream| stream.tls().and_then(|tls| tls.protocol_version())) {
        eprintln!("wss_client: {version:?}");
    }
    if let Some(line) = arguments.next() {
        socket.send(line).await?;
    }
    while let Some(message) = socket.recv().await? {
        if let Message::Text(text) = message {
            println!("{text}");
        }
    }
    Ok(())
}

#[cfg(feature = "rustls")]
fn trust(client: Client, roots: &str) -> Result<Client, Box<dyn std::error::Error>> {
    use taut::tokio::Tls;
    use taut::tokio::rustls::pki_types::CertificateDer;
    use taut::tokio::rustls::pki_types::pem::PemObject;

    let roots = CertificateDer::pem_file_iter(roots)?.collect::<Result<Vec<_>, _>>()?;
    Ok(client.tls(Tls::new().roots(roots))?)
}

#[cfg(not(feature = "rustls"))]
fn trust(_: Client, _: &str) -> Result<Client, Box<dyn std::error::Error>> {
    Err("--roots wants the feature rustls-ring".into())
}
