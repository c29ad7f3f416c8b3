//! Drawing lines on a terminal, and leaving it as it was.
//!
//! The screen is drawn over, never cleared first, in one write: it does not flicker. Signals keep
//! working (Ctrl+C, Ctrl+Z): only the echo of keys is turned off.

use std::io::{self, Stdout, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::style::{
    Attribute, Color, Print, ResetColor, SetAttribute, SetBackgroundColor, SetForegroundColor,
};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};

use super::layout::{Line, Tone};
use super::view::{Page, View};

/// Assumed where the terminal does not tell its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// `console_ui_color`, and whether colours are wanted at all (`NO_COLOR`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    Black,
    Transparent,
    /// No colours: bold and plain only.
    None,
}

/// The terminal while it shows the screen; dropping it restores what was there.
pub(super) struct Screen {
    background: Background,
    out: Stdout,
    _echo: Echo,
}

// === impl Screen ===

impl Screen {
    pub(super) fn open(background: Background) -> io::Result<Self> {
        let echo = Echo::off();
        let mut out = io::stdout();
        queue!(out, EnterAlternateScreen, Hide)?;
        out.flush()?;
        Ok(Self {
            background,
            out,
            _echo: echo,
        })
    }

    /// What others have written over it goes with the next drawing.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        queue!(self.out, Clear(ClearType::All))
    }

    pub(super) fn draw(&mut self, view: &View, page: Page) -> io::Result<()> {
        let (width, height) = terminal::size().unwrap_or(USUAL_SIZE);
        let mut drawn = Vec::with_capacity(4096);
        queue!(drawn, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        if self.background == Background::Black {
            queue!(
                drawn,
                SetBackgroundColor(Color::Black),
                SetForegroundColor(Color::Grey)
            )?;
        }
        for (row, line) in view
            .page(page, usize::from(width), usize::from(height))
            .iter()
            .enumerate()
        {
            queue!(drawn, MoveTo(0, row as u16))?;
            self.line(&mut drawn, line)?;
            queue!(drawn, Clear(ClearType::UntilNewLine))?;
        }
        queue!(
            drawn,
            Clear(ClearType::FromCursorDown),
            ResetColor,
            EndSynchronizedUpdate
        )?;
        self.out.write_all(&drawn)?;
        self.out.flush()
    }

    fn line(&self, drawn: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        let split = line
            .text
            .char_indices()
            .nth(line.toned)
            .map_or(line.text.len(), |(index, _)| index);
        let (plain, toned) = line.text.split_at(split);
        queue!(drawn, Print(plain))?;
        let color = match line.tone {
            Tone::Plain => return queue!(drawn, Print(toned)),
            Tone::Title => {
                return queue!(
                    drawn,
                    SetAttribute(Attribute::Bold),
                    Print(toned),
                    SetAttribute(Attribute::NormalIntensity)
                );
            }
            Tone::Good => Color::Green,
            Tone::Wait => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        match self.background {
            Background::None => queue!(drawn, Print(toned)),
            Background::Black => {
                queue!(
                    drawn,
                    SetForegroundColor(color),
                    Print(toned),
                    SetForegroundColor(Color::Grey)
                )
            }
            Background::Transparent => {
                queue!(
                    drawn,
                    SetForegroundColor(color),
                    Print(toned),
                    SetForegroundColor(Color::Reset)
                )
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone already; there is nobody to tell then.
        let _ = queue!(self.out, ResetColor, Show, LeaveAlternateScreen)
            .and_then(|()| self.out.flush());
    }
}

/// Whether the terminal is ours to draw on. One that cannot tell is.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) fn in_foreground() -> bool {
    // SAFETY: both only read what the kernel knows of this process; -1 means there is no terminal.
    let (front, own) = unsafe { (libc::tcgetpgrp(libc::STDOUT_FILENO), libc::getpgrp()) };
    front == -1 || front == own
}

/// What Ctrl+Z does where nobody listens for it. Returns when the program is to go on.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(super) fn stop_process() {
    // SAFETY: SIGSTOP takes no handler and changes nothing of this process's memory.
    unsafe { libc::raise(libc::SIGSTOP) };
}

#[cfg(not(unix))]
pub(super) fn in_foreground() -> bool {
    true
}

#[cfg(not(unix))]
pub(super) fn stop_process() {}

/// Keys typed while the screen is shown do not appear on it.
struct Echo {
    #[cfg(unix)]
    before: Option<libc::termios>,
}

// === impl Echo ===

#[cfg(unix)]
impl Echo {
    #[allow(unsafe_code)]
    fn off() -> Self {
        // SAFETY: `termios` is plain data that may be all zero, and `tcgetattr` and `tcsetattr`
        // only read and write the one given; standard input that is no terminal is an error code.
        let before = unsafe {
            let mut now: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(libc::STDIN_FILENO, &raw mut now) == 0 {
                let before = now;
                now.c_lflag &= !(libc::ECHO | libc::ICANON);
                libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const now);
                Some(before)
            } else {
                None
            }
        };
        Self { before }
    }
}

#[cfg(unix)]
impl Drop for Echo {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: as in `off`; `before` came from `tcgetattr`. TCSAFLUSH drops what was typed.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const *before) };
        }
    }
}

#[cfg(not(unix))]
impl Echo {
    fn off() -> Self {
        Self {}
    }
}
