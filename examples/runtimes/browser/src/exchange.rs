//! What the page does with a [`Socket`]: sends messages to an echo server, and compares what comes back.

use taut::proto::{CloseCode, Message};

use crate::executor::spawn;
use crate::memory::taken;
use crate::socket::{Error, Socket};

#[link(wasm_import_module = "browser")]
unsafe extern "C" {
    /// Tells the page how it went: nothing if well.
    safe fn exchanged(text: *const u8, length: usize);
}

/// Begins with the server whose URL is in the buffer.
#[unsafe(no_mangle)]
extern "C" fn exchange() {
    let url = String::from_utf8_lossy(&taken()).into_owned();
    spawn(async move {
        let told = echoes(&url).await.err().unwrap_or_default();
        exchanged(told.as_ptr(), told.len());
    });
}

async fn echoes(url: &str) -> Result<(), String> {
    let mut socket = Socket::connect(url).await.map_err(told)?;
    let messages = [
        Message::text("hello"),
        Message::text("¿qué tal?"),
        Message::binary(vec![7; 100_000]),
        Message::binary(""),
    ];
    for message in &messages {
        socket.send(message.clone()).map_err(told)?;
    }
    for message in &messages {
        let echo = socket.recv().await.map_err(told)?;
        if echo.as_ref() != Some(message) {
            return Err(format!("sent {message:.40?}, got {echo:.40?}"));
        }
    }
    if !matches!(socket.send(Message::Ping(Default::default())), Err(Error::Control)) {
        return Err("a ping was sent".into());
    }
    if socket.close(CloseCode::AWAY, "").await.is_ok() {
        return Err("closed with a code that a browser refuses".into());
    }
    let status = socket.close(CloseCode::NORMAL, "done").await.map_err(told)?;
    if (status.code, &*status.reason, status.clean) != (1000, "", true) {
        return Err(format!("closed with {status:?}"));
    }
    match (socket.recv().await, socket.send("late")) {
        (Ok(None), Err(Error::NotTaken(Message::Text(text)))) if text == "late" => {}
        other => return Err(format!("after the end there was {other:?}")),
    }
    match Socket::connect("ws://127.0.0.1:1/").await {
        Err(Error::Lost) => Ok(()),
        _ => Err("connected to nobody".into()),
    }
}

fn told(error: Error) -> String {
    error.to_string()
}
