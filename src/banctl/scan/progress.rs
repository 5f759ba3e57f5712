//! How far a long scan has come: a bar on stderr, if that is a terminal.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::time::{Clock, SystemClock};

/// Work that is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Progress {
    clock: SystemClock,
    wanted: bool,
    /// Bytes on the disk of all logs together, where they are known.
    total: Option<u64>,
    /// Bytes of the logs that are done.
    done: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `prints`: JSON lines come out meanwhile. On one terminal they and a bar would write over each other.
    pub fn new(logs: &[PathBuf], prints: bool) -> Progress {
        let wanted = std::io::stderr().is_terminal() && !(prints && std::io::stdout().is_terminal());
        let size = |log: &PathBuf| {
            let meta = std::fs::metadata(log).ok()?;
            meta.is_file().then_some(meta.len())
        };
        let total = if wanted { logs.iter().map(size).sum() } else { None };
        Progress { clock: SystemClock::new(), wanted, total, done: 0, bar: None }
    }

    /// `read`: bytes of the present log.
    pub fn tick(&mut self, read: u64) {
        if !self.wanted {
            return;
        }
        if self.bar.is_none() && self.clock.monotonic() >= PATIENCE {
            let bar = match self.total {
                Some(total) => ProgressBar::new(total).with_style(
                    ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left")
                        .expect("the template is sound"),
                ),
                None => ProgressBar::new_spinner().with_style(
                    ProgressStyle::with_template("{spinner} {bytes} read").expect("the template is sound"),
                ),
            };
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
            self.bar = Some(bar.with_elapsed(self.clock.monotonic()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done + read);
        }
    }

    /// A log is done; `read`: its bytes.
    pub fn log_done(&mut self, read: u64) {
        self.done += read;
        self.tick(0);
    }

    /// Shows `message` without tearing the bar.
    pub fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None => eprintln!("{message}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Since the scan began.
    pub fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }
}
