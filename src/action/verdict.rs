//! `ignorecommand`: a command is asked about an address before it is banned. Exit code 0: leave it alone. Asked in
//! threads of their own; the ban is made when the answer is no, or does not come in time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::definition::TIMEOUT_DEFAULT;
use super::queue::WorkQueue;
use super::script::{self, Script};
use super::shell::{Outcome, Shell, System};
use super::ticket::{Ticket, Value};
use crate::addr::Net;
use crate::jail::JailName;
use crate::sys::resolver;
use crate::time::Clock;

/// Commands asked at the same time.
const THREADS: usize = 4;

/// A jail's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreCommand {
    /// Shell text with the tags of a ban.
    pub command: String,
    pub cache: Option<IgnoreCache>,
}

/// `ignorecache`: answers that hold for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreCache {
    /// What an answer goes by, with the tags of a ban: `<ip>`.
    pub key: String,
    /// Answers; 0 keeps none.
    pub count_max: usize,
    pub time_max: Duration,
}

impl IgnoreCache {
    /// Reads fail2ban's form: `key="<ip>", max-count=100, max-time=5m`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<IgnoreCache, String> {
        let (_, options) = crate::fail2ban::options::extract(&format!("cache[{text}]"))?;
        let mut cache =
            IgnoreCache { key: String::new(), count_max: 100, time_max: Duration::from_secs(300) };
        for (name, value) in options {
            match name.as_str() {
                "key" => cache.key = value,
                "max-count" => {
                    cache.count_max =
                        value.parse().map_err(|_| format!("max-count {value:?} is no number"))?;
                }
                "max-time" => {
                    let seconds = crate::fail2ban::time::seconds(&value).filter(|seconds| *seconds >= 0.0);
                    let seconds = seconds.ok_or_else(|| format!("max-time {value:?} is no duration"))?;
                    cache.time_max = Duration::from_secs_f64(seconds.min(86_400.0 * 366.0));
                }
                other => {
                    return Err(format!("{other:?} is no option of it; there are: key, max-count, max-time"));
                }
            }
        }
        if cache.key.is_empty() {
            Err("it names no key; example: key=\"<ip>\"".to_owned())
        } else {
            Ok(cache)
        }
    }
}

/// What was answered, or why nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub jail: JailName,
    pub target: Net,
    pub ignore: bool,
    /// The command failed; for a person.
    pub trouble: Option<String>,
    /// Where the answer is kept.
    key: Option<(JailName, Script)>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It was answered before: whether to ignore.
    Known(bool),
    /// The answer comes as a [`Verdict`].
    Waiting,
    /// Too many questions wait: nobody is asked.
    Full,
}

struct Question {
    jail: JailName,
    command: Arc<IgnoreCommand>,
    ticket: Ticket,
    key: Option<(JailName, Script)>,
}

/// Asks, and remembers answers.
pub struct Verdicts {
    queue: Arc<WorkQueue<Question>>,
    threads: Vec<JoinHandle<()>>,
    queue_max: usize,
    clock: Arc<dyn Clock>,
    tell: Arc<dyn Fn(Verdict) + Send + Sync>,
    pending: HashSet<(JailName, Net)>,
    answers: Answers,
}

impl Verdicts {
    /// `tell` is called from other threads. Threads are started with the first question.
    pub fn new(
        queue_max: usize,
        clock: Arc<dyn Clock>,
        tell: impl Fn(Verdict) + Send + Sync + 'static,
    ) -> Verdicts {
        Verdicts {
            queue: Arc::default(),
            threads: Vec::new(),
            queue_max,
            clock,
            tell: Arc::new(tell),
            pending: HashSet::new(),
            answers: Answers::default(),
        }
    }

