//! An echo server over TLS, for trying things out: it makes itself a certificate for `localhost` and the address, and writes
//! it to a file, which clients are told to trust. One with a certificate of an authority names its files instead:
//! `TAUT_SERVER_TLS_CERTIFICATE` and `TAUT_SERVER_TLS_KEY` in the environment of any server here.
//!
//! `self_signed_server CERTIFICATE ADDR`; prints the address it listens on. Talk to it with
//! `self_signed_client CERTIFICATE wss://ADDR`. Both want a feature for the cryptography:
//! `cargo run --features server,rustls-ring --example self_signed_server -- certificate.pem 127.0.0.1:9001`.

use std::error::Error;

use taut::server::{Config, Server, Shutdown};
use taut::tokio::ServerTls;
use taut::tokio::rustls::pki_types::PrivateKeyDer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: self_signed_server CERTIFICATE ADDR".into());
    };
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host).trim_matches(['[', ']']);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), host.to_owned()])?;
    // The key stays in memory: nobody else can be this server.
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let tls = ServerTls::from_certificate([made.cert.der().clone()], key);
    std::fs::write(&file, made.cert.pem())?;
    let server = Server::builder(Config::load()?.address(address))
        .tls(tls)
        .on_message(|from, message| async move { from.queue(message).map(|_| ()) })
        .on_error(|fault| eprintln!("self_signed_server: {fault}"))
        .bind()
        .await?;
    println!("{}", server.address().ok_or("no address")?);
    server.run_until_signal(Shutdown::new()).await?;
    Ok(())
}
