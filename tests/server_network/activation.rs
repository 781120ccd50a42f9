//! Sockets that are there when the program starts: it is this one, started again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use taut::tokio::{accept, activated};

use super::REQUEST;

/// A program with the first sockets of [`sh`] at their places.
fn start(script: &str, sockets: [OwnedFd; 2]) -> Child {
    let [first, second] = sockets;
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "activation::serves_what_it_was_given", "--ignored"])
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second))
        .spawn()
        .unwrap()
}

/// What `exec` does of it, as systemd would.
const SYSTEMD: &str = "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
/// For another process than this.
const FOR_OTHERS: &str =
    "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=1 LISTEN_FDS=2; exec \"$@\"";

#[test]
fn listeners_are_taken_over() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("activation");
    let _ = std::fs::remove_file(&path);
    let (unix, tcp) = (UnixListener::bind(&path).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = tcp.local_addr().unwrap();
    let mut program = start(SYSTEMD, [unix.into(), tcp.into()]);
    // The queue takes them before the program does.
    let answer = |stream: &mut dyn ReadWrite| {
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    };
    answer(&mut UnixStream::connect(&path).unwrap());
    answer(&mut TcpStream::connect(address).unwrap());
    assert!(program.wait().unwrap().success());
}

#[test]
fn those_of_others_are_left_alone() {
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut program = start(FOR_OTHERS, [one.into(), two.into()]);
    assert!(!program.wait().unwrap().success(), "it finds none");
}

#[tokio::test]
async fn none_are_none() {
    let found = activated().unwrap();
    assert!(found.tcp.is_empty() && found.unix.is_empty(), "{found:?}");
}

/// What the other test starts: serves one client on each of its two sockets.
#[tokio::test]
#[ignore = "a test of this file starts it"]
async fn serves_what_it_was_given() {
    let found = activated().unwrap();
    let ([tcp], [unix]) = (&found.tcp[..], &found.unix[..]) else { panic!("{found:?}") };
    accept(unix.accept().await.unwrap().0).await.unwrap();
    accept(tcp.accept().await.unwrap().0).await.unwrap();
    let again = activated().unwrap();
    assert!(again.tcp.is_empty() && again.unix.is_empty(), "{again:?}");
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}
