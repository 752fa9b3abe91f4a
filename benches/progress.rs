//! What goes on, on standard error.

use std::cell::Cell;
use std::io::{IsTerminal, Write};

/// Says which part is being measured, and how far it is.
pub struct Progress {
    part: &'static str,
    terminal: bool,
    /// How many tenths were told where there is no terminal.
    told: Cell<usize>,
}

impl Progress {
    /// Begins a part.
    pub fn begin(part: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("measuring {part}");
        }
        Self {
            part,
            terminal,
            told: Cell::new(0),
        }
    }

    /// `done` of `all` steps are done.
    pub fn part(&self, done: usize, all: usize) {
        if self.terminal {
            let percent = done * 100 / all.max(1);
            eprint!("\r\x1b[Kmeasuring {}: {percent} %", self.part);
            // A progress line that cannot be written is no reason to stop.
            let _ = std::io::stderr().flush();
            return;
        }
        let tenths = done * 10 / all.max(1);
        if self.told.replace(tenths) < tenths {
            eprintln!("measuring {}: {tenths}0 %", self.part);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
