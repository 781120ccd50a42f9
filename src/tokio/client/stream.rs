//! What a client's connection runs over: TCP, a socket of the file system, TLS, or a stream of the program's own.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::TcpStream;
#[cfg(unix)]
use ::tokio::net::UnixStream;
#[cfg(feature = "rustls")]
use tokio_rustls::client::TlsStream;

/// The stream below a client's [`WebSocket`](crate::tokio::WebSocket).
#[derive(Debug)]
pub struct NetworkStream(Kind);

enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Over any of these, a tunnel through TLS to a proxy included.
    #[cfg(feature = "rustls")]
    Tls(Box<TlsStream<NetworkStream>>),
    Own(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl NetworkStream {
    /// A stream of one's own, for a [`Connector`](super::Connector) or a [`Network`](super::Network) to give.
    /// A `TcpStream` goes by `From`, which costs no dynamic call.
    #[must_use]
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Kind::Own(Box::new(stream)))
    }

    #[cfg(feature = "rustls")]
    pub(super) fn from_tls(stream: TlsStream<Self>) -> Self {
        Self(Kind::Tls(Box::new(stream)))
    }

    /// The TCP stream at the bottom: for its addresses and socket options. Through a proxy, the one to the proxy.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Kind::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "rustls")]
            Kind::Tls(tls) => tls.get_ref().0.tcp(),
            _ => None,
        }
    }

    /// What was agreed on by TLS: version, cipher, certificates. `None` where the connection runs in the open.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(&self) -> Option<&tokio_rustls::rustls::ClientConnection> {
        if let Kind::Tls(tls) = &self.0 { Some(tls.get_ref().1) } else { None }
    }
}

impl From<TcpStream> for NetworkStream {
    fn from(stream: TcpStream) -> Self {
        Self(Kind::Tcp(stream))
    }
}

#[cfg(unix)]
impl From<UnixStream> for NetworkStream {
    fn from(stream: UnixStream) -> Self {
        Self(Kind::Unix(stream))
    }
}

/// The stream inside, pinned.
macro_rules! inside {
    ($self:expr, $stream:ident => $do:expr) => {
        match &mut $self.get_mut().0 {
            Kind::Tcp($stream) => $do,
            #[cfg(unix)]
            Kind::Unix($stream) => $do,
            #[cfg(feature = "rustls")]
            Kind::Tls($stream) => $do,
            Kind::Own($stream) => $do,
        }
    };
}

impl AsyncRead for NetworkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(feature = "rustls")]
            Kind::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                // An end without close_notify. WebSocket has a Close of its own, by which it knows what was cut off.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                read => read,
            },
            Kind::Own(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for NetworkStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inside!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inside!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Kind::Unix(stream) => stream.is_write_vectored(),
            #[cfg(feature = "rustls")]
            Kind::Tls(stream) => stream.is_write_vectored(),
            Kind::Own(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(stream) => stream.fmt(f),
            #[cfg(unix)]
            Self::Unix(stream) => stream.fmt(f),
            // The state of TLS has keys.
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => f.debug_tuple("Tls").field(stream.get_ref().0).finish(),
            Self::Own(_) => f.write_str("Own"),
        }
    }
}
