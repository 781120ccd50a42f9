//! Both ends on the network of the program, on the machine that builds.

use echo_embedded::{Error, ask, pair, run, serve};
use embassy_futures::block_on;
use embassy_futures::join::join;
use embedded_io_async::{Read, Write};

#[test]
fn all_messages_come_back() {
    assert_eq!(run().unwrap(), 4);
}

#[test]
fn the_cuts_between_reads_do_not_matter() {
    for room in 1..200 {
        let (mut client, mut server) = pair(room);
        let serving = async {
            let served = serve(&mut server).await;
            drop(server);
            served
        };
        let asking = ask(&mut client, [7; 16], || [1, 2, 3, 4], &["one", "two", "three"]);
        let (served, asked) = block_on(join(serving, asking));
        served.unwrap();
        asked.unwrap();
    }
}

#[test]
fn who_asks_for_something_else_is_told() {
    let (mut client, mut server) = pair(1000);
    let served = block_on(async {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        serve(&mut server).await
    });
    assert!(matches!(served, Err(Error::Handshake(_))), "{served:?}");
    drop(server);
    let mut answer = [0; 1000];
    let count = block_on(client.read(&mut answer)).unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 426 "));
}

#[test]
fn who_breaks_the_protocol_is_told_and_an_end_without_close_is_known() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // A frame without a mask; nothing.
    for frame in [&b"\x81\x01a"[..], b""] {
        let (mut client, mut server) = pair(1000);
        block_on(client.write_all(&[request.as_bytes(), frame].concat())).unwrap();
        let serving = async {
            let served = serve(&mut server).await;
            drop(server);
            served
        };
        let (served, answer) = block_on(join(serving, async {
            let (mut answer, mut buffer) = (Vec::new(), [0; 1000]);
            loop {
                let count = client.read(&mut buffer).await.unwrap();
                answer.extend_from_slice(&buffer[..count]);
                if count == 0 || frame.is_empty() {
                    drop(client);
                    return answer;
                }
            }
        }));
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        if frame.is_empty() {
            assert!(matches!(served, Err(Error::Lost)), "{served:?}");
        } else {
            assert!(matches!(served, Err(Error::Protocol(_))), "{served:?}");
            // A Close with 1002, and a reason.
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
            assert_eq!((answer[head], &answer[head + 2..head + 4]), (0x88, &1002_u16.to_be_bytes()[..]));
        }
    }
}
