//! An inflater that is not ours: what it makes of a message is what the message says.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::bits::TAIL;

/// A receiver whose window is exactly as large as was agreed on: a message that refers to more fails.
pub(crate) struct Oracle {
    state: DecompressorOxide,
    window: Vec<u8>,
    at: usize,
    takeover: bool,
}

impl Oracle {
    pub(crate) fn new(window_bits: u8, takeover: bool) -> Self {
        let mut oracle =
            Self { state: DecompressorOxide::new(), window: vec![0; 1 << window_bits], at: 0, takeover };
        oracle.forget();
        oracle
    }

    /// The message, if it is one and all of it is used.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, TINFLStatus> {
        // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff".
        let wire = [payload, &TAIL].concat();
        let (mut rest, mut out) = (&wire[..], Vec::new());
        loop {
            let (status, taken, written) =
                decompress(&mut self.state, rest, &mut self.window, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            rest = &rest[taken..];
            out.extend_from_slice(&self.window[self.at..self.at + written]);
            self.at = (self.at + written) % self.window.len();
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => break,
                // BFINAL.
                TINFLStatus::Done => self.forget(),
                error => return Err(error),
            }
        }
        if !self.takeover {
            self.forget();
        }
        Ok(out)
    }

    /// What lies before the beginning is nothing that a message says.
    fn forget(&mut self) {
        self.state = DecompressorOxide::new();
        self.window.fill(0xA5);
        self.at = 0;
    }
}

/// The message that these bytes say by themselves, with no tail appended; `None` if they are not DEFLATE, refer to what is before them,
/// or become more than a mebibyte.
pub(crate) fn once(wire: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut whole) = (wire, Vec::new());
    let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    loop {
        let mut state = DecompressorOxide::new();
        let mut out = vec![0; 1 << 20];
        let (status, taken, written) = decompress(&mut state, rest, &mut out, 0, flags);
        whole.extend_from_slice(&out[..written]);
        rest = &rest[taken..];
        match status {
            TINFLStatus::NeedsMoreInput => return Some(whole),
            TINFLStatus::Done if rest.is_empty() => return Some(whole),
            TINFLStatus::Done => {}
            _ => return None,
        }
    }
}
