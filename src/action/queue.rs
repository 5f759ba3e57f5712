//! Work that waits for threads of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

struct Waiting<T> {
    items: VecDeque<T>,
    /// Nothing more comes.
    closed: bool,
    /// It was said that the queue is full; until it was empty once.
    overflow_told: bool,
}

/// A queue between those who ask for work and the threads that do it.
pub(super) struct WorkQueue<T> {
    waiting: Mutex<Waiting<T>>,
    wake: Condvar,
    give_up: AtomicBool,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> WorkQueue<T> {
        let waiting = Waiting { items: VecDeque::new(), closed: false, overflow_told: false };
        WorkQueue { waiting: Mutex::new(waiting), wake: Condvar::new(), give_up: AtomicBool::new(false) }
    }
}

impl<T> WorkQueue<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        // A panic elsewhere leaves the queue whole: every change to it is one call.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, unless `max` items wait. False: there was no room.
    pub fn push(&self, item: T, max: usize) -> bool {
        let mut waiting = self.waiting();
        if waiting.items.len() >= max {
            return false;
        }
        waiting.items.push_back(item);
        self.wake.notify_one();
        true
    }

    /// Whether this overflow is still to be told.
    pub fn overflow_is_new(&self) -> bool {
        !std::mem::replace(&mut self.waiting().overflow_told, true)
    }

    /// The threads end when what `change` leaves is done.
    pub fn close(&self, change: impl FnOnce(&mut VecDeque<T>)) {
        let mut waiting = self.waiting();
        change(&mut waiting.items);
        waiting.closed = true;
        self.wake.notify_all();
    }

    /// What is being done is to be given up, and nothing further to be begun.
    pub fn give_up(&self) {
        self.give_up.store(true, Ordering::Relaxed);
    }

    pub fn is_given_up(&self) -> bool {
        self.give_up.load(Ordering::Relaxed)
    }

    /// The next item, once there is one; `None` at the end.
    pub fn next(&self) -> Option<T> {
        let mut waiting = self.waiting();
        loop {
            if let Some(item) = waiting.items.pop_front() {
                return Some(item);
            }
            if waiting.closed {
                return None;
            }
            waiting.overflow_told = false;
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
