//! A `logpath`: one path, or a glob.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::lookback::LineDate;

/// As shells match: `*` matches neither `/` nor a leading dot, so that a program's `.mail.log.tmp` is no log.
const RULES: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

pub struct Pattern {
    pub text: String,
    /// `None`: the text is a path.
    glob: Option<glob::Pattern>,
    /// Where to begin in a log of it that was never read.
    pub look_back: Option<(Duration, LineDate)>,
}

impl Pattern {
    /// # Errors
    /// Why the text is no pattern.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("a path has at least one byte, and none that is NUL".to_owned());
        }
        let wild = text.contains(['*', '?', '[']);
        // A file may well be named with brackets.
        let glob = if wild && fs::symlink_metadata(text).is_err() {
            Some(glob::Pattern::new(text).map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Pattern { text: text.to_owned(), glob, look_back: None })
    }

    pub fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    pub fn matches(&self, path: &Path) -> bool {
        match &self.glob {
            Some(glob) => glob.matches_path_with(path, RULES),
            None => Path::new(&self.text) == path,
        }
    }

    /// The paths it matches now, shorter ones first: a log comes before its rotated files.
    pub fn expand(&self) -> Vec<PathBuf> {
        if self.glob.is_none() {
            return vec![PathBuf::from(&self.text)];
        }
        let mut paths = expand(&self.text);
        paths.sort_by(|left, right| (left.as_os_str().len(), left).cmp(&(right.as_os_str().len(), right)));
        paths
    }

    /// Whether a directory in it is a pattern.
    pub fn has_dir_wildcards(&self) -> bool {
        self.is_glob() && self.dir_patterns().len() > 1
    }

    /// Whether one watched directory tells of all that it may come to match.
    pub fn is_told_all(&self) -> bool {
        !self.is_glob() || (!self.text.contains("**") && !self.has_dir_wildcards())
    }

    /// The directories in which a file or directory that it matches may appear.
    pub fn dirs(&self) -> Vec<PathBuf> {
        if self.glob.is_none() {
            return Vec::new();
        }
        let mut dirs = Vec::new();
        for (index, pattern) in self.dir_patterns().into_iter().enumerate() {
            match index {
                0 => dirs.push(pattern),
                _ => {
                    dirs.extend(pattern.to_str().map(expand).into_iter().flatten().filter(|dir| dir.is_dir()))
                }
            }
        }
        dirs
    }

    /// The directory before the first wildcard, then that with one component more, and so on to the file's
    /// directory. `**` stops it: below that the sweep has to find what appears.
    fn dir_patterns(&self) -> Vec<PathBuf> {
        let Some(parent) = Path::new(&self.text).parent() else { return Vec::new() };
        let mut patterns = Vec::new();
        let mut path = PathBuf::new();
        let mut literal = true;
        for component in parent.components() {
            let wild = matches!(component, Component::Normal(name)
                if name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte)));
            if wild && literal {
                patterns.push(path.clone());
                literal = false;
            }
            if component.as_os_str() == "**" {
                return patterns;
            }
            path.push(component);
            if !literal {
                patterns.push(path.clone());
            }
        }
        if literal {
            patterns.push(path);
        }
        patterns
    }
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    // Directories that cannot be read are passed over: the sweep asks again.
    glob::glob_with(pattern, RULES).map(|paths| paths.flatten().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_of_a_glob_are_those_where_a_match_may_appear() {
        let dirs = |text: &str| Pattern::new(text).unwrap().dir_patterns();
        assert_eq!(dirs("/var/log/mail.d/*.log"), [PathBuf::from("/var/log/mail.d")]);
        assert_eq!(dirs("/srv/*/log/mail*"), ["/srv", "/srv/*", "/srv/*/log"].map(PathBuf::from));
        assert_eq!(dirs("/srv/**/mail.log"), [PathBuf::from("/srv")]);
        assert_eq!(dirs("*.log"), [PathBuf::from("")]);
    }

    #[test]
    fn a_pattern_of_directories_is_not_told_all() {
        let told = |text: &str| Pattern::new(text).unwrap().is_told_all();
        assert!(told("/var/log/mail.log") && told("/var/log/*.log"));
        assert!(!told("/srv/*/mail.log") && !told("/srv/**/mail.log"));
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        let glob = Pattern::new("/var/log/*.log").unwrap();
        assert!(glob.matches(Path::new("/var/log/mail.log")));
        assert!(!glob.matches(Path::new("/var/log/.mail.log")));
        assert!(!glob.matches(Path::new("/var/log/a/mail.log")));
        assert!(Pattern::new("/var/log/[").is_err());
        assert!(Pattern::new("").is_err());
    }
}
