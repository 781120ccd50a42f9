//! One buffer through which bytes go between JavaScript and Rust, and random ones from the browser.

use std::cell::RefCell;

#[link(wasm_import_module = "browser")]
unsafe extern "C" {
    /// Fills that memory from `crypto.getRandomValues`.
    safe fn random(at: *mut u8, length: usize);
}

/// Makes the buffer so long, and tells where it is.
#[unsafe(no_mangle)]
extern "C" fn buffer(length: usize) -> *mut u8 {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(length, 0);
        buffer.as_mut_ptr()
    })
}

/// What JavaScript has put there.
pub(crate) fn taken() -> Vec<u8> {
    BUFFER.take()
}

/// Puts bytes there for JavaScript; gives how many.
pub(crate) fn given(bytes: Vec<u8>) -> usize {
    let length = bytes.len();
    BUFFER.set(bytes);
    length
}

/// A masking key, or a nonce.
pub(crate) fn random_bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    random(bytes.as_mut_ptr(), COUNT);
    bytes
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
