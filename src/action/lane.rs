//! A queue and the thread that works it off. All actions of one file share a lane, so that no two of them edit the
//! same thing at the same time; different files do not wait for each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::definition::{Definition, Verb};
use super::performer::{Around, Performer};
use super::queue::WorkQueue;
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

pub(super) struct Lane {
    queue: Arc<WorkQueue<Job>>,
    thread: Option<JoinHandle<()>>,
    queue_max: usize,
}

impl Lane {
    /// `queue_max`: jobs beyond which bans are left out.
    pub fn start(file: &str, queue_max: usize, clock: Arc<dyn Clock>, tell: Tell) -> std::io::Result<Lane> {
        let queue = Arc::new(WorkQueue::default());
        let theirs = queue.clone();
        let file = file.to_owned();
        let thread = std::thread::Builder::new()
            .name("action".to_owned())
            .spawn(move || Worker { file, queue: theirs, clock, tell, performers: BTreeMap::new() }.run())?;
        Ok(Lane { queue, thread: Some(thread), queue_max })
    }

    /// Appends. False: a ban, and the queue is full. Everything else is bounded by the bans that were taken.
    pub fn post(&self, job: Job) -> bool {
        let max = if matches!(job, Job::Ban { .. }) { self.queue_max } else { usize::MAX };
        self.queue.push(job, max)
    }

    /// Whether this overflow is still to be told.
    pub fn overflow_is_new(&self) -> bool {
        self.queue.overflow_is_new()
    }

    /// The thread ends when all that waits is done.
    pub fn finish(&self) {
        self.queue.close(|_| {});
    }

    /// Bans that wait are forgotten; those of `actions` are lifted, and the thread ends when all is done.
    pub fn close(&self, actions: impl Iterator<Item = Key>) {
        self.queue.close(|jobs| {
            jobs.retain(|job| !matches!(job, Job::Ban { .. }));
            jobs.extend(actions.map(|key| Job::Stop { key }));
        });
    }

    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Kills what runs and lets nothing further start.
    pub fn give_up(&self) {
        self.queue.give_up();
    }

    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    file: String,
    queue: Arc<WorkQueue<Job>>,
    clock: Arc<dyn Clock>,
    tell: Tell,
    performers: BTreeMap<Key, (Performer, i64)>,
}

impl Worker {
    fn run(mut self) {
        let names = resolver::host_names();
        let names = HostNames { full: names.0, short: names.1 };
        while let Some(job) = self.queue.next() {
            self.work(job, &names);
        }
    }

    fn work(&mut self, job: Job, names: &HostNames) {
        let give_up = || self.queue.is_given_up();
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
