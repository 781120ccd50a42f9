//! What proxies say of their clients is read: see [`taut_fuzz::proxies`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use taut_fuzz::proxies::Input;

fuzz_target!(|input: Input| taut_fuzz::proxies::check(&input));
