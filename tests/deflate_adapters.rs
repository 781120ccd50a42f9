//! permessage-deflate through the adapters: who offers and who agrees by default, what turns it on and off, and
//! messages of every way to send.

#![cfg(all(feature = "tokio", feature = "deflate"))]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use taut::proto::handshake::{Accept, ClientRequest, Extension, deflate};
use taut::proto::{
    Agreement, CloseCode, Config, Connection, Deflate, Delivery, Event, Kind, Message, Prepared, Role,
};
use taut::{Options, blocking};
use tokio::io::{DuplexStream, duplex};

type Socket = taut::tokio::WebSocket<DuplexStream>;

fn request() -> ClientRequest {
    ClientRequest::new("server", "/").unwrap()
}

async fn connected(request: ClientRequest, client: Options, server: Options, accept: Accept) -> [Socket; 2] {
    let (near, far) = duplex(4096);
    let served = taut::tokio::accept_with(far, server, |_| Ok(accept));
    let (client, server) = tokio::join!(taut::tokio::connect_over(near, &request, client), served);
    let (client, server) = (client.unwrap(), server.unwrap());
    let agreed = client.with_connection(|connection| connection.agreement().clone());
    assert_eq!(agreed, server.with_connection(|connection| connection.agreement().clone()));
    [client, server]
}

fn agreed(socket: &Socket) -> Option<Deflate> {
    socket.with_connection(|connection| connection.agreement().deflate())
}

#[tokio::test]
async fn a_client_offers_and_a_server_agrees_when_told_to() {
    let by_default = Options::new();
    let (all, none) = (Deflate::new(), Deflate::no_context_takeover());
    for (client, server, expected) in [
        (by_default, by_default, None),
        (by_default, by_default.deflate(all), Some(all)),
        (by_default, by_default.deflate(none), Some(none)),
        (by_default.deflate(none), by_default.deflate(all), Some(none)),
        (by_default.deflate(None), by_default.deflate(all), None),
        (by_default.deflate(all), by_default.deflate(None), None),
    ] {
        let [client, _] = connected(request(), client, server, Accept::new()).await;
        assert_eq!(agreed(&client), expected);
    }
}

#[tokio::test]
async fn a_request_and_an_acceptance_have_their_own_way() {
    let (all, none) = (Deflate::new(), Deflate::no_context_takeover());
    let small = all.server_max_window_bits(9).client_max_window_bits(10);
    for off in [Options::new(), Options::new().deflate(None), Options::new().deflate(none)] {
        let [client, _] = connected(request().deflate(small), off, off, Accept::new().deflate(all)).await;
        assert_eq!(agreed(&client), Some(small));
    }
}

/// Sends the message both ways and compares what comes.
async fn exchange([client, server]: &mut [Socket; 2], message: &Message) {
    carry(client, server, message).await;
    carry(server, client, message).await;
}

async fn carry(from: &mut Socket, to: &mut Socket, message: &Message) {
    let (sent, received) = tokio::join!(from.send(message.clone()), to.recv());
    sent.unwrap();
    assert_eq!(received.unwrap().as_ref(), Some(message));
}

#[tokio::test]
async fn messages_of_every_size_cross_with_and_without_takeover() {
    for deflate in [Deflate::new(), Deflate::no_context_takeover(), Deflate::new().server_max_window_bits(9)]
    {
        let options = Options::new().deflate(deflate);
        let mut ends = connected(request(), options, options, Accept::new()).await;
        for len in [0, 1, 256, 257, 1000, 70_000, 300_000] {
            let text: String = "Übermorgen, 明日, tomorrow; ".chars().cycle().take(len).collect();
            exchange(&mut ends, &Message::text(text)).await;
            exchange(&mut ends, &Message::binary(vec![7; len])).await;
        }
    }
}

#[tokio::test]
async fn each_way_to_send_is_compressed_and_can_be_left_plain() {
    let options = Options::new().deflate(Deflate::new());
    let [mut client, mut server] = connected(request(), options, options, Accept::new()).await;
    let text = "the same words again and again, ".repeat(100);
    let ways: [fn(&mut Socket, &str); 4] = [
        |socket, text| socket.feed(text).unwrap(),
        |socket, text| socket.feed_text(text).unwrap(),
        |socket, text| socket.feed_prepared(&Prepared::text(text)).unwrap(),
        |socket, text| {
            let (first, second) = text.split_at(text.len() / 2);
            socket.feed_fragment(Kind::Text, first.as_bytes(), false).unwrap();
            socket.feed_fragment(Kind::Text, second.as_bytes(), true).unwrap();
        },
    ];
    for way in ways {
        for compress in [true, false] {
            server.compress(compress);
            way(&mut server, &text);
            let waiting = server.with_connection(|connection| connection.queued());
            assert_eq!(waiting < text.len() / 10, compress, "{waiting} bytes");
            let (flushed, received) = tokio::join!(server.flush(), client.recv());
            flushed.unwrap();
            assert_eq!(received.unwrap().unwrap().as_text(), Some(&*text));
        }
        server.forget_context();
    }
    let to_the_end = async { while server.recv().await.unwrap().is_some() {} };
    let (closed, ()) = tokio::join!(client.close(CloseCode::NORMAL, ""), to_the_end);
    assert!(closed.unwrap().clean);
}

