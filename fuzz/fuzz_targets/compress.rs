//! Any messages, sent in any way, go from one connection to another: see [`taut_fuzz::compress`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::compress::{check, input::Input};

fuzz_target!(|input: Input| check(&input));
