//! A way through a proxy of SOCKS 5 (RFC 1928), with user name and password (RFC 1929).

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::net::IpAddr;
use std::io;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::Credentials;
use super::stream::NetworkStream;
use crate::error::Error;
use crate::network_error::ProxyError;

/// Asks for a connection to the host, a name or an address; when it returns, what the stream carries is the host's.
pub(super) async fn open(
    stream: &mut NetworkStream,
    host: &str,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<(), Error> {
    let methods: &[u8] =
        if credentials.is_some() { &[NO_AUTHENTICATION, PASSWORD] } else { &[NO_AUTHENTICATION] };
    let mut greeting = Vec::from([VERSION]);
    put(&mut greeting, methods)?;
    send(stream, &greeting).await?;
    match (read::<2>(stream).await?, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, PASSWORD], Some(credentials)) => authenticate(stream, credentials).await?,
        ([VERSION, NOTHING_ACCEPTABLE], None) => return Err(ProxyError::CredentialsMissing.into()),
        ([VERSION, NOTHING_ACCEPTABLE], Some(_)) => return Err(ProxyError::CredentialsRefused.into()),
        _ => return Err(ProxyError::Malformed("choice of a method of SOCKS 5").into()),
    }
    let mut request = Vec::from([VERSION, CONNECT, 0]);
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(NAME);
            put(&mut request, host.as_bytes())?;
        }
    }
    request.extend(port.to_be_bytes());
    send(stream, &request).await?;
    let kind = match read::<4>(stream).await? {
        [VERSION, 0, _, kind] => kind,
        [VERSION, code, ..] => return Err(ProxyError::Reply(code).into()),
        _ => return Err(ProxyError::Malformed("answer of SOCKS 5").into()),
    };
    // The address of the proxy's end, of which nothing is wanted but its length.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => read::<1>(stream).await?[0],
        _ => return Err(ProxyError::Malformed("address of SOCKS 5").into()),
    };
    let mut address = [0; 255 + 2];
    received(stream.read_exact(&mut address[..usize::from(length) + 2]).await)?;
    Ok(())
}

/// RFC 1929.
async fn authenticate(stream: &mut NetworkStream, credentials: &Credentials) -> Result<(), Error> {
    let mut request = Vec::from([1]);
    put(&mut request, credentials.user.as_bytes())?;
    put(&mut request, credentials.password.as_bytes())?;
    send(stream, &request).await?;
    match read::<2>(stream).await? {
        [_, 0] => Ok(()),
        _ => Err(ProxyError::CredentialsRefused.into()),
    }
}

/// A string with its length before it.
fn put(request: &mut Vec<u8>, text: &[u8]) -> Result<(), ProxyError> {
    request.push(u8::try_from(text.len()).ok().filter(|&length| length > 0).ok_or(ProxyError::TooLong)?);
    request.extend(text);
    Ok(())
}

async fn send(stream: &mut NetworkStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read<const LENGTH: usize>(stream: &mut NetworkStream) -> Result<[u8; LENGTH], Error> {
    let mut bytes = [0; LENGTH];
    received(stream.read_exact(&mut bytes).await)?;
    Ok(bytes)
}

fn received(result: io::Result<usize>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ProxyError::Ended.into()),
        Err(error) => Err(error.into()),
    }
}

const VERSION: u8 = 5;
const CONNECT: u8 = 1;

// Methods (RFC 1928 §3).
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xff;

// Kinds of addresses (RFC 1928 §5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
