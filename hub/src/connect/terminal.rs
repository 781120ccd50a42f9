//! The terminal as it was before the prompt, which may have to go amid a line.

#![forbid(unsafe_code)]

/// Its settings.
#[derive(Debug)]
pub(super) struct Terminal {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Terminal {
    #[cfg(unix)]
    pub(super) fn remember() -> Self {
        Self { before: rustix::termios::tcgetattr(rustix::stdio::stdin()).ok() }
    }

    #[cfg(unix)]
    pub(super) fn restore(&self) {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let Some(before) = &self.before else { return };
        let is_amid_a_line =
            tcgetattr(rustix::stdio::stdin()).is_ok_and(|now| now.local_modes != before.local_modes);
        if is_amid_a_line {
            // The mode for pasting is the terminal's own, and not among its settings.
            println!("\x1b[?2004l");
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }

    #[cfg(not(unix))]
    pub(super) const fn remember() -> Self {
        Self {}
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(super) const fn restore(&self) {}
}
