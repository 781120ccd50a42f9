//! taut in a browser, for `wasm32-unknown-unknown` and without tools that generate code: the engine, fed by JavaScript
//! (`engine`), and a client over the browser's own WebSocket behind the same [`Message`](taut::proto::Message)
//! (`socket`). `browser.js` is the other side of both.

#![cfg(target_arch = "wasm32")]

mod engine;
mod exchange;
mod executor;
mod memory;
mod socket;