    /// Asks `command` about the ban that `ticket` would be.
    pub fn ask(&mut self, jail: &JailName, command: &Arc<IgnoreCommand>, ticket: Ticket) -> Asked {
        let place = (jail.clone(), ticket.target);
        if self.pending.contains(&place) {
            return Asked::Waiting;
        }
        let key = command.cache.as_ref().map(|cache| {
            // Not by the name of an address: the resolver is not asked on the caller's time.
            let key = script::dynamic(&cache.key, |tag| ticket.value(jail.as_str(), tag));
            (jail.clone(), key)
        });
        let now = self.clock.monotonic();
        if let (Some(key), Some(cache)) = (&key, &command.cache)
            && let Some(ignore) = self.answers.find(key, now, cache.time_max)
        {
            return Asked::Known(ignore);
        }
        while self.threads.len() < THREADS {
            let worker =
                Worker { queue: self.queue.clone(), clock: self.clock.clone(), tell: self.tell.clone() };
            let started =
                std::thread::Builder::new().name("ignorecommand".to_owned()).spawn(move || worker.run());
            match started {
                Ok(thread) => self.threads.push(thread),
                Err(_) if self.threads.is_empty() => return Asked::Full,
                Err(_) => break,
            }
        }
        let question = Question { jail: jail.clone(), command: command.clone(), ticket, key };
        if !self.queue.push(question, self.queue_max) {
            return Asked::Full;
        }
        self.pending.insert(place);
        Asked::Waiting
    }

    /// Takes note of an answer; `command` is what the jail asks by now.
    pub fn settle(&mut self, verdict: &Verdict, command: Option<&IgnoreCommand>) {
        self.pending.remove(&(verdict.jail.clone(), verdict.target));
        if let Some(cache) = command.and_then(|command| command.cache.as_ref())
            && let Some(key) = &verdict.key
        {
            self.answers.put(key.clone(), verdict.ignore, self.clock.monotonic(), cache);
        }
    }

    /// Kills what is being asked and asks no more.
    pub fn close(&mut self) {
        self.queue.give_up();
        self.queue.close(VecDeque::clear);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn value(jail: &JailName, ticket: &Ticket, tag: &str) -> Option<Value> {
    match tag {
        "br" => Some(Value::Foreign(b"\n".to_vec())),
        "sp" => Some(Value::Foreign(b" ".to_vec())),
        "ip-host" => {
            let name = resolver::name_of(ticket.target.base().ip()).unwrap_or_default();
            Some(Value::Foreign(name.into_bytes()))
        }
        tag => ticket.value(jail.as_str(), tag),
    }
}

struct Worker {
    queue: Arc<WorkQueue<Question>>,
    clock: Arc<dyn Clock>,
    tell: Arc<dyn Fn(Verdict) + Send + Sync>,
}

impl Worker {
    fn run(self) {
        while let Some(Question { jail, command, ticket, key }) = self.queue.next() {
            let script = script::dynamic(&command.command, |tag| value(&jail, &ticket, tag));
            let give_up = || self.queue.is_given_up();
            let outcome = System { clock: &*self.clock, give_up: &give_up }.run(&script, TIMEOUT_DEFAULT);
            let (ignore, trouble) = match outcome {
                Outcome::Good => (true, None),
                Outcome::Failed(1, _) => (false, None),
                Outcome::Abandoned => return,
                other => (false, Some(other.to_string())),
            };
            (self.tell)(Verdict { jail, target: ticket.target, ignore, trouble, key });
        }
    }
}

/// Answers by their key, the oldest going first.
#[derive(Debug, Default)]
struct Answers {
    known: HashMap<(JailName, Script), (bool, Duration)>,
    order: VecDeque<(JailName, Script)>,
}

impl Answers {
    fn find(&self, key: &(JailName, Script), now: Duration, time_max: Duration) -> Option<bool> {
        let (ignore, at) = self.known.get(key)?;
        (now.saturating_sub(*at) < time_max).then_some(*ignore)
    }

    fn put(&mut self, key: (JailName, Script), ignore: bool, now: Duration, cache: &IgnoreCache) {
        if self.known.insert(key.clone(), (ignore, now)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > cache.count_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
