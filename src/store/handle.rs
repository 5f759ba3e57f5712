//! The store's own thread, and the engine's hold on it.
//!
//! Handing in a frame never waits: frames gather in a bounded queue, and what has gathered becomes one write
//! and one sync. A frame without a decision in it may wait a moment for others. Questions are answered
//! between writes, after what was handed in before them. sled is brought up to date a while later, so that
//! what changes often is written once. With nothing to do, the thread sleeps without a timer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::queue::{Done, Queue, Waiting};
use super::record::Frame;
use super::{Store, StoreError};
use crate::limits::Limits;
use crate::time::{Clock, SystemClock};

/// How long a frame that holds no decision waits for others.
const GATHER: Duration = Duration::from_millis(50);
/// From this size on what has gathered is written without more waiting. Bytes.
const GATHER_BYTES: usize = 1 << 20;
/// How long changes wait for sled after the first of them, unless they get too many before: it has to be
/// opened for them. They stand in the journal meanwhile, which a start reads.
const SETTLE_AFTER: Duration = Duration::from_secs(300);
/// The same once a flood of changes had it opened anyway, counted from the last of them: it takes much memory.
const SETTLE_OPEN_AFTER: Duration = Duration::from_millis(100);
/// A backend that has nothing to do for so long may rest; where it is not ready to, it is asked again after twice as
/// long each time, up to the second.
const REST_FIRST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(60);
/// Waiting after a failure: the first time, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long stopping may take for settling; what is durable by then is enough.
const STOP_SETTLE: Duration = Duration::from_secs(3);

type Job = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// What the store's thread has to say, for the daemon's log and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was found wrong, and mended or left out.
    Notice(String),
    /// Frames cannot be made durable; they wait in memory, and it is tried again.
    Trouble(String),
    /// They can again.
    Recovered,
}

/// How the store does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why frames are not durable at present.
    pub trouble: Option<String>,
    /// Why sled is not up to date; harmless but for a slower start.
    pub cache_trouble: Option<String>,
    pub waiting_frames: usize,
    pub waiting_bytes: usize,
    /// Attempts and other changes left out because too much was waiting.
    pub dropped_attempts: u64,
    pub dropped_changes: u64,
}

