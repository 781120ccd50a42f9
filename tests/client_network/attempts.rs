//! Happy eyeballs, deadlines, and one connection to a host at a time.

use std::time::Duration;

use taut::tokio::{Client, Options, Proxy};
use taut::{Deadline, Error, ErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::futures::ends;
use super::network::{AT_ONCE, Arrivals, Fate, World, agree, is_closed, read_head};

const SIX: &str = "2001:db8::1";
const FOUR: &str = "192.0.2.1";

/// Agrees to every request, and tells at which address it was; connections stay open.
async fn serve(mut arrivals: Arrivals) {
    let mut open = Vec::new();
    loop {
        let (_, mut stream) = arrivals.next().await;
        let head = read_head(&mut stream).await;
        agree(&mut stream, &head, "").await;
        open.push(stream);
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The fates of some addresses, after how long there is a connection, and when which address was dialled.
type Case<'a> = (&'a [(&'a str, Fate)], u128, &'a [(u128, &'a str)]);

#[tokio::test(start_paused = true)]
async fn the_first_address_that_answers_wins() {
    let cases: &[Case<'_>] = &[
        // A broken IPv6 costs the delay, and no more.
        (&[(SIX, Fate::Silent), (FOUR, AT_ONCE)], 250, &[(0, SIX), (250, FOUR)]),
        (&[(FOUR, Fate::Silent), (SIX, AT_ONCE)], 250, &[(0, FOUR), (250, SIX)]),
        // One that answers in time is alone.
        (&[(SIX, Fate::Answers(ms(249))), (FOUR, AT_ONCE)], 249, &[(0, SIX)]),
        // One that is slow may still win.
        (&[(SIX, Fate::Answers(ms(400))), (FOUR, Fate::Answers(ms(200)))], 400, &[(0, SIX), (250, FOUR)]),
        (&[(SIX, Fate::Answers(ms(500))), (FOUR, Fate::Answers(ms(200)))], 450, &[(0, SIX), (250, FOUR)]),
        // A failure is not waited for.
        (&[(SIX, Fate::Refuses(ms(0))), (FOUR, AT_ONCE)], 0, &[(0, SIX), (0, FOUR)]),
        (&[(SIX, Fate::Refuses(ms(100))), (FOUR, AT_ONCE)], 100, &[(0, SIX), (100, FOUR)]),
        // Families take turns, and all silent ones stay under way.
        (
            &[(SIX, Fate::Silent), ("2001:db8::2", AT_ONCE), (FOUR, Fate::Silent)],
            500,
            &[(0, SIX), (250, FOUR), (500, "2001:db8::2")],
        ),
    ];
    for &(fates, time, dialled) in cases {
        let list: Vec<&str> = fates.iter().map(|(address, _)| *address).collect();
        let (mut world, arrivals) = World::new(&[("host.test", &list)]);
        for (address, fate) in fates {
            world = world.fate(address, *fate);
        }
        let server = tokio::spawn(serve(arrivals));
        let start = Instant::now();
        let connected = ends(world.client().connect("ws://host.test/")).await;
        connected.unwrap_or_else(|error| panic!("{fates:?}: {error}"));
        assert_eq!(start.elapsed().as_millis(), time, "{fates:?}");
        let expected: Vec<_> = dialled.iter().map(|&(when, address)| (when, address.to_string())).collect();
        assert_eq!(world.dialled(), expected, "{fates:?}");
        // Those that lost are gone.
        let silent =
            dialled.len() - 1 - fates.iter().filter(|(_, fate)| matches!(fate, Fate::Refuses(_))).count();
        assert_eq!(world.dropped().len(), silent, "{fates:?}");
        server.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn each_address_has_its_time() {
    let (world, _arrivals) = World::new(&[("host.test", &[SIX, FOUR])]);
    let world = world.fate(SIX, Fate::Silent).fate(FOUR, Fate::Silent);
    let start = Instant::now();
    let error = ends(world.client().connect("ws://host.test:81/")).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(5250));
    let Error::Connect(error) = &error else { panic!("{error:?}") };
    let attempts: Vec<_> = error.attempts().iter().map(|(at, why)| (at.to_string(), why.kind())).collect();
    let timed_out = std::io::ErrorKind::TimedOut;
    assert_eq!(attempts, [("[2001:db8::1]:81".into(), timed_out), ("192.0.2.1:81".into(), timed_out)]);
    assert_eq!(
        error.to_string(),
        "host.test cannot be reached: [2001:db8::1]:81: no answer within 5s; 192.0.2.1:81: no answer within 5s"
    );
    assert!(std::error::Error::source(error).is_some() && !error.is_resolve());

    let client = world.client().attempt_delay(ms(100)).attempt_timeout(ms(300));
    let start = Instant::now();
    let error = ends(client.connect("ws://host.test/")).await.unwrap_err();
    assert_eq!(
        (start.elapsed(), error.kind(), error.is_retryable()),
        (ms(400), ErrorKind::Unreachable, true)
    );
}

/// The step in which the total deadline passes; it is the same for all.
#[tokio::test(start_paused = true)]
async fn all_steps_have_one_deadline() {
    let timed_out = async |client: Client, uri: &str| {
        let start = Instant::now();
        let error = ends(client.connect(uri)).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
        match error {
            Error::Timeout(deadline) => deadline,
            other => panic!("{other:?}"),
        }
    };
    let names: &[(&str, &[&str])] = &[("host.test", &[SIX, FOUR]), ("proxy.test", &["192.0.2.9"])];

    let (world, _arrivals) = World::new(names);
    let slow = world.clone().resolving(Duration::from_secs(11)).client();
    assert_eq!(timed_out(slow, "ws://host.test").await, Deadline::Connect);
    let silent = world.clone().fate(SIX, Fate::Silent).fate(FOUR, Fate::Silent);
    let silent = silent.client().attempt_timeout(Duration::MAX);
    assert_eq!(timed_out(silent, "ws://host.test").await, Deadline::Connect);
    // What the steps before took is gone: the deadline is for all of them.
    let late = world.clone().resolving(Duration::from_secs(9)).client();
    assert_eq!(timed_out(late, "ws://host.test").await, Deadline::Handshake);
    for proxy in ["http://proxy.test", "socks5h://proxy.test", "socks5://proxy.test"] {
        let client = world.client().proxy(Proxy::parse(proxy).unwrap());
        assert_eq!(timed_out(client, "ws://host.test").await, Deadline::Proxy, "{proxy}");
    }
    #[cfg(feature = "rustls-ring")]
    {
        use taut::tokio::Tls;
        let client = world.client().tls(Tls::new().dangerous_accept_any_certificate()).unwrap();
        assert_eq!(timed_out(client.clone(), "wss://host.test").await, Deadline::Tls);
        let client = client.proxy(Proxy::parse("https://proxy.test").unwrap());
        assert_eq!(timed_out(client, "ws://host.test").await, Deadline::Tls);
    }
    // It can be shorter.
    let client = world.client().options(Options::new().handshake_timeout(ms(7)));
    let start = Instant::now();
    let error = ends(client.connect("ws://host.test")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
    assert_eq!(start.elapsed(), ms(7));
}

/// Redirects do not begin anew.
#[tokio::test(start_paused = true)]
async fn a_circle_of_slow_redirects_ends_at_the_deadline() {
    let (world, mut arrivals) = World::new(&[("host.test", &[FOUR])]);
    let server = tokio::spawn(async move {
        loop {
            let (_, mut stream) = arrivals.next().await;
            read_head(&mut stream).await;
            sleep(Duration::from_secs(3)).await;
            let answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let start = Instant::now();
    let error = ends(world.client().max_redirects(usize::MAX).connect("ws://host.test")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Deadline::Handshake)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn names_that_lead_nowhere() {
    let (world, _arrivals) = World::new(&[("empty.test", &[])]);
    for (uri, resolve) in [("ws://unknown.test", true), ("ws://empty.test", false)] {
        let error = ends(world.client().connect(uri)).await.unwrap_err();
        let Error::Connect(found) = &error else { panic!("{error:?}") };
        assert_eq!((found.is_resolve(), found.attempts().len(), found.host()), (resolve, 0, &uri[5..]));
        assert!(
            error.to_string().starts_with(&format!("no address is known for {}: ", &uri[5..])),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_are_not_resolved() {
    let (world, arrivals) = World::new(&[]);
    let server = tokio::spawn(serve(arrivals));
    for uri in ["ws://192.0.2.7:81/", "ws://[2001:db8::7]:82/"] {
        ends(world.client().connect(uri)).await.unwrap();
    }
    assert_eq!(world.resolved(), [""; 0]);
    assert_eq!(world.dialled(), [(0, "192.0.2.7".into()), (0, "2001:db8::7".into())]);
    server.abort();
}

/// RFC 6455 §4.1, item 2: by address, "even if the remote host is known by another name".
#[tokio::test(start_paused = true)]
async fn one_connection_to_an_address_at_a_time() {
    let names: &[(&str, &[&str])] = &[("one.test", &[FOUR]), ("two.test", &[FOUR]), ("three.test", &[SIX])];
    let (world, mut arrivals) = World::new(names);
    let client = world.client();
    let connect = |client: &Client, uri: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.connect(uri).await })
    };
    let first = connect(&client, "ws://one.test/first");
    let (_, mut server) = arrivals.next().await;
    let head = read_head(&mut server).await;
    let second = connect(&client, "ws://two.test/second");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.dialled().len(), 1, "the second waits for the first");
    // Another address and another port do not.
    let others = [connect(&client, "ws://three.test/"), connect(&client, "ws://one.test:81/")];
    sleep(ms(1)).await;
    assert_eq!(world.dialled().len(), 3);
    for other in others {
        let (_, mut server) = arrivals.next().await;
        let head = read_head(&mut server).await;
        agree(&mut server, &head, "").await;
        other.await.unwrap().unwrap();
    }
    agree(&mut server, &head, "").await;
    let _open = first.await.unwrap().unwrap();
    // An open connection is in nobody's way.
    let (_, mut server) = arrivals.next().await;
    assert!(read_head(&mut server).await.starts_with("GET /second "));
    let third = connect(&client, "ws://one.test/third");
    sleep(ms(1)).await;
    assert_eq!(world.dialled().len(), 4);
    // One that fails, or is dropped, makes way too.
    drop(server);
    assert!(second.await.unwrap().is_err());
    let (_, mut server) = arrivals.next().await;
    assert!(read_head(&mut server).await.starts_with("GET /third "));
    let fourth = connect(&client, "ws://one.test/fourth");
    sleep(ms(1)).await;
    third.abort();
    assert!(is_closed(&mut server).await);
    let (_, mut server) = arrivals.next().await;
    assert!(read_head(&mut server).await.starts_with("GET /fourth "));
    // Who waits has no more time than others.
    let start = Instant::now();
    let fifth = ends(connect(&client, "ws://one.test/fifth")).await.unwrap();
    assert!(matches!(fifth, Err(Error::Timeout(Deadline::Handshake | Deadline::Connect))), "{fifth:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    fourth.abort();
}

#[tokio::test(start_paused = true)]
async fn many_connections_at_a_time_if_asked_for() {
    let (world, arrivals) = World::new(&[("host.test", &[FOUR])]);
    let client = world.client().allow_simultaneous(true);
    let connecting: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.connect("ws://host.test").await })
        })
        .collect();
    sleep(ms(1)).await;
    assert_eq!(world.dialled().len(), 5);
    let server = tokio::spawn(serve(arrivals));
    for connected in connecting {
        ends(connected).await.unwrap().unwrap();
    }
    server.abort();
}

/// Behind a proxy that resolves names each name is a host of its own; the proxy is none.
#[tokio::test(start_paused = true)]
async fn the_proxy_is_not_the_host() {
    let (world, mut arrivals) = World::new(&[("proxy.test", &["192.0.2.9"])]);
    let client = world.client().proxy(Proxy::parse("http://proxy.test:3128").unwrap());
    let connect = |uri: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.connect(uri).await })
    };
    let connecting = [connect("ws://one.test"), connect("ws://two.test"), connect("ws://one.test")];
    sleep(ms(1)).await;
    assert_eq!(world.dialled().len(), 2);
    let mut hosts =
        [read_head(&mut arrivals.next().await.1).await, read_head(&mut arrivals.next().await.1).await];
    hosts.sort();
    assert!(hosts[0].starts_with("CONNECT one.test:80 ") && hosts[1].starts_with("CONNECT two.test:80 "));
    for connecting in connecting {
        connecting.abort();
    }
}
