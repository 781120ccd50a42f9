//! How many connections a server takes: in all, from one address, and before their handshake is done.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The door of a server: counts its connections, and refuses those over a limit. Clones are the same door.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use taut::{Admission, AdmissionLimits};
///
/// let admission = Admission::new(AdmissionLimits::new().max_connections(1));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let uri = format!("ws://{}/", listener.local_addr()?);
/// tokio::spawn(async move {
///     while let Ok((stream, address)) = listener.accept().await {
///         // A stream that is dropped is closed.
///         let Ok(mut admitted) = admission.admit(address.ip()) else { continue };
///         tokio::spawn(async move {
///             let mut socket = taut::tokio::accept(stream).await?;
///             admitted.opened();
///             while socket.recv().await?.is_some() {}
///             Ok::<_, taut::Error>(())
///         });
///     }
/// });
///
/// let socket = taut::connect(&uri).await?;
/// assert!(taut::connect(&uri).await.is_err(), "there is one already");
/// # drop(socket);
/// # Ok(()) }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Admission(Arc<Door>);

/// The limits of an [`Admission`]. `usize::MAX` means "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    connections: usize,
    connections_from_one: usize,
    handshakes: usize,
    handshakes_from_one: usize,
}

/// A connection that was let in. Counts until it is dropped.
#[derive(Debug)]
#[must_use = "the connection counts only as long as this is there"]
pub struct Admitted {
    door: Arc<Door>,
    /// None while only a proxy is known.
    from: Option<Address>,
    open: bool,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// [`AdmissionLimits::max_connections`] is reached.
    Connections,
    /// [`AdmissionLimits::max_connections_from_one`] is reached.
    ConnectionsFromOne,
    /// [`AdmissionLimits::max_handshakes`] is reached.
    Handshakes,
    /// [`AdmissionLimits::max_handshakes_from_one`] is reached.
    HandshakesFromOne,
}

#[derive(Debug)]
struct Door {
    limits: AdmissionLimits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: Count,
    /// None of them is zero. Hashed with a secret key, so that nobody can choose addresses that collide.
    by_address: HashMap<Address, Count>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// Those with a handshake under way included.
    connections: usize,
    handshakes: usize,
}

/// What counts as one address: an IPv4 address, or a network of 64 bits of IPv6, of which every subscriber has one
/// (RFC 6177 §2).
type Address = IpAddr;

impl Admission {
    /// A door with these limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self(Arc::new(Door { limits, inside: Mutex::default() }))
    }

    /// Lets a connection in whose handshake is still to come.
    ///
    /// # Errors
    /// The limit that is reached: close the stream, without an answer, which would cost more than the connection.
    pub fn admit(&self, address: IpAddr) -> Result<Admitted, Refused> {
        self.admit_from(Some(counted_as(address)))
    }

    /// As [`admit`](Self::admit), for a connection by way of a trusted proxy, which does not count as one address: until
    /// [`Admitted::came_from`] tells the client's, only the limits on all hold.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_proxied(&self) -> Result<Admitted, Refused> {
        self.admit_from(None)
    }

    fn admit_from(&self, from: Option<Address>) -> Result<Admitted, Refused> {
        let limits = &self.0.limits;
        let mut inside = self.0.inside();
        if inside.all.connections >= limits.connections {
            return Err(Refused::Connections);
        }
        inside.check_one(from, limits.connections_from_one, usize::MAX)?;
        if inside.all.handshakes >= limits.handshakes {
            return Err(Refused::Handshakes);
        }
        inside.check_one(from, usize::MAX, limits.handshakes_from_one)?;
        inside.all.change(Count::ENTERED, true);
        inside.change_one(from, Count::ENTERED, true);
        Ok(Admitted { door: self.0.clone(), from, open: false })
    }

    /// How many connections are in, those included whose handshake is not done.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.inside().all.connections
    }

    /// How many of them have not done their handshake.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.0.inside().all.handshakes
    }
}

