//! URIs of WebSockets are read and written: see [`taut_fuzz::uri`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::uri::Input;

fuzz_target!(|input: Input| taut_fuzz::uri::check(&input));
