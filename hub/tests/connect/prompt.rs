//! The prompt, by a terminal that `script` makes.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::programs::{End, PATIENCE, Serving, scripted, taut};
use crate::support::{Scratch, hub};

/// A program on a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// What was shown, and not waited for.
    shown: String,
}

impl Terminal {
    /// `taut connect`, and `stty` after it.
    fn start(url: &str, arguments: &str) -> Self {
        Self::start_with(url, arguments, "1")
    }

    fn start_with(url: &str, arguments: &str, no_color: &str) -> Self {
        // Only for its environment.
        let plain = taut(&[]);
        let mut command = tokio::process::Command::new("script");
        let program = env!("CARGO_BIN_EXE_taut");
        let line = format!("{program} connect {url} {arguments}; echo ended $?; stty -a");
        command
            .args(["-qec", &line, "/dev/null"])
            .kill_on_drop(true)
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .env("SHELL", "/bin/sh");
        for (name, _) in plain.as_std().get_envs() {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script (Debian: bsdutils) is installed");
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, screen, shown: String::new() }
    }

    async fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Waits until this is shown, and forgets what came up to it.
    async fn see(&mut self, text: &str) {
        let seen = async {
            while !self.shown.contains(text) {
                let mut piece = [0; 4096];
                let read = self.screen.read(&mut piece).await.unwrap();
                assert!(read > 0, "the end instead of {text:?}: {:?}", self.shown);
                self.shown += &String::from_utf8_lossy(&piece[..read]);
            }
        };
        if timeout(PATIENCE, seen).await.is_err() {
            panic!("no {text:?} comes: {:?}", self.shown);
        }
        let at = self.shown.find(text).unwrap() + text.len();
        self.shown.drain(..at);
    }

    async fn end(mut self, code: u8) {
        self.see(&format!("ended {code}")).await;
        // The terminal reads lines again, and shows what is typed.
        self.see(" icanon").await;
        self.see(" echo ").await;
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn commands_completion_and_history() {
    let (echo, history, file) = (Serving::echo(&[]).await, Scratch::new(b""), Scratch::new(b"\x00\x01"));
    let arguments = format!("--history {}", history.path());
    let mut terminal = Terminal::start(&echo.url, &arguments);
    terminal.see("> ").await;
    terminal.press("hello\r").await;
    terminal.see("< hello").await;
    // Completed, whether by a command or by a file.
    terminal.press("/pi\tabc\r").await;
    terminal.see("pong \"abc\" after ").await;
    let (folder, _) = file.path().rsplit_once('-').unwrap();
    terminal.press(&format!("/file {folder}\t")).await;
    terminal.see(folder).await;
    terminal.press("\x15").await;
    terminal.press(&format!("/file {}\r", file.path())).await;
    terminal.see("< 0001").await;
    terminal.press("/file /nowhere/file\r").await;
    terminal.see("/nowhere/file: No such file").await;
    terminal.press("/bin 00ff\r").await;
    terminal.see("< 00ff").await;
    terminal.press("//slash\r").await;
    terminal.see("< /slash").await;
    terminal.press("/nothing\r").await;
    terminal.see("there is no /nothing").await;
    terminal.press("/help\r").await;
    terminal.see("/close [CODE [REASON]]").await;
    terminal.press("/stats\r").await;
    terminal.see("sent     4 messages of 15 bytes").await;
    terminal.press("/frames on\r").await;
    terminal.see("> ").await;
    terminal.press("framed\r").await;
    terminal.see(">> text fin masked 6+6 \"framed\"").await;
    // Typed faster than the prompt comes.
    terminal.press("/frames off\rone\rtwo\rthree\r").await;
    terminal.see("< three").await;
    // Some lines up.
    terminal.press(&("\x1b[A".repeat(3) + "\r")).await;
    terminal.see("< one").await;
    terminal.press("/close 4000 bye\r").await;
    terminal.end(0).await;

    // Another conversation, the same history; Ctrl-D closes.
    let mut terminal = Terminal::start(&echo.url, &arguments);
    terminal.see("> ").await;
    terminal.press("\x1b[A").await;
    terminal.see("/close 4000 bye").await;
    terminal.press("\x15\x04").await;
    terminal.end(0).await;
}

#[tokio::test]
async fn the_terminal_is_as_before_when_the_server_goes() {
    for (end, code, said) in [
        (End::Close("bye\x1b[2J", 4000, "enough"), 6, "4000: enough"),
        (End::Close("", 1000, "done"), 0, "1000: done"),
        (End::Vanish, 8, "1006"),
    ] {
        let mut terminal = Terminal::start(&scripted([end]).await, "--history /dev/null");
        if let End::Close("bye\x1b[2J", ..) = end {
            // What the server says does nothing to the terminal.
            terminal.see("< bye\\u{1b}[2J").await;
        }
        terminal.see(said).await;
        terminal.end(code).await;
    }
}

#[tokio::test]
async fn neither_waits_for_the_other_when_much_is_typed() {
    // What is shown waits for the prompt, and what is typed for the connection: both at once, more than either holds.
    let echo = Serving::echo(&[]).await;
    let mut terminal = Terminal::start(&echo.url, "--history /dev/null --frames --verbose");
    terminal.see("> ").await;
    for number in 0..400 {
        terminal.press(&format!("line {number} of many\r")).await;
    }
    terminal.see("< line 399 of many").await;
    terminal.press("\x04").await;
    terminal.end(0).await;
}

#[tokio::test]
async fn without_a_connection_it_can_be_ended() {
    // Between two attempts, and amid one.
    for (end, said) in [(End::Close("", 1012, ""), "again in"), (End::Silent, "> ")] {
        let mut terminal = Terminal::start(&scripted([end]).await, "--history /dev/null --reconnect");
        terminal.see(said).await;
        terminal.press("/quit\r").await;
        terminal.end(0).await;
    }
}

#[tokio::test]
async fn colours_unless_they_are_unwanted() {
    let url = scripted([End::Close("hello", 1000, "")]).await;
    let mut terminal = Terminal::start_with(&url, "--history /dev/null", "");
    terminal.see("\x1b[32m<\x1b[0m hello").await;
    terminal.see("\x1b[2mthe server closed").await;
    terminal.end(0).await;
}

#[tokio::test]
async fn a_conversation_with_the_hub() {
    let hub = hub(&[("auth.development", "true")]).await;
    let url = format!("ws://{}/ws", hub.address().unwrap());
    let mut terminal = Terminal::start(&url, "--username ana --history /dev/null");
    terminal.see("system_message").await;
    terminal.press("/sub room\r").await;
    terminal.see("\"recovered\":true").await;
    terminal.press("/text #room hello there\r").await;
    terminal.see("\"hello there\"").await;
    terminal.press("/who room\r").await;
    terminal.see("\"message_type\":\"presence\"").await;
    terminal.press("/notification @ana look\r").await;
    terminal.see("\"message_type\":\"notification\"").await;
    terminal.press("/json {\"message_type\":\"ping\",\"data\":5}\r").await;
    terminal.see("\"message_type\":\"pong\"").await;
    terminal.press("/history room 1\r").await;
    terminal.see("\"message_type\":\"history\"").await;
    terminal.press("/unsub room\r").await;
    terminal.see("\"message_type\":\"leave\"").await;
    terminal.press("/quit\r").await;
    terminal.end(0).await;
}
