//! permessage-deflate between two engines.

use bytes::Buf;
use taut::proto::handshake::{Accept, ClientHandshake, ClientRequest, ServerHandshake};
use taut::proto::{Config, Connection, Deflate, Event, Message};

fn pair(offer: Deflate, most: Deflate, config: Config) -> (Connection, Connection) {
    let request = ClientRequest::new("a", "/").unwrap().deflate(offer);
    let mut client = ClientHandshake::new(&request, [0; 16]);
    let mut server = ServerHandshake::new();
    while let Some(piece) = client.output().pop() {
        server.input().extend_from_slice(&piece);
    }
    let pending = server.poll().unwrap().unwrap();
    let mut server = pending.accept(Accept::new().deflate(most), config).unwrap();
    while let Some(piece) = server.output().pop() {
        client.input().extend_from_slice(&piece);
    }
    let client = client.poll().unwrap().unwrap().into_connection(config, || [1, 2, 3, 4]);
    assert_eq!(client.agreement(), server.agreement());
    (client, server)
}

fn carry(from: &mut Connection, to: &mut Connection) -> usize {
    let mut count = 0;
    while from.output().has_remaining() {
        let piece = from.output().pop().unwrap();
        count += piece.len();
        to.feed(&piece);
    }
    count
}

#[test]
fn echo() {
    for (offer, most) in [
        (Deflate::new(), Deflate::new()),
        (Deflate::new(), Deflate::no_context_takeover()),
        (Deflate::no_context_takeover(), Deflate::new()),
    ] {
        let (mut client, mut server) = pair(offer, most, Config::new());
        for n in 0..20 {
            let text = format!("{n}: {}", "the quick brown fox jumps over the lazy dog. ".repeat(n * 20));
            client.send_text(&text).unwrap();
            let wire = carry(&mut client, &mut server);
            let Some(Event::Message(message)) = server.next_event().unwrap() else { panic!("{n}") };
            assert_eq!(message.as_text(), Some(&*text));
            println!("{n} {} {wire}", text.len());
            server.send(message).unwrap();
            carry(&mut server, &mut client);
            assert_eq!(client.next_event().unwrap(), Some(Event::Message(Message::text(text))));
        }
    }
}
