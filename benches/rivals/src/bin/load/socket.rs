//! Connections: many at a time, from as many addresses as they need, past the opening handshake.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Opens so many connections; they wait at most [`PATIENCE`] for what they read.
pub(crate) fn open(address: SocketAddrV4, count: usize) -> Result<Vec<TcpStream>, String> {
    open_with(address, count, |_| Ok(()))
}

/// The same, for connections that are to hold little of what nobody reads: a small window, and segments as they are
/// on Ethernet, after whose length Linux sizes the buffers at the other end too.
pub(crate) fn open_small(address: SocketAddrV4, count: usize) -> Result<Vec<TcpStream>, String> {
    open_with(address, count, |socket| {
        set_socket_recv_buffer_size(socket, SMALL_WINDOW)?;
        set_segment(socket, ETHERNET_SEGMENT)
    })
}

fn open_with(
    address: SocketAddrV4,
    count: usize,
    prepare: impl Fn(&OwnedFd) -> rustix::io::Result<()>,
) -> Result<Vec<TcpStream>, String> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let first = all.len();
        for index in first..count.min(first + AT_A_TIME) {
            let stream = dial(address, index, &prepare);
            all.push(stream.map_err(|error| format!("cannot connect: {error}"))?);
        }
        shake_hands(&mut all[first..])?;
    }
    Ok(all)
}

/// As many files as connections need, if the system allows.
pub(crate) fn raise_limit(connections: usize) {
    let needed = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let maximum = maximum.map(|maximum| maximum.max(needed));
    // If it is refused, opening will fail, and say so.
    if setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_err() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

pub(crate) fn dial(
    address: SocketAddrV4,
    index: usize,
    prepare: impl Fn(&OwnedFd) -> rustix::io::Result<()>,
) -> rustix::io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A connection that is dropped is reset, and leaves no port behind that waits.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    set_tcp_nodelay(&socket, true)?;
    prepare(&socket)?;
    // Every address of 127/8 is this machine's, and each has ports of its own.
    let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (index / PER_ADDRESS) as u32);
    if index >= PER_ADDRESS {
        bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).map_err(|_| rustix::io::Errno::INVAL)?;
    }
    Ok(stream)
}

#[expect(unsafe_code, reason = "rustix does not have this option")]
fn set_segment(socket: &OwnedFd, bytes: libc::c_int) -> rustix::io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the pointer is to a live integer of that size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            (&raw const bytes).cast(),
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(rustix::io::Errno::INVAL) }
}

fn shake_hands(streams: &mut [TcpStream]) -> Result<(), String> {
    let mut refused = String::new();
    for stream in &mut *streams {
        stream.write_all(REQUEST).map_err(|error| format!("the handshake cannot be sent: {error}"))?;
    }
    for stream in streams {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut room = [0; 1024];
            match stream.read(&mut room) {
                Ok(0) => return Err("the server ends the connection in the handshake".into()),
                Ok(got) => head.extend(&room[..got]),
                Err(error) => return Err(format!("the server does not answer the handshake: {error}")),
            }
        }
        let head = String::from_utf8_lossy(&head);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            refused = head.into_owned();
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(format!("the server refuses: {refused}")) }
}

/// RFC 6455 §1.3 has the key and what is to be made of it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How many connections open together.
pub(crate) const AT_A_TIME: usize = 16;

const SMALL_WINDOW: usize = 4 << 10;
const ETHERNET_SEGMENT: libc::c_int = 1460;

/// How many connections come from one address; Linux has 28,000 ports for that.
const PER_ADDRESS: usize = 20_000;

/// Files that are no connections.
const OTHER_FILES: u64 = 64;

/// How long nothing may come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
