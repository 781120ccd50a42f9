//! The bare frame echo: as much of RFC 6455 as an echo needs, and no library.

fn main() -> Result<(), String> {
    taut_rivals::serve(taut_rivals::bound::echo_frames)
}
