//! The same bytes come to a connection and to other libraries: see [`taut_fuzz::differential`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::{differential, input::Input};

fuzz_target!(|input: Input| differential::check(&input));
