//! Any bytes as compressed messages, cut anywhere, come to a connection: see [`taut_fuzz::deflate`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::deflate::{check, input::Input};

fuzz_target!(|input: Input| check(&input));
