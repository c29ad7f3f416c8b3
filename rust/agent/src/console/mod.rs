//! The screen an agent shows on a terminal (cli.md §11): what is on it in [`view`], where on its lines
//! in [`layout`], how wide that is in [`text`], how it is drawn in [`screen`].
//!
//! Nothing here reads the agent's state by itself: a function yields a [`View`] whenever one is
//! to be drawn, and a channel tells that something has changed.

mod keys;
mod layout;
mod screen;
mod text;
mod view;

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use self::keys::{Key, Keyboard};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub(crate) use self::screen::Background;
use self::screen::Screen;
use self::view::Page;
pub(crate) use self::view::{Counts, Offer, RequestLine, Status, View};

/// Between two drawings, however much changes.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a program in the background looks whether it has been fetched to the front.
const FOREGROUND: Duration = Duration::from_secs(1);
/// Rates fall while nothing happens: the screen is drawn this often then.
const IDLE_REDRAW: Duration = Duration::from_secs(5);

/// Draws `view` at once, after every change and after every new window size, until `changed`
/// closes. Whoever puts the program into the background (Ctrl+Z, `&`) has the terminal to himself.
/// `update` is called when the person at the keyboard wants the version that is on offer.
///
/// # Cancel safety
/// Dropping the future restores the terminal.
///
/// # Errors
/// Where the terminal cannot be set up or written to; the agent goes on without a screen then.
pub(crate) async fn show(
    background: Background,
    mut view: impl FnMut() -> View,
    mut changed: watch::Receiver<()>,
    mut update: impl FnMut(),
) -> io::Result<()> {
    let mut screen = None;
    let mut page = Page::Session;
    let mut keyboard = Keyboard::open();
    let mut resized = Resized::listen()?;
    let mut suspended = Suspended::listen()?;
    let mut idle = interval(IDLE_REDRAW);
    idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = interval(FOREGROUND);
    asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if screen::in_foreground() {
            if screen.is_none() {
                screen = Some(Screen::open(background)?);
            }
        } else {
            screen = None;
        }
        if let Some(screen) = &mut screen {
            screen.draw(&view(), page)?;
        }
        let earliest = Instant::now() + PAUSE;
        tokio::select! {
            change = changed.changed() => if change.is_err() { return Ok(()) },
            () = resized.wait() => {}
            () = suspended.wait() => {
                drop(screen.take());
                screen::stop_process();
            }
            keys = keyboard.typed(), if screen.is_some() => {
                for key in keys {
                    let can_update = view().offer.is_some_and(|offer| offer.instead.is_none());
                    let turned = turn(page, key, can_update);
                    if turned.wants_update {
                        update();
                    }
                    page = turned.page;
                    if let (Some(screen), Key::Redraw) = (&mut screen, key) {
                        screen.clear()?;
                    }
                }
                // Who types does not wait.
                continue;
            }
            _ = asking.tick(), if screen.is_none() => {}
            _ = idle.tick() => {}
        }
        sleep_until(earliest).await;
    }
}

/// What a key changes.
#[derive(Debug, PartialEq, Eq)]
struct Turned {
    page: Page,
    wants_update: bool,
}

fn turn(page: Page, key: Key, can_update: bool) -> Turned {
    let wants_update = page == Page::Question && key == Key::Yes && can_update;
    let page = match (page, key) {
        (_, Key::Redraw) => page,
        (Page::Session | Page::Question, Key::Help) => Page::Help,
        (Page::Session | Page::Help, Key::Update) if can_update => Page::Question,
        _ => Page::Session,
    };
    Turned { page, wants_update }
}

/// Tells of a new window size.
struct Resized {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

// === impl Resized ===

impl Resized {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?,
        })
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        // Elsewhere the keyboard tells of it.
        std::future::pending::<()>().await;
    }
}

/// Tells of Ctrl+Z.
struct Suspended {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

// === impl Suspended ===

impl Suspended {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(
                libc::SIGTSTP,
            ))?,
        })
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_asked_about_and_taken_by_who_says_yes() {
        let pages = |keys: &[Key], can_update| {
            let mut page = Page::Session;
            let mut updates = 0;
            for key in keys {
                let turned = turn(page, *key, can_update);
                page = turned.page;
                updates += usize::from(turned.wants_update);
            }
            (page, updates)
        };
        assert_eq!(pages(&[Key::Help], true), (Page::Help, 0));
        assert_eq!(pages(&[Key::Help, Key::Help], true), (Page::Session, 0));
        assert_eq!(pages(&[Key::Help, Key::Redraw], true), (Page::Help, 0));
        assert_eq!(pages(&[Key::Yes], true), (Page::Session, 0));
        assert_eq!(pages(&[Key::Update], true), (Page::Question, 0));
        assert_eq!(pages(&[Key::Update, Key::Other], true), (Page::Session, 0));
        assert_eq!(pages(&[Key::Update, Key::Yes], true), (Page::Session, 1));
        assert_eq!(pages(&[Key::Update, Key::Yes], false), (Page::Session, 0));
    }
}
