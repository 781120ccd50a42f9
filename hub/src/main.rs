//! `taut`: the hub, by the command line.

#![forbid(unsafe_code)]

fn main() {}
