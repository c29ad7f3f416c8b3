//! Changes of one endpoint come one after the other; those of others are not held up.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// By name, as long as somebody has or awaits a turn.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<Turn<()>>>>);

// === impl Turns ===

impl Turns {
    /// Resolves when it is the caller's turn, which ends with what is returned.
    pub(super) async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(name.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_the_turn_of_a_name_and_others_do_not_wait() {
        let turns = Turns::default();
        let first = turns.turn("a").await;
        let other = turns.turn("b").await;
        let second = turns.turn("a");
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await;
        drop((second, other));
        drop(turns.turn("c").await);
        assert_eq!(turns.0.lock().len(), 1);
    }
}
