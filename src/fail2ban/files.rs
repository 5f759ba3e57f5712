//! Which files make one configuration, in which order, and what they come to.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ini::{self, Ini, Options};
use super::section::Config;
use crate::config::report::{ReportedError, SourceText};
use crate::text::io_reason;

/// A file beyond this is none. Bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// More files than this in one configuration are a tangle of includes. Files.
const FILES_MAX: usize = 1000;
/// Includes within includes.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Reads configurations below one folder; a file is parsed once.
#[derive(Debug)]
pub struct Files {
    base: PathBuf,
    parsed: HashMap<PathBuf, Option<Arc<Ini>>>,
    /// Files that are passed over, as fail2ban does, with the reason.
    pub skipped: Vec<ReportedError>,
    /// Patterns that are lost as comments; fail2ban takes them as such without a word.
    pub lost_patterns: Vec<ReportedError>,
}

impl Files {
    pub fn new(base: &Path) -> Files {
        Files {
            base: base.to_owned(),
            parsed: HashMap::new(),
            skipped: Vec::new(),
            lost_patterns: Vec::new(),
        }
    }

    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The configuration `name` (`jail`, `filter.d/sshd`) of `NAME.conf`, `NAME.d/*.conf`, `NAME.local`,
    /// `NAME.d/*.local` and all that they include; `None` if there is no such file.
    ///
    /// # Errors
    /// A file that fail2ban cannot parse: it then refuses everything.
    pub fn read(&mut self, name: &str) -> Result<Option<Config>, ReportedError> {
        let base = self.base.join(name);
        let with = |suffix: &str| {
            let mut path = base.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let mut first = Vec::new();
        for suffix in ["conf", "local"] {
            first.extend(Some(with(&format!(".{suffix}"))).filter(|path| path.is_file()));
            first.extend(in_folder(&with(".d"), suffix));
        }
        if first.is_empty() {
            return Ok(None);
        }
        let mut order = Vec::new();
        self.expand(&first, &mut Vec::new(), &mut order)?;
        let mut config = Config::default();
        let mut any = false;
        for path in order {
            if let Some(ini) = self.parse(&path)? {
                any = true;
                config.layer(&ini);
            }
        }
        Ok(any.then_some(config))
    }

    /// Adds `paths`, their `.local` siblings and what they include to `order`; `chain`: the files that led here.
    fn expand(
        &mut self,
        paths: &[PathBuf],
        chain: &mut Vec<PathBuf>,
        order: &mut Vec<PathBuf>,
    ) -> Result<(), ReportedError> {
        let mut all: Vec<PathBuf> = Vec::new();
        for path in paths {
            all.push(path.clone());
            let local = path.with_extension("local");
            if !paths.contains(&local) && !all.contains(&local) && local.is_file() {
                all.push(local);
            }
        }
        for path in all {
            let Some(ini) = self.parse(&path)? else { continue };
            if chain.len() > INCLUDE_DEPTH_MAX || order.len() > FILES_MAX {
                let label = path.display().to_string();
                return Err(ReportedError::of_file(label, "too many includes lead here"));
            }
            let (before, after) = includes(&ini, path.parent().unwrap_or(Path::new("")));
            for (list, own) in [(before, false), (Vec::new(), true), (after, false)] {
                if own {
                    order.push(path.clone());
                    continue;
                }
                for included in list {
                    if !chain.contains(&included) {
                        chain.push(path.clone());
                        self.expand(&[included], chain, order)?;
                        chain.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn parse(&mut self, path: &Path) -> Result<Option<Arc<Ini>>, ReportedError> {
        if let Some(known) = self.parsed.get(path) {
            return Ok(known.clone());
        }
        let ini = match self.text(path) {
            Ok(None) => None,
            Ok(Some(source)) => Some(Arc::new(ini::parse(&source)?)),
            Err(error) => {
                self.skipped.push(error);
                None
            }
        };
        let lost = ini.iter().flat_map(|ini| &ini.lost_patterns);
        self.lost_patterns.extend(lost.map(|at| {
            at.error("this pattern begins with ; and is a comment; write [;] or \\b in front of it if it is to match")
        }));
        self.parsed.insert(path.to_owned(), ini.clone());
        Ok(ini)
    }

    fn text(&self, path: &Path) -> Result<Option<SourceText>, ReportedError> {
        let label = path.display().to_string();
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReportedError::of_file(label, io_reason(&error))),
            Ok(meta) if !meta.is_file() => return Ok(None),
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                return Err(ReportedError::of_file(label, format!("longer than {FILE_BYTES_MAX} bytes")));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(path).map_err(|error| ReportedError::of_file(&label, io_reason(&error)))?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                // As Python reads text: every line end is a newline.
                let text =
                    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text };
                Ok(Some(SourceText::new(label, text)))
            }
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let message =
                    "not UTF-8: fail2ban passes over the whole file, and so does this; save it as UTF-8";
                Err(SourceText::new(label, text).error(good..good + 3, message))
            }
        }
    }
}

/// `folder/*.SUFFIX`, sorted.
fn in_folder(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            !name.starts_with('.') && name.ends_with(&format!(".{suffix}")) && path.exists()
        })
        .collect();
    found.sort();
    found
}

/// `[INCLUDES]` of a file in `folder`.
fn includes(ini: &Ini, folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let none = Options::new();
    let section = ini.sections.iter().find(|(name, _)| name == "INCLUDES").map_or(&none, |(_, o)| o);
    let list = |option: &str| -> Vec<PathBuf> {
        let text = section.get(option).map_or("", |value| value.text.as_str());
        text.lines().filter(|line| !line.is_empty()).map(|line| folder.join(line)).collect()
    };
    (list("before"), list("after"))
}

impl Config {
    /// Lays one more file over what was read: option by option; what is overridden stays known.
    fn layer(&mut self, ini: &Ini) {
        self.defaults.extend(ini.defaults.clone());
        for (name, options) in &ini.sections {
            let (name, options) = match name.split_once('?') {
                // [Init?family=inet6]: a variant of every option in it.
                Some((plain, condition)) if !plain.is_empty() && plain.chars().all(is_word) => {
                    (plain, options.iter().map(|(k, v)| (format!("{k}?{condition}"), v.clone())).collect())
                }
                _ => (name.as_str(), options.clone()),
            };
            if !self.sections.contains_key(name) {
                self.order.push(name.to_owned());
            }
            let section = self.sections.entry(name.to_owned()).or_default();
            let old: BTreeMap<_, _> = options
                .keys()
                .filter_map(|option| Some((option.clone(), section.get(option)?.clone())))
                .collect();
            section.extend(options);
            if !old.is_empty() {
                self.known.entry(name.to_owned()).or_default().extend(old);
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