#[derive(Default)]
struct State {
    queue: Queue,
    jobs: VecDeque<Job>,
    /// Something in the queue should not wait for others.
    urgent: bool,
    stop: bool,
    ended: bool,
    trouble: Option<String>,
    cache_trouble: Option<String>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's hold on the store's thread.
pub struct Handle {
    shared: Arc<Shared>,
    frames_max: usize,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Starts the thread. Load the state first: from now on the store belongs to it. `events` is called on
    /// that thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        store: Box<dyn Store>,
        limits: &Limits,
        events: impl FnMut(Event) + Send + 'static,
    ) -> std::io::Result<Handle> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            let mut events = events;
            let mut worker = Worker {
                shared: Arc::clone(&theirs),
                store,
                clock: SystemClock::new(),
                dirty: None,
                retry: None,
                rest: None,
            };
            let ran = catch_unwind(AssertUnwindSafe(|| worker.run(&mut events)));
            let mut state = theirs.lock();
            state.ended = true;
            let (frames, jobs) = (state.queue.take(), std::mem::take(&mut state.jobs));
            if ran.is_err() {
                state.trouble =
                    Some("the store's thread failed; nothing is remembered until a restart".to_owned());
            }
            drop(state);
            drop(jobs);
            for done in frames.into_iter().filter_map(|waiting| waiting.done) {
                done(Err(StoreError::Stopped));
            }
            if ran.is_err() {
                events(Event::Trouble(
                    "the store's thread failed; nothing is remembered until a restart".to_owned(),
                ));
            }
        })?;
        Ok(Handle { shared, frames_max: limits.store_queue_max, thread: Some(thread) })
    }

    /// Hands in a frame, and goes on at once.
    pub fn submit(&self, frame: Frame) {
        self.push(Waiting { frame, done: None });
    }

    /// Hands in a frame and has `done` called, on the store's thread, once it is durable. On an error the
    /// frame is not kept, and will not be written later either.
    pub fn submit_then(&self, frame: Frame, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        self.push(Waiting { frame, done: Some(Box::new(done)) });
    }

    /// Makes a frame durable: what an answered unban needs before it is lifted.
    ///
    /// # Errors
    /// As for [`Handle::submit_then`].
    pub async fn commit(&self, frame: Frame) -> Result<(), StoreError> {
        let (send, receive) = oneshot::channel();
        self.submit_then(frame, move |result| drop(send.send(result)));
        receive.await.unwrap_or(Err(StoreError::Stopped))
    }

    fn push(&self, waiting: Waiting) {
        let mut state = self.shared.lock();
        if state.ended {
            drop(state);
            if let Some(done) = waiting.done {
                done(Err(StoreError::Stopped));
            }
            return;
        }
        let was_empty = state.queue.is_empty();
        let urgent = waiting.done.is_some() || waiting.frame.urgent();
        state.urgent |= urgent;
        state.queue.push(waiting, self.frames_max);
        let large = state.queue.bytes() >= GATHER_BYTES;
        drop(state);
        if was_empty || urgent || large {
            self.shared.wake.notify_one();
        }
    }

    /// Has `ask` called on the store's thread, after all frames handed in before, and `answer` with what it
    /// gives. If the thread has ended, neither is.
    pub fn query<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Store) -> R + Send + 'static,
        answer: impl FnOnce(R) + Send + 'static,
    ) {
        let mut state = self.shared.lock();
        if !state.ended {
            state.jobs.push_back(Box::new(move |store| answer(ask(store))));
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// The same, to be awaited: `handle.ask(move |store| store.evidence(host)).await??`.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Store) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (send, receive) = oneshot::channel();
        self.query(ask, move |answer| drop(send.send(answer)));
        receive.await.map_err(|_| StoreError::Stopped)
    }

    pub fn health(&self) -> Health {
        let state = self.shared.lock();
        Health {
            trouble: state.trouble.clone(),
            cache_trouble: state.cache_trouble.clone(),
            waiting_frames: state.queue.len(),
            waiting_bytes: state.queue.bytes(),
            dropped_attempts: state.queue.dropped_attempts,
            dropped_changes: state.queue.dropped_changes,
        }
    }

    /// Makes durable what waits, settles sled for a few seconds at most, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics and reports them.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

struct Retry {
    at: Duration,
    next: Duration,
}

struct Worker {
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    clock: SystemClock,
    /// When sled is to be brought up to date.
    dirty: Option<Duration>,
    /// After a failed write: when to try again.
    retry: Option<Retry>,
    /// When the backend is to rest, and how long was waited for that.
    rest: Option<Retry>,
}

impl Worker {
    fn run(&mut self, events: &mut dyn FnMut(Event)) {
        // Work may be left from the last run.
        self.dirty = Some(self.clock.monotonic() + SETTLE_AFTER);
        self.rest_after(REST_FIRST);
        loop {
            self.tell(events);
            let (write, stop, mut jobs) = self.wait();
            if write {
                self.write(events);
            }
            while let Some(job) = jobs.pop_front() {
                job(self.store.as_mut());
            }
            if stop {
                self.tell(events);
                return self.finish();
            }
            if self.dirty.is_some_and(|at| at <= self.clock.monotonic()) {
                self.settle();
            }
            if let Some(rest) = self.rest.take_if(|rest| rest.at <= self.clock.monotonic())
                && !self.store.rest()
                && rest.next <= REST_MAX
            {
                self.rest_after(rest.next);
            }
        }
    }

    fn rest_after(&mut self, wait: Duration) {
        self.rest = Some(Retry { at: self.clock.monotonic() + wait, next: 2 * wait });
    }

    fn tell(&mut self, events: &mut dyn FnMut(Event)) {
        self.store.take_notices().into_iter().for_each(|notice| events(Event::Notice(notice)));
    }

    /// Sleeps until there is something to do. Answers: write now, stop, questions.
    fn wait(&mut self) -> (bool, bool, VecDeque<Job>) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut gather_until: Option<Duration> = None;
        loop {
            let now = self.clock.monotonic();
            let held_back = self.retry.as_ref().is_some_and(|retry| retry.at > now) && !state.stop;
            if !state.queue.is_empty() && gather_until.is_none() {
                gather_until = Some(now + GATHER);
            }
            let gathered = state.urgent
                || state.stop
                || !state.jobs.is_empty()
                || state.queue.bytes() >= GATHER_BYTES
                || gather_until.is_some_and(|until| until <= now);
            let write = !state.queue.is_empty() && gathered && !held_back;
            let settle = self.dirty.is_some_and(|at| at <= now);
            let rest = self.rest.as_ref().map(|rest| rest.at);
            if write || state.stop || settle || rest.is_some_and(|at| at <= now) || !state.jobs.is_empty() {
                return (write, state.stop, std::mem::take(&mut state.jobs));
            }
            let write_at = match &self.retry {
                Some(retry) if !state.queue.is_empty() => Some(retry.at),
                _ => gather_until,
            };
            state = match [write_at, self.dirty, rest].into_iter().flatten().min() {
                None => shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let time = at.saturating_sub(now).max(Duration::from_millis(1));
                    shared.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Makes durable what waits.
    fn write(&mut self, events: &mut dyn FnMut(Event)) {
        let waiting = {
            let mut state = self.shared.lock();
            state.urgent = false;
            state.queue.take()
        };
        let (mut frames, done): (Vec<Frame>, Vec<Option<Done>>) =
            waiting.into_iter().map(|waiting| (waiting.frame, waiting.done)).unzip();
        let now = self.clock.monotonic();
        match self.store.commit(&mut frames) {
            Ok(()) => {
                if self.store.holds_memory() {
                    self.dirty = Some(self.clock.monotonic() + SETTLE_OPEN_AFTER);
                }
                self.dirty.get_or_insert(now + SETTLE_AFTER);
                if self.retry.take().is_some() {
                    self.shared.lock().trouble = None;
                    events(Event::Recovered);
                }
                done.into_iter().flatten().for_each(|done| done(Ok(())));
            }
            Err(error) => {
                let text = chain(&error);
                let mut kept = Vec::new();
                let mut refused = Vec::new();
                for (frame, done) in frames.into_iter().zip(done) {
                    match done {
                        Some(done) => refused.push(done),
                        None => kept.push(Waiting { frame, done: None }),
                    }
                }
                let mut state = self.shared.lock();
                state.queue.put_back(kept);
                state.trouble = Some(text.clone());
                drop(state);
                refused.into_iter().for_each(|done| done(Err(error.again())));
                let wait = self.retry.as_ref().map_or(RETRY_FIRST, |retry| retry.next);
                if self.retry.is_none() {
                    events(Event::Trouble(text));
                }
                self.retry = Some(Retry { at: now + wait, next: (wait * 2).min(RETRY_MAX) });
            }
        }
    }

    /// Brings sled up to date piece by piece, for as long as nobody wants anything else.
    fn settle(&mut self) {
        loop {
            match self.store.settle() {
                Ok(true) => {}
                Ok(false) => {
                    self.dirty = None;
                    self.rest_after(REST_FIRST);
                    self.shared.lock().cache_trouble = None;
                    return;
                }
                Err(error) => {
                    self.shared.lock().cache_trouble = Some(chain(&error));
                    self.dirty = Some(self.clock.monotonic() + RETRY_MAX);
                    return;
                }
            }
            let state = self.shared.lock();
            if state.stop || state.urgent || !state.jobs.is_empty() || state.queue.bytes() >= GATHER_BYTES {
                return;
            }
        }
    }

    fn finish(&mut self) {
        let until = self.clock.monotonic() + STOP_SETTLE;
        while self.clock.monotonic() < until && matches!(self.store.settle(), Ok(true)) {}
    }
}

/// An error with its causes, in one line.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
