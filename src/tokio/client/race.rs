//! Happy eyeballs (RFC 8305): addresses are tried one after the other, each a little after the one before, and the
//! first that answers wins.

#![forbid(unsafe_code)]

use alloc::format;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::io;

use ::tokio::time::{sleep, timeout};

use super::network::Dialing;

/// How addresses are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempts {
    /// How long the next address waits for an answer of those before it.
    pub(super) delay: Duration,
    /// How long one attempt may take.
    pub(super) timeout: Duration,
}

impl Attempts {
    pub(super) const fn new() -> Self {
        // RFC 8305 §8: "Connection Attempt Delay [...] The recommended value is 250 milliseconds."
        Self { delay: Duration::from_millis(250), timeout: Duration::from_secs(5) }
    }

    /// The first stream that `dial` gets; else what became of each address.
    pub(super) async fn race<'a, T>(
        self,
        addresses: Vec<SocketAddr>,
        mut dial: impl FnMut(SocketAddr) -> Dialing<'a, T>,
    ) -> Result<T, Vec<(SocketAddr, io::Error)>> {
        let mut waiting = interleaved(addresses).into_iter();
        let mut running: Vec<(SocketAddr, Dialing<'a, T>)> = Vec::new();
        let mut failed = Vec::new();
        loop {
            if let Some(address) = waiting.next() {
                running.push((address, dial(address)));
            } else if running.is_empty() {
                return Err(failed);
            }
            // Until one of them ends, or it is the next one's turn.
            let more = waiting.len() > 0;
            let mut turn =
                pin!(async { if more { sleep(self.delay).await } else { core::future::pending().await } });
            let ended = poll_fn(|cx| {
                for index in 0..running.len() {
                    if let Poll::Ready(ended) = running[index].1.as_mut().poll(cx) {
                        return Poll::Ready(Some((running.swap_remove(index).0, ended)));
                    }
                }
                turn.as_mut().poll(cx).map(|()| None)
            });
            match ended.await {
                Some((_, Ok(stream))) => return Ok(stream),
                // The next one need not wait for one that failed.
                Some((address, Err(error))) => failed.push((address, error)),
                None => {}
            }
        }
    }

    /// One attempt within its time.
    pub(super) async fn in_time<T>(
        self,
        dialing: Pin<&mut (dyn Future<Output = io::Result<T>> + Send)>,
    ) -> io::Result<T> {
        timeout(self.timeout, dialing).await.unwrap_or_else(|_| {
            let waited = format!("no answer within {:?}", self.timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, waited))
        })
    }
}

/// The families in turn, beginning with that of the first address (RFC 8305 §4); each address once, and no more than
/// [`MOST_ADDRESSES`].
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() == first { &mut one } else { &mut other };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (None, None) => break,
            pair => mixed.extend([pair.0, pair.1].into_iter().flatten()),
        }
    }
    mixed.truncate(MOST_ADDRESSES);
    mixed
}

/// Far more than can be tried in time; a name may have thousands.
const MOST_ADDRESSES: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec;

    use super::*;

    #[test]
    fn families_take_turns() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&[], &[]),
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"],
            ),
            (&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]),
            (&["1.1.1.1:1", "1.1.1.1:1"], &["1.1.1.1:1"]),
        ];
        for (given, expected) in cases {
            let given: Vec<SocketAddr> = given.iter().map(|address| address.parse().unwrap()).collect();
            let got: Vec<String> = interleaved(given).iter().map(ToString::to_string).collect();
            assert_eq!(got, expected);
        }
        assert_eq!(interleaved(vec![]), []);
        let many = (1..=9999).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        assert_eq!(interleaved(many).len(), 64);
    }
}
