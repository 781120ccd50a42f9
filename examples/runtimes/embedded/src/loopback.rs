//! A network within the program: two joined ends, as sockets of a network stack would be.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Poll, Waker};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// One end. Dropped, it ends the stream for the other.
pub struct End {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// One direction.
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    ended: bool,
    /// Who waits for bytes, or for room.
    waiting: Option<Waker>,
}

/// Two joined ends; at most `room` bytes wait in each direction.
pub fn pair(room: usize) -> (End, End) {
    let pipe = || {
        let bytes = VecDeque::with_capacity(room);
        Rc::new(RefCell::new(Pipe { bytes, room, ended: false, waiting: None }))
    };
    let (there, back) = (pipe(), pipe());
    (End { incoming: back.clone(), outgoing: there.clone() }, End { incoming: there, outgoing: back })
}

impl ErrorType for End {
    type Error = ErrorKind;
}

impl Read for End {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.ended && !buffer.is_empty() {
                pipe.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let count = buffer.len().min(pipe.bytes.len());
            buffer.iter_mut().zip(pipe.bytes.drain(..count)).for_each(|(to, from)| *to = from);
            pipe.wake();
            Poll::Ready(Ok(count))
        })
        .await
    }
}

impl Write for End {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| {
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.ended {
                return Poll::Ready(Err(ErrorKind::BrokenPipe));
            }
            let count = bytes.len().min(pipe.room - pipe.bytes.len());
            if count == 0 && !bytes.is_empty() {
                pipe.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            pipe.bytes.extend(&bytes[..count]);
            pipe.wake();
            Poll::Ready(Ok(count))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let mut pipe = pipe.borrow_mut();
            pipe.ended = true;
            pipe.wake();
        }
    }
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}
