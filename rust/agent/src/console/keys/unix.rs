//! The bytes that a terminal sends.

use std::io::{self, IsTerminal};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Key;

/// The keyboard, where standard input is a terminal.
pub(in crate::console) struct Keyboard {
    input: Option<AsyncFd<io::Stdin>>,
}

// === impl Keyboard ===

impl Keyboard {
    #[allow(unsafe_code)]
    pub(in crate::console) fn open() -> Self {
        let input = io::stdin();
        let input = input
            .is_terminal()
            // Where it cannot be watched there are no keys, and all else works.
            // SAFETY: standard input has the same descriptor for as long as the process lives.
            .then(|| unsafe { AsyncFd::register_with_interest(input, Interest::READABLE) }.ok())
            .flatten();
        Self { input }
    }

    /// The keys that are typed next; for ever nothing where there is no keyboard. To be asked only
    /// while the terminal is ours: to read from it then would stop the process.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::console) async fn typed(&mut self) -> Vec<Key> {
        while let Some(input) = &self.input {
            let Ok(mut ready) = input.readable().await else {
                break;
            };
            let mut bytes = [0; 64];
            match read(&mut bytes) {
                Some(0) => break, // hung up
                Some(count) => return keys(&bytes[..count]),
                None => ready.clear_ready(),
            }
        }
        self.input = None;
        std::future::pending().await
    }
}

/// What there is to read, at once; nothing: it was for nothing that we were woken. The terminal is
/// shared with whoever started us, so it is not made non-blocking.
#[allow(unsafe_code)]
fn read(bytes: &mut [u8]) -> Option<usize> {
    let mut asked = libc::pollfd {
        fd: libc::STDIN_FILENO,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` reads and writes the one structure it is given, and `read` writes no more bytes
    // than there are in the slice.
    unsafe {
        if libc::poll(&raw mut asked, 1, 0) <= 0 {
            return None;
        }
        let count = libc::read(libc::STDIN_FILENO, bytes.as_mut_ptr().cast(), bytes.len());
        Some(usize::try_from(count).unwrap_or(0))
    }
}

/// The keys in bytes from a terminal. A key that sends several, such as an arrow, is one.
fn keys(bytes: &[u8]) -> Vec<Key> {
    if let [0x1b, _, ..] = bytes {
        return vec![Key::Other];
    }
    let one = |&byte: &u8| match byte {
        1..=26 => Key::of(char::from(byte | 0x60), true),
        _ => Key::of(char::from(byte), false),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_an_arrow_is_one() {
        assert_eq!(
            keys(b"?\x15y\x0cq"),
            [Key::Help, Key::Update, Key::Yes, Key::Redraw, Key::Other]
        );
        assert_eq!(keys(b"\x1b[A"), [Key::Other]);
        assert_eq!(keys(b"\x1b"), [Key::Other]);
    }
}
