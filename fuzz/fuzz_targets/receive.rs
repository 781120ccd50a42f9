//! Any frames and any bytes, cut anywhere, come to a connection: see [`taut_fuzz::receive`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::input::Input;

fuzz_target!(|input: Input| taut_fuzz::receive::check(&input));