#[tokio::test]
async fn a_long_message_comes_in_chunks() {
    let server = Options::new().deflate(Deflate::new()).config(Config::new().delivery(Delivery::Chunks));
    let [mut client, mut server] = connected(request(), Options::new(), server, Accept::new()).await;
    let sends = async {
        let piece = vec![b'x'; 100_000];
        for number in 0..20 {
            client.feed_fragment(Kind::Binary, &piece, number == 19).unwrap();
            client.flush().await.unwrap();
        }
    };
    let receives = async {
        let mut total = 0;
        loop {
            let Some(Event::Chunk(chunk)) = server.recv_event().await.unwrap() else { panic!("no chunk") };
            let Message::Binary(bytes) = Event::Chunk(chunk.clone()).into_message() else { panic!("text") };
            assert!(bytes.iter().all(|&byte| byte == b'x'));
            total += bytes.len();
            if chunk.last {
                return total;
            }
        }
    };
    let ((), total) = tokio::join!(sends, receives);
    assert_eq!(total, 2_000_000);
}

#[test]
fn a_prepared_message_is_compressed_once_for_each_window() {
    let prepared = Prepared::text("the same words again and again, ".repeat(100));
    let sent = |deflate: Deflate| {
        let agreement = Agreement::new().with_deflate(deflate);
        // Short messages are copied else.
        let mut server = Connection::server(Config::new().share_above(0)).with_agreement(agreement);
        server.send_prepared(&prepared).unwrap();
        server.output().pop().unwrap()
    };
    let (first, second) = (sent(Deflate::new()), sent(Deflate::no_context_takeover()));
    let small = sent(Deflate::new().server_max_window_bits(9));
    assert_eq!(first.as_ptr(), second.as_ptr(), "not the same memory");
    assert_ne!(first.as_ptr(), small.as_ptr(), "a window of 9 bits cannot hold what one of 15 can");
    assert!(first.len() < 200 && small.len() < 200, "{} and {} bytes", first.len(), small.len());
}

#[test]
fn a_message_that_does_not_compress_passes_at_the_limit() {
    let mut seed = 1_u32;
    for len in [1000, 1 << 16, 1 << 20] {
        let noise: Vec<u8> = (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        let agreement = Agreement::new().with_deflate(Deflate::new());
        let config = Config::new().max_message(len).max_frame(len);
        let mut client = Connection::client(config, || [1, 2, 3, 4]).with_agreement(agreement.clone());
        let mut server = Connection::server(config).with_agreement(agreement);
        client.send_binary(&noise).unwrap();
        while let Some(piece) = client.output().pop() {
            server.feed(&piece);
        }
        assert_eq!(server.next_event(), Ok(Some(Event::Message(Message::binary(noise)))), "{len}");
    }
}

#[test]
fn a_client_keeps_to_every_hint_that_the_server_may_count_on() {
    let answer = |value: &'static str| Extension::parse([value.as_bytes()]).unwrap();
    let offers = [Deflate::new(), Deflate::no_context_takeover()];
    let agreed = deflate::confirm(&offers, &answer("permessage-deflate; server_no_context_takeover"));
    assert!(!agreed.unwrap().unwrap().takes_over(Role::Client));
    let offers = [Deflate::new(), Deflate::new().server_max_window_bits(10).client_max_window_bits(10)];
    let agreed = deflate::confirm(&offers, &answer("permessage-deflate; server_max_window_bits=10"));
    assert_eq!(agreed.unwrap().unwrap().window_bits(Role::Client), 10);
    let offer = [Deflate::new().client_max_window_bits(10)];
    let agreed = deflate::confirm(&offer, &answer("permessage-deflate; client_max_window_bits=12"));
    assert_eq!(agreed.unwrap().unwrap().window_bits(Role::Client), 10);
}

#[test]
fn threads_compress_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let options = Options::new().deflate(Deflate::new());
        let mut socket = blocking::accept_with(stream, options, |_| Ok(Accept::new())).unwrap();
        while let Some(message) = socket.recv().unwrap() {
            if message.is_data() {
                socket.send(message).unwrap();
            }
        }
    });
    let (stream, counted) = Counted::new(TcpStream::connect(address).unwrap());
    let mut socket = blocking::connect_over(stream, &request(), Options::new()).unwrap();
    assert_eq!(socket.connection().agreement().deflate(), Some(Deflate::new()));
    let text = "the same words again and again, ".repeat(1000);
    for (compress, most) in [(true, 2000), (false, 3 * text.len())] {
        socket.compress(compress);
        let before = counted.get();
        socket.feed_prepared(&Prepared::text(&text)).unwrap();
        socket.feed_fragment(Kind::Text, text.as_bytes(), true).unwrap();
        socket.flush().unwrap();
        for _ in 0..2 {
            assert_eq!(socket.recv().unwrap().unwrap().as_text(), Some(&*text));
        }
        let written = counted.get() - before;
        assert!(written < most && (compress || written > 2 * text.len()), "{written} bytes");
    }
    socket.forget_context();
    assert!(socket.close(CloseCode::NORMAL, "").unwrap().clean);
    // The server waits for our end.
    drop(socket);
    server.join().unwrap();
}

/// A stream that counts what is written.
struct Counted(TcpStream, std::rc::Rc<std::cell::Cell<usize>>);

impl Counted {
    fn new(stream: TcpStream) -> (Self, std::rc::Rc<std::cell::Cell<usize>>) {
        let count = std::rc::Rc::default();
        (Self(stream, std::rc::Rc::clone(&count)), count)
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.set(self.1.get() + written);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