impl AdmissionLimits {
    /// The defaults that each method below states.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            connections: usize::MAX,
            connections_from_one: usize::MAX,
            handshakes: 4096,
            handshakes_from_one: 256,
        }
    }

    /// How many connections there may be. Default: no limit; the system has one for open files.
    #[must_use]
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How many of them may come from one IPv4 address, or from one IPv6 network of 64 bits.
    ///
    /// Default: no limit. Behind a proxy all come from its address, and a carrier's translation of addresses puts
    /// thousands of people behind one.
    #[must_use]
    pub const fn max_connections_from_one(mut self, connections: usize) -> Self {
        self.connections_from_one = connections;
        self
    }

    /// How many connections may be in the middle of their handshake.
    ///
    /// Default: 4,096. Each can take [`Options::handshake_timeout`](crate::Options::handshake_timeout) and the memory
    /// of a head, so that silence costs a server at most 64 MiB.
    #[must_use]
    pub const fn max_handshakes(mut self, connections: usize) -> Self {
        self.handshakes = connections;
        self
    }

    /// How many of these may come from one address.
    ///
    /// Default: 256. A handshake takes one exchange, so that a thousand new connections each second over a way of
    /// a quarter of a second fit.
    #[must_use]
    pub const fn max_handshakes_from_one(mut self, connections: usize) -> Self {
        self.handshakes_from_one = connections;
        self
    }
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl Admitted {
    /// Notes that the handshake is done.
    pub fn opened(&mut self) {
        if !core::mem::replace(&mut self.open, true) {
            let mut inside = self.door.inside();
            inside.all.change(Count::HANDSHAKE, false);
            inside.change_one(self.from, Count::HANDSHAKE, false);
        }
    }

    /// Has the connection count as one from this address, which a trusted proxy told, in the place of what it counted
    /// as before.
    ///
    /// # Errors
    /// The limit that is reached for the address: answer, and drop this.
    pub fn came_from(&mut self, address: IpAddr) -> Result<(), Refused> {
        let to = Some(counted_as(address));
        if to == self.from {
            return Ok(());
        }
        let limits = &self.door.limits;
        let mut inside = self.door.inside();
        inside.check_one(to, limits.connections_from_one, usize::MAX)?;
        if !self.open {
            inside.check_one(to, usize::MAX, limits.handshakes_from_one)?;
        }
        let count = if self.open { Count::OPEN } else { Count::ENTERED };
        inside.change_one(self.from, count, false);
        inside.change_one(to, count, true);
        drop(inside);
        self.from = to;
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.opened();
        let mut inside = self.door.inside();
        inside.all.change(Count::OPEN, false);
        inside.change_one(self.from, Count::OPEN, false);
    }
}

impl Door {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing here can panic half way.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn check_one(&self, from: Option<Address>, connections: usize, handshakes: usize) -> Result<(), Refused> {
        let one = from.and_then(|from| self.by_address.get(&from)).copied().unwrap_or_default();
        match from {
            Some(_) if one.connections >= connections => Err(Refused::ConnectionsFromOne),
            Some(_) if one.handshakes >= handshakes => Err(Refused::HandshakesFromOne),
            _ => Ok(()),
        }
    }

    fn change_one(&mut self, from: Option<Address>, by: Count, more: bool) {
        let Some(from) = from else { return };
        let one = self.by_address.entry(from).or_default();
        one.change(by, more);
        if *one == Count::default() {
            self.by_address.remove(&from);
        }
    }
}

impl Count {
    const ENTERED: Self = Self { connections: 1, handshakes: 1 };
    const HANDSHAKE: Self = Self { connections: 0, handshakes: 1 };
    const OPEN: Self = Self { connections: 1, handshakes: 0 };

    const fn change(&mut self, by: Self, more: bool) {
        if more {
            self.connections += by.connections;
            self.handshakes += by.handshakes;
        } else {
            self.connections -= by.connections;
            self.handshakes -= by.handshakes;
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the server has as many connections as it may",
            Self::ConnectionsFromOne => "the address has as many connections as it may",
            Self::Handshakes => "as many connections as may are in the middle of their handshake",
            Self::HandshakesFromOne => {
                "the address has as many connections as it may in the middle of a handshake"
            }
        })
    }
}

impl core::error::Error for Refused {}

