//! The events of a console.

use std::io::{self, IsTerminal};
use std::thread;

use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use tokio::sync::mpsc;

use super::Key;

/// Typed and not yet looked at; more than a hand can.
const AHEAD: usize = 16;

/// The keyboard, where standard input is a console.
pub(in crate::console) struct Keyboard {
    typed: Option<mpsc::Receiver<Key>>,
}

// === impl Keyboard ===

impl Keyboard {
    pub(in crate::console) fn open() -> Self {
        let (found, typed) = mpsc::channel(AHEAD);
        // A console can be waited for by a thread only. This one ends with the process: nothing stops what it waits in.
        let reading = io::stdin().is_terminal()
            && thread::Builder::new()
                .name("keyboard".into())
                .spawn(move || read(&found))
                .is_ok();
        Self {
            typed: reading.then_some(typed),
        }
    }

    /// The keys that are typed next; for ever nothing where there is no keyboard.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::console) async fn typed(&mut self) -> Vec<Key> {
        if let Some(typed) = &mut self.typed
            && let Some(key) = typed.recv().await
        {
            return vec![key];
        }
        self.typed = None;
        std::future::pending().await
    }
}

/// Until nobody wants to know, or the console is gone. What is read so is not echoed.
fn read(found: &mpsc::Sender<Key>) {
    while let Ok(event) = event::read() {
        let Some(key) = key(&event) else { continue };
        if found.blocking_send(key).is_err() {
            break;
        }
    }
}

fn key(event: &Event) -> Option<Key> {
    match event {
        // The screen is drawn anew at the new size.
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(key) if key.is_press() => Some(match key.code {
            KeyCode::Char(typed) => Key::of(typed, key.modifiers.contains(KeyModifiers::CONTROL)),
            _ => Key::Other,
        }),
        _ => None,
    }
}
