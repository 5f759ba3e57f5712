//! Tailing real files under a real inotify.

mod cases;
mod model;
mod restarts;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::limits::Limits;
use crate::time::Timestamp;

/// A folder with logs, a tailer on them, and a store that keeps what came with each block.
struct Rig {
    dir: tempfile::TempDir,
    limits: Limits,
    tailer: Tailer,
    patterns: Vec<String>,
    now: Timestamp,
    stored: HashMap<PathBuf, Position>,
    /// Lines in the order they came, with their log's name.
    got: Vec<(String, String)>,
    live: Vec<bool>,
    errors: Vec<String>,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Limits::default())
    }

    fn with(limits: Limits) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let tailer = Tailer::new(&limits).unwrap();
        Rig {
            dir,
            limits,
            tailer,
            patterns: Vec::new(),
            now: Timestamp::from_secs(1_000_000),
            stored: HashMap::new(),
            got: Vec::new(),
            live: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn follow(&mut self, pattern: &str) -> Vec<LogId> {
        let pattern = self.path(pattern).to_str().unwrap().to_owned();
        self.patterns.push(pattern.clone());
        self.add(&pattern)
    }

    fn add(&mut self, pattern: &str) -> Vec<LogId> {
        let start = Start {
            now: self.now,
            stored: &self.stored,
            look_back: Duration::from_secs(600),
            line_date: Arc::new(line_date),
        };
        self.tailer.add(pattern, &start)
    }

    /// Stops as a crash does: nothing is stored that was not stored with a block.
    fn stop(&mut self) {
        self.tailer = Tailer::new(&self.limits).unwrap();
    }

    fn start(&mut self) {
        for pattern in self.patterns.clone() {
            self.add(&pattern);
        }
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// What the engine does when the events' descriptor is readable.
    fn pump(&mut self) {
        self.tailer.on_events(self.now);
        while self.block() {}
    }

    fn sweep(&mut self) {
        self.now = self.now.plus(Duration::from_secs(2));
        self.tailer.sweep(self.now);
        while self.block() {}
    }

    fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(Duration::from_secs(secs));
        self.sweep();
    }

    fn block(&mut self) -> bool {
        let Some(block) = self.tailer.next_block() else { return false };
        match block {
            Err(error) => self.errors.push(error.to_string()),
            Ok(block) => {
                assert!(block.bytes.is_empty() || block.bytes.ends_with(b"\n"));
                let name = block.path.file_name().unwrap().to_str().unwrap().to_owned();
                for line in block.bytes.split_inclusive(|byte| *byte == b'\n') {
                    assert!(line.len() <= self.limits.line_bytes_max + 1);
                    let line = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
                    self.got.push((name.clone(), line));
                    self.live.push(block.live);
                }
                let (log, path) = (block.log, block.path.to_path_buf());
                self.stored.insert(path, self.tailer.position(log).unwrap());
            }
        }
        true
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text.as_bytes());
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn link(&self, target: &str, link: &str) {
        let new = self.path("link.new");
        std::os::unix::fs::symlink(target, &new).unwrap();
        fs::rename(new, self.path(link)).unwrap();
    }

    /// As logrotate does it.
    fn copytruncate(&self, name: &str, copy: &str) {
        fs::copy(self.path(name), self.path(copy)).unwrap();
        OpenOptions::new().write(true).truncate(true).open(self.path(name)).unwrap();
    }

    fn gzip(&self, name: &str) {
        let path = self.path(name);
        let packed = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&fs::read(&path).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(path).unwrap();
    }

    fn lines(&self) -> Vec<&str> {
        self.got.iter().map(|(_, line)| line.as_str()).collect()
    }

    /// The lines since this was asked last.
    fn take(&mut self) -> Vec<String> {
        self.live.clear();
        self.got.drain(..).map(|(_, line)| line).collect()
    }

    fn state(&self, name: &str) -> LogState {
        let path = self.path(name).display().to_string();
        self.tailer.status().into_iter().find(|status| status.path == path).unwrap().state
    }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// `@SECONDS text`.
fn line_date(line: &[u8]) -> Option<Timestamp> {
    let digits = std::str::from_utf8(line.strip_prefix(b"@")?).ok()?;
    digits.split(' ').next()?.parse().ok().map(Timestamp::from_secs)
}