fn counted_as(address: IpAddr) -> Address {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));

    fn is_empty(admission: &Admission) -> bool {
        let inside = admission.0.inside();
        inside.all == Count::default() && inside.by_address.is_empty()
    }

    #[test]
    fn each_limit_refuses_and_names_itself() {
        let limits = AdmissionLimits::new()
            .max_connections(5)
            .max_connections_from_one(4)
            .max_handshakes(3)
            .max_handshakes_from_one(2);
        let admission = Admission::new(limits);
        let mut admitted = [ONE, ONE].map(|address| admission.admit(address).unwrap());
        assert_eq!(admission.admit(ONE).unwrap_err(), Refused::HandshakesFromOne);
        let other = admission.admit(TWO).unwrap();
        assert_eq!(admission.admit(TWO).unwrap_err(), Refused::Handshakes);
        admitted[0].opened();
        admitted[0].opened();
        admitted[1].opened();
        assert_eq!((admission.connections(), admission.handshakes()), (3, 1));
        let mut more = [ONE, ONE].map(|address| admission.admit(address).unwrap());
        more[0].opened();
        more[1].opened();
        assert_eq!(admission.admit(TWO).unwrap_err(), Refused::Connections);
        drop(other);
        assert_eq!(admission.admit(ONE).unwrap_err(), Refused::ConnectionsFromOne);
        drop((admitted, more));
        assert!(is_empty(&admission), "{admission:?}");
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_address() {
        let admission = Admission::new(AdmissionLimits::new().max_connections_from_one(1));
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let _first = admit("2001:db8:0:1::1").unwrap();
        assert_eq!(admit("2001:db8:0:1:ffff::2").unwrap_err(), Refused::ConnectionsFromOne);
        let _second = admit("2001:db8:0:2::1").unwrap();
        // An IPv4 address, however it is written.
        let _third = admit("192.0.2.1").unwrap();
        assert_eq!(admit("::ffff:192.0.2.1").unwrap_err(), Refused::ConnectionsFromOne);
    }

    #[test]
    fn who_comes_through_a_proxy_counts_as_whom_it_tells() {
        let admission = Admission::new(
            AdmissionLimits::new().max_connections(4).max_connections_from_one(1).max_handshakes_from_one(1),
        );
        let [mut one, mut other, mut third] = [(); 3].map(|()| admission.admit_proxied().unwrap());
        assert_eq!(one.came_from(ONE), Ok(()));
        assert_eq!(one.came_from(ONE), Ok(()), "as it counts already");
        assert_eq!(other.came_from(ONE), Err(Refused::ConnectionsFromOne));
        assert_eq!(admission.admit(ONE).unwrap_err(), Refused::ConnectionsFromOne);
        one.opened();
        assert_eq!(one.came_from(TWO), Ok(()));
        assert_eq!((admission.connections(), admission.handshakes()), (3, 2));
        assert_eq!(other.came_from(ONE), Ok(()), "it is free again");
        let fourth = admission.admit_proxied().unwrap();
        assert_eq!(admission.admit_proxied().unwrap_err(), Refused::Connections);
        third.opened();
        drop((one, other, third, fourth));
        assert!(is_empty(&admission));
        let admission = Admission::new(AdmissionLimits::new().max_handshakes_from_one(1));
        let mut open = admission.admit_proxied().unwrap();
        let mut late = admission.admit_proxied().unwrap();
        open.opened();
        let amid = admission.admit(ONE).unwrap();
        assert_eq!(open.came_from(ONE), Ok(()));
        assert_eq!(late.came_from(ONE), Err(Refused::HandshakesFromOne));
        drop((open, late, amid));
        assert!(is_empty(&admission));
    }

    #[test]
    fn threads_leave_nothing_behind() {
        let admission = Admission::new(AdmissionLimits::new().max_handshakes(8));
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let admission = admission.clone();
                scope.spawn(move || {
                    for round in 0..1000_u16 {
                        let address = [10, 0, thread, (round % 7) as u8].into();
                        let Ok(mut admitted) = admission.admit(address) else { continue };
                        if round % 3 == 0 {
                            admitted.opened();
                        }
                    }
                });
            }
        });
        assert!(is_empty(&admission), "{admission:?}");
    }
}
