//! The futures of the public API can be spawned on a runtime of many threads, if the stream can be. No signature says so of
//! an `async fn`: here the compiler does, of each that `api/taut.txt` has.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use ::futures_io::{AsyncRead, AsyncWrite};
use taut::proto::handshake::{Accept, ClientRequest, Reject, Request};
use taut::proto::{CloseCode, EventRef, Kind, MessageRef, Sender};
use taut::testing::Peer;
use taut::tokio::frames::{Frame, FrameReader, FrameWriter};
use taut::tokio::{
    Arrival, Incoming, NetworkStream, Plain, ProxyProtocol, ReceiveHalf, SendHalf, TlsAcceptor, WebSocket,
};
use taut::{Error, Options, client, futures_io, http2, server, testing, tokio};

type Accepts = fn(&Request) -> Result<Accept, Reject>;
type Asks = fn(ClientRequest) -> Result<ClientRequest, taut::proto::handshake::BuildError>;
type Events = fn(EventRef<'_>, &mut Sender) -> Result<(), Error>;

/// As `NetworkStream` it is `Send` and not `Sync`: no more may be asked for.
type Foreign = Box<dyn Duplex + Send>;
type ForeignSocket = futures_io::WebSocket<Foreign>;

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

macro_rules! futures {
    ($($path:literal |$($name:ident: $type:ty),*| $future:expr;)*) => {
        const NAMED: &[&str] = &[$($path),*];

        #[expect(dead_code, reason = "it is compiled, and that is the test")]
        fn each_is_send() {
            $(let _ = |$($name: $type),*| is_send(&$future);)*
        }
    };
}

const fn is_send<T: Send>(_: &T) {}

futures! {
    "connect" | | taut::connect("");
    "client::Handle::close" |client: &client::Handle| client.close(CloseCode::NORMAL, "");
    "client::Handle::deliver" |client: &client::Handle| client.deliver("");
    "client::Handle::deliver_json" |client: &client::Handle| client.deliver_json("", &1);
    "client::Handle::ended" |client: &client::Handle| client.ended();
    "client::Handle::request" |client: &client::Handle, time: Duration| client.request::<u8>("", &1, time);
    "client::Handle::send" |client: &client::Handle| client.send("");
    "client::Handle::send_binary" |client: &client::Handle| client.send_binary("");
    "client::Handle::send_json" |client: &client::Handle| client.send_json(&1);
    "client::Handle::send_text" |client: &client::Handle| client.send_text("");
    "client::Updates::recv" |updates: &mut client::Updates| updates.recv();
    "client::Updates::recv_message" |updates: &mut client::Updates| updates.recv_message();
    "futures_io::WebSocket::close" |socket: &mut ForeignSocket| socket.close(CloseCode::NORMAL, "");
    "futures_io::WebSocket::flush" |socket: &mut ForeignSocket| socket.flush();
    "futures_io::WebSocket::recv" |socket: &mut ForeignSocket| socket.recv();
    "futures_io::WebSocket::recv_event" |socket: &mut ForeignSocket| socket.recv_event();
    "futures_io::WebSocket::send" |socket: &mut ForeignSocket| socket.send("");
    "futures_io::WebSocket::send_ref" |socket: &mut ForeignSocket| socket.send_ref(MessageRef::Text(""));
    "futures_io::accept" |stream: Foreign, time: futures_io::Time| futures_io::accept(stream, time);
    "futures_io::accept_with" |stream: Foreign, time: futures_io::Time, options: Options, decide: Accepts|
        futures_io::accept_with(stream, time, options, decide);
    "futures_io::connect_over" |stream: Foreign, time: futures_io::Time, request: &ClientRequest, options: Options|
        futures_io::connect_over(stream, time, request, options);
    "http2::Client::connect" |client: &http2::Client, request: &ClientRequest| client.connect(request);
    "http2::Client::new" |stream: NetworkStream, options: Options| http2::Client::new(stream, true, options);
    "server::Builder::bind" |builder: server::Builder| builder.bind();
    "server::Builder::bind_unix" |builder: server::Builder| builder.bind_unix("", 0);
    "server::Handle::ask" |handle: &server::Handle, time: Duration| handle.ask::<u8, u8>("", &1, time);
    "server::Handle::ready" |handle: &server::Handle| handle.ready();
    "server::Handle::send" |handle: &server::Handle| handle.send("");
    "server::Server::run_until_signal" |server: &server::Server, how: server::Shutdown| server.run_until_signal(how);
    "server::Server::shutdown" |server: &server::Server, how: server::Shutdown| server.shutdown(how);
    "server::Server::stopped" |server: &server::Server| server.stopped();
    "testing::MemoryListener::accept" |listener: &testing::MemoryListener| listener.accept();
    "testing::Peer::accept" |stream: NetworkStream| Peer::accept(stream);
    "testing::Peer::close" |peer: &mut Peer<NetworkStream>| peer.close(CloseCode::NORMAL);
    "testing::Peer::connect" |stream: NetworkStream| Peer::connect(stream, "");
    "testing::Peer::expect" |peer: &mut Peer<NetworkStream>| peer.expect("");
    "testing::Peer::expect_close" |peer: &mut Peer<NetworkStream>| peer.expect_close(1000);
    "testing::Peer::expect_end" |peer: &mut Peer<NetworkStream>| peer.expect_end();
    "testing::Peer::expect_frame" |peer: &mut Peer<NetworkStream>, frame: Frame| peer.expect_frame(frame);
    "testing::Peer::expect_reset" |peer: &mut Peer<NetworkStream>| peer.expect_reset();
    "testing::Peer::expect_silence" |peer: &mut Peer<NetworkStream>, time: Duration| peer.expect_silence(time);
    "testing::Peer::finish" |peer: &mut Peer<NetworkStream>| peer.finish();
    "testing::Peer::read_head" |peer: &mut Peer<NetworkStream>| peer.read_head();
    "testing::Peer::recv" |peer: &mut Peer<NetworkStream>| peer.recv();
    "testing::Peer::send" |peer: &mut Peer<NetworkStream>| peer.send("");
    "testing::Peer::send_bytes" |peer: &mut Peer<NetworkStream>| peer.send_bytes(b"");
    "tokio::Arrival::read" |stream: NetworkStream, options: Options| Arrival::read(stream, options);
    "tokio::Incoming::accept" |incoming: Incoming<NetworkStream>, accept: Accept| incoming.accept(accept);
    "tokio::Incoming::read" |stream: NetworkStream, options: Options| Incoming::read(stream, options);
    "tokio::Incoming::reject" |incoming: Incoming<NetworkStream>, reject: Reject| incoming.reject(reject);
    "tokio::Plain::answer" |plain: Plain<NetworkStream>, reject: Reject| plain.answer(reject);
    "tokio::Plain::refuse" |plain: Plain<NetworkStream>| plain.refuse();
    "tokio::ProxyProtocol::read" |proxy: &ProxyProtocol, stream: NetworkStream, peer: SocketAddr, options: &mut Options|
        proxy.read(stream, peer, options);
    "tokio::ReceiveHalf::recv" |half: &mut ReceiveHalf<NetworkStream>| half.recv();
    "tokio::ReceiveHalf::recv_event" |half: &mut ReceiveHalf<NetworkStream>| half.recv_event();
    "tokio::ReceiveHalf::recv_stream" |half: &mut ReceiveHalf<NetworkStream>| half.recv_stream();
    "tokio::SendHalf::close" |half: &mut SendHalf<NetworkStream>| half.close(CloseCode::NORMAL, "");
    "tokio::SendHalf::closed" |half: &mut SendHalf<NetworkStream>| half.closed();
    "tokio::SendHalf::flush" |half: &mut SendHalf<NetworkStream>| half.flush();
    "tokio::SendHalf::reserve" |half: &mut SendHalf<NetworkStream>| half.reserve();
    "tokio::SendHalf::send" |half: &mut SendHalf<NetworkStream>| half.send("");
    "tokio::SendHalf::send_stream" |half: &mut SendHalf<NetworkStream>| half.send_stream(Kind::Text);
    "tokio::TlsAcceptor::wrap" |acceptor: &TlsAcceptor, stream: NetworkStream, options: &mut Options|
        acceptor.wrap(stream, options);
    "tokio::WebSocket::close" |socket: &mut WebSocket<NetworkStream>| socket.close(CloseCode::NORMAL, "");
    "tokio::WebSocket::flush" |socket: &mut WebSocket<NetworkStream>| socket.flush();
    "tokio::WebSocket::recv" |socket: &mut WebSocket<NetworkStream>| socket.recv();
    "tokio::WebSocket::recv_each" |socket: &mut WebSocket<NetworkStream>, each: Events| socket.recv_each(each);
    "tokio::WebSocket::recv_event" |socket: &mut WebSocket<NetworkStream>| socket.recv_event();
    "tokio::WebSocket::recv_stream" |socket: &mut WebSocket<NetworkStream>| socket.recv_stream();
    "tokio::WebSocket::reserve" |socket: &mut WebSocket<NetworkStream>| socket.reserve();
    "tokio::WebSocket::send" |socket: &mut WebSocket<NetworkStream>| socket.send("");
    "tokio::WebSocket::send_ref" |socket: &mut WebSocket<NetworkStream>| socket.send_ref(MessageRef::Text(""));
    "tokio::accept" |stream: NetworkStream| tokio::accept(stream);
    "tokio::accept_with" |stream: NetworkStream, options: Options, decide: Accepts|
        tokio::accept_with(stream, options, decide);
    "tokio::bind_unix" | | tokio::bind_unix("", 0);
    "tokio::connect" | | tokio::connect("");
    "tokio::connect_over" |stream: NetworkStream, request: &ClientRequest, options: Options|
        tokio::connect_over(stream, request, options);
    "tokio::connect_with" |options: Options, ask: Asks| tokio::connect_with("", options, ask);
    "tokio::frames::FrameReader::header" |reader: &mut FrameReader<NetworkStream>| reader.header();
    "tokio::frames::FrameReader::piece" |reader: &mut FrameReader<NetworkStream>| reader.piece();
    "tokio::frames::FrameReader::read" |reader: &mut FrameReader<NetworkStream>| reader.read();
    "tokio::frames::FrameWriter::flush" |writer: &mut FrameWriter<NetworkStream>| writer.flush();
    "tokio::frames::FrameWriter::shutdown" |writer: &mut FrameWriter<NetworkStream>| writer.shutdown();
    "tokio::frames::FrameWriter::write" |writer: &mut FrameWriter<NetworkStream>, frame: &Frame| writer.write(frame);
}

#[test]
fn each_future_of_the_public_api_is_here() {
    let listing = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/api/taut.txt")).unwrap();
    let listed: BTreeSet<String> = listing.lines().filter_map(future_in).collect();
    let here: BTreeSet<String> = NAMED.iter().map(|&path| path.to_owned()).collect();
    assert!(listed.len() > 50, "api/taut.txt has another form");
    let missing: Vec<_> = listed.difference(&here).collect();
    let gone: Vec<_> = here.difference(&listed).collect();
    assert!(missing.is_empty() && gone.is_empty(), "to be added here: {missing:?}; to be removed: {gone:?}");
}

/// The path of a function whose future is Send without its signature saying so.
fn future_in(line: &str) -> Option<String> {
    let (signature, output) = line.split_once(") -> ").unwrap_or((line, ""));
    let output = output.split(" where ").next()?;
    let says_so = output.ends_with(" + core::marker::Send");
    let is_future = line.starts_with("pub async fn ")
        || line.starts_with("pub fn ")
            && output.starts_with("impl core::future::future::Future<")
            && !says_so;
    let path = signature.split('(').next()?.split("fn taut::").nth(1)?;
    // Without the generic parameters.
    let bare = path.split('<').map(|part| part.rsplit('>').next().unwrap_or(part)).collect();
    is_future.then_some(bare)
}
