//! A queue and the thread that works it off. All actions of one file share a lane, so that no two of them edit the
//! same thing at the same time; different files do not wait for each other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::definition::{Definition, Verb};
use super::performer::{Around, Performer};
use super::script::HostNames;
use super::shell::System;
use super::ticket::Ticket;
use super::verdict::Verdict;
use crate::addr::{Host, Net};
use crate::jail::JailName;
use crate::sys::resolver;
use crate::time::Clock;

/// One action of one jail.
pub(super) type Key = (JailName, String);

/// What a lane is told.
pub(super) enum Job {
    /// `bantime_secs`: the jail's plain one.
    Start {
        key: Key,
        definition: Arc<Definition>,
        bantime_secs: i64,
    },
    Redefine {
        key: Key,
        definition: Arc<Definition>,
        bantime_secs: i64,
    },
    Ban {
        key: Key,
        ticket: Arc<Ticket>,
    },
    Unban {
        key: Key,
        target: Net,
    },
    Stop {
        key: Key,
    },
}

/// What a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A command failed. `target`: the ban it was about, if it was about one.
    Failed { jail: JailName, action: String, verb: Verb, target: Option<Net>, what: String },
    /// Bans come faster than the commands of this file run; so many were not told to it since the queue was full.
    Overflow { file: String },
    /// A command was asked whether to leave an address alone.
    Answered(Verdict),
    /// The daemon stopped before this action had lifted its bans; so many stay as they are.
    Left { jail: JailName, action: String, bans: usize },
}

pub(super) type Tell = Arc<dyn Fn(Report) + Send + Sync>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Nothing more comes.
    closed: bool,
    /// It was said that the queue is full.
    overflow_told: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    give_up: AtomicBool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves the queue whole: every change to it is one call.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(super) struct Lane {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    queue_max: usize,
}

impl Lane {
    /// `queue_max`: jobs beyond which bans are left out.
    pub fn start(file: &str, queue_max: usize, clock: Arc<dyn Clock>, tell: Tell) -> std::io::Result<Lane> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let file = file.to_owned();
        let thread = std::thread::Builder::new()
            .name("action".to_owned())
            .spawn(move || Worker { file, shared: theirs, clock, tell, performers: BTreeMap::new() }.run())?;
        Ok(Lane { shared, thread: Some(thread), queue_max })
    }

    /// Appends. False: a ban, and the queue is full. Everything else is bounded by the bans that were taken.
    pub fn post(&self, job: Job) -> bool {
        let mut queue = self.shared.queue();
        if matches!(job, Job::Ban { .. }) && queue.jobs.len() >= self.queue_max {
            return false;
        }
        queue.jobs.push_back(job);
        self.shared.wake.notify_one();
        true
    }

    /// Whether this overflow is still to be told.
    pub fn overflow_is_new(&self) -> bool {
        !std::mem::replace(&mut self.shared.queue().overflow_told, true)
    }

    /// The thread ends when all that waits is done.
    pub fn finish(&self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
    }

    /// Bans that wait are forgotten; those of `actions` are lifted, and the thread ends when all is done.
    pub fn close(&self, actions: impl Iterator<Item = Key>) {
        let mut queue = self.shared.queue();
        queue.jobs.retain(|job| !matches!(job, Job::Ban { .. }));
        queue.jobs.extend(actions.map(|key| Job::Stop { key }));
        queue.closed = true;
        self.shared.wake.notify_one();
    }

    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Kills what runs and lets nothing further start.
    pub fn give_up(&self) {
        self.shared.give_up.store(true, Ordering::Relaxed);
    }

    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    file: String,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    tell: Tell,
    performers: BTreeMap<Key, (Performer, i64)>,
}

impl Worker {
    fn run(mut self) {
        let names = resolver::host_names();
        let names = HostNames { full: names.0, short: names.1 };
        while let Some(job) = self.next() {
            self.work(job, &names);
        }
    }

    /// The next job; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.shared.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.overflow_told = false;
            queue = self.shared.wake.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn work(&mut self, job: Job, names: &HostNames) {
        let give_up = || self.shared.give_up.load(Ordering::Relaxed);
        let mut shell = System { clock: &*self.clock, give_up: &give_up };
        let shell = &mut shell;
        let (key, target) = match &job {
            Job::Start { key, .. } | Job::Redefine { key, .. } | Job::Stop { key } => (key.clone(), None),
            Job::Ban { key, ticket } => (key.clone(), Some(ticket.target)),
            Job::Unban { key, target } => (key.clone(), Some(*target)),
        };
        if let Job::Start { definition, bantime_secs, .. } = &job {
            self.performers.insert(key.clone(), (Performer::new(definition.clone()), *bantime_secs));
        }
        let Some((performer, bantime)) = self.performers.get_mut(&key) else { return };
        if let Job::Redefine { bantime_secs, .. } = &job {
            *bantime = *bantime_secs;
        }
        let host_name = |host: Host| resolver::name_of(host.ip()).unwrap_or_default().into_bytes();
        let around = Around { jail: key.0.as_str(), bantime_secs: *bantime, names, host_name: &host_name };
        let mut left = 0;
        match &job {
            Job::Start { .. } => performer.start(&around, shell),
            Job::Redefine { definition, .. } => performer.redefine(definition.clone(), &around, shell),
            Job::Ban { ticket, .. } => performer.ban(ticket, &around, shell),
            Job::Unban { target, .. } => performer.unban(*target, &around, shell),
            Job::Stop { .. } => left = performer.stop(&around, shell),
        }
        for trouble in std::mem::take(&mut performer.troubles) {
            let (jail, action) = key.clone();
            (self.tell)(Report::Failed { jail, action, verb: trouble.verb, target, what: trouble.what });
        }
        if left > 0 {
            let (jail, action) = key.clone();
            (self.tell)(Report::Left { jail, action, bans: left });
        }
        if matches!(job, Job::Stop { .. }) {
            self.performers.remove(&key);
            tracing::debug!(file = self.file, jail = %key.0, action = key.1, "action stopped");
        }
    }
}
