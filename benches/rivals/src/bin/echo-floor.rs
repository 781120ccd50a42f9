//! The bare TCP echo: no frame is looked at.

fn main() -> Result<(), String> {
    taut_rivals::serve(taut_rivals::bound::echo_bytes)
}
