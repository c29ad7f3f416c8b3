//! What is typed while the screen is shown. Ctrl+C and Ctrl+Z are signals and not among it.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod keyboard;

pub(super) use self::keyboard::Keyboard;

/// What a key means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Help,
    Update,
    Yes,
    Redraw,
    /// It means nothing by itself, but ends what is asked or shown.
    Other,
}

// === impl Key ===

impl Key {
    fn of(typed: char, with_ctrl: bool) -> Self {
        match (typed, with_ctrl) {
            ('?' | 'h', false) => Self::Help,
            ('y' | 'Y', false) => Self::Yes,
            ('u', true) => Self::Update,
            ('l', true) => Self::Redraw,
            _ => Self::Other,
        }
    }
}
