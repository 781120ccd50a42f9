//! Finds where the next event lies.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::ops::Range;

use bytes::Bytes;

use super::answer::Answer;
use super::config::{Config, Delivery};
use super::end::{End, decode_close};
use super::error::ProtocolError;
use super::frame::{Header, OpCode};
use super::incoming::Incoming;
use super::mask;
use super::payload::Found;
use super::receive::{Receiver, Step, Whole};

impl Receiver {
    /// Finds the next event.
    pub(super) fn step(&mut self) -> Result<Step, ProtocolError> {
        match self.end {
            End::Open => {}
            // RFC 6455 §1.4: after a Close, "the endpoint discards any further data received";
            // §7.1.7: after a failure, it "MUST NOT continue to attempt to process data".
            End::Close(_) | End::Lost => {
                self.stop();
                return Ok(Step::Nothing);
            }
            End::Failed(error) => {
                self.stop();
                return Err(error);
            }
        }
        if self.input.is_lent() {
            return Ok(Step::Nothing);
        }
        if let (Some(payload), true) = (&mut self.payload, self.busy) {
            payload.forget_lent(Config::MOST_READ);
            self.busy = !payload.is_idle();
        }
        let step = match self.parse() {
            Ok(step) => step,
            Err(error) => {
                self.stop();
                return Err(self.fail(error));
            }
        };
        if self.eof && matches!(step, Step::Nothing) {
            // Half a message will not get whole.
            self.stop();
            self.end = End::Lost;
            self.answer = Some(Box::new(Answer::Lost));
        }
        Ok(step)
    }

    /// Drops what comes from now on.
    fn stop(&mut self) {
        self.input.discard();
        self.inflater.stop();
        (self.payload, self.busy) = (None, false);
    }

    fn parse(&mut self) -> Result<Step, ProtocolError> {
        loop {
            if let Some(payload) = self.payload.as_mut().filter(|payload| payload.is_in_frame()) {
                match payload.take_frame(&mut self.input, &mut self.inflater, &self.config)? {
                    // The frame held nothing to deliver: on to the next.
                    Found::Nothing if !payload.is_in_frame() => {}
                    Found::Nothing => return Ok(Step::Nothing),
                    Found::Whole(kind) => return Ok(Step::Gathered(kind)),
                    Found::Chunk(piece) => return Ok(Step::Chunk(piece)),
                }
            }
            let Some((header, length)) = self.header()? else { return Ok(Step::Nothing) };
            if header.opcode.is_control() {
                // At most 125 bytes: waiting for all of them costs nothing.
                let len = header.len as usize;
                if self.input.len() < length + len {
                    return Ok(Step::Nothing);
                }
                self.input.consume(length);
                let payload = self.input.consume(len);
                if let Some(key) = header.key {
                    mask::apply(self.input.at_mut(payload.clone()), key, 0);
                }
                return self.control(header.opcode, payload);
            }
            self.input.consume(length);
            let message = Incoming::enter(self.message().copied(), &header, &self.config)?;
            let in_one = header.fin && message.fragments == 1 && !message.compressed;
            if in_one
                && self.config.delivery == Delivery::Whole
                && let Some(len) = usize::try_from(header.len).ok().filter(|&len| len <= self.input.len())
            {
                self.input.note_frame(length + len);
                let range = self.input.consume(len);
                return Ok(Step::Whole(Whole { kind: message.kind, key: header.key, range }));
            }
            self.busy = true;
            let payload = self.payload.get_or_insert_default();
            payload.begin(message, &header, &mut self.inflater);
        }
    }

    /// The message of which a frame came, but not the end.
    fn message(&self) -> Option<&Incoming> {
        self.payload.as_ref().and_then(|payload| payload.message())
    }

    /// The header at `start`, if all of it is there, checked as far as it is there.
    fn header(&self) -> Result<Option<(Header, usize)>, ProtocolError> {
        let bytes = self.input.unparsed();
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (_, rsv1, opcode) = Header::decode_first(first)?;
        // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings". RFC 7692
        // §6: that is for data messages, and §6.1 sets it "only on the first fragment".
        let begins = matches!(opcode, OpCode::Text | OpCode::Binary);
        if rsv1 && !(begins && self.inflater.is_on()) {
            return Err(ProtocolError::ReservedBit(1));
        }
        let message = self.message();
        if !opcode.is_control() {
            Incoming::check_order(message, opcode, &self.config)?;
        }
        let decoded = Header::decode_with(bytes, self.peer, self.config.accept_unmasked)?;
        if !opcode.is_control() {
            let len = decoded.map_or_else(|| Header::least_len(bytes), |(header, _)| header.len);
            Incoming::check_len(message, rsv1, len, &self.config)?;
        }
        Ok(decoded)
    }

    fn control(&mut self, opcode: OpCode, payload: Range<usize>) -> Result<Step, ProtocolError> {
        match opcode {
            OpCode::Ping => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response".
                if self.config.auto_pong {
                    let payload = Bytes::copy_from_slice(self.input.at(payload.clone()));
                    self.answer = Some(Box::new(Answer::Pong(payload)));
                }
                Ok(Step::Ping(payload))
            }
            OpCode::Close => {
                let frame = decode_close(self.input.at(payload))?;
                // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a
                // Close frame, the endpoint MUST send a Close frame in response."
                let answer =
                    if self.config.auto_close { Answer::Close(frame.clone()) } else { Answer::Closed };
                self.answer = Some(Box::new(answer));
                self.end = End::Close(frame.map(Box::new));
                Ok(Step::Close)
            }
            _ => Ok(Step::Pong(payload)),
        }
    }
}
