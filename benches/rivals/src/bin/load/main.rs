//! The load for echo servers: bursts of frames that were made before, over many connections, from one thread that
//! reads no more of the answers than it must; handshakes; connections that fall silent; broadcasts;
//! and rooms.

mod broadcast;
mod burst;
mod echo;
mod options;
mod rooms;
mod silent;
mod socket;
mod verify;

use options::{Options, Work};

const USAGE: &str = "\
usage: load echo|verify|handshakes|idle|broadcast|rooms --address HOST:PORT [options]
  --pid PID            of the server: tells its time, or its memory
  --size BYTES         of a message (20)
  --connections COUNT  (1)
  --stalled COUNT      broadcast: so many more connections, which do not read (0)
  --depth COUNT        messages of a burst: one write, whose answers are awaited before the next (1)
  --kind KIND          binary, text (ASCII) or mixed (text of characters of one to four bytes) (binary)
  --seconds SECONDS    how long to measure (0.5)
  --warm-up SECONDS    before that (0.2)
  --messages COUNT     send that many, in whole bursts of each connection, and measure nothing
  --verify             compare all answers, not those of one connection alone
  --protocol NAME      rooms: hub or socket.io
  --tokens FILE        rooms: a token for each connection, one a line
  --rates LIST         rooms: messages a second, one rate after the other, for --seconds each (2)
  --raw                the server sends back the very bytes
  --whole              verify: leave out messages in fragments, which the server does not put together
Prints one JSON object.";

fn main() -> Result<(), String> {
    let options = Options::from_arguments().map_err(|problem| format!("{problem}\n{USAGE}"))?;
    socket::raise_limit(options.connections + options.stalled);
    let report = match options.work {
        Work::Echo => echo::run(&options)?,
        Work::Verify => verify::run(&options)?,
        Work::Handshakes => silent::handshakes(&options)?,
        Work::Idle => silent::idle(&options)?,
        Work::Broadcast => broadcast::run(&options)?,
        Work::Rooms => rooms::run(&options)?,
    };
    println!("{report}");
    Ok(())
}
