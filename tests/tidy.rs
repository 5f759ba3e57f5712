//! The structure, held by a test: which module may name which, and what the tree may not contain.

use std::fs;
use std::path::{Path, PathBuf};

/// A stage and the modules of this crate it may use, beside itself, `addr`, `time` and `limits`.
const ARROWS: &[(&str, &[&str])] = &[
    ("addr", &[]),
    ("time", &[]),
    ("limits", &[]),
    ("sys", &[]),
    ("source", &["sys"]),
    ("filter", &["config"]),
    ("jail", &["filter"]),
    ("action", &["fail2ban", "filter", "jail", "sys"]),
    ("firewall", &["jail", "sys"]),
    ("store", &["source", "filter", "jail", "sys"]),
];

/// What of `sys` only computes: a stage that may do no I/O may use it.
const COMPUTES: &[&str] = &["sys::simd::"];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The text without its tests: what is tested together need not be coupled.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

#[test]
fn a_stage_names_only_the_stages_before_it() {
    let mut wrong = Vec::new();
    for (stage, allowed) in ARROWS {
        let folder = source_root().join(stage);
        let files = if folder.is_dir() {
            rust_files(&folder)
        } else {
            vec![source_root().join(format!("{stage}.rs"))]
        };
        for file in files.iter().filter(|file| file.file_name().unwrap() != "contract.rs") {
            for (number, line) in code(file).lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                for part in line.split("crate::").skip(1) {
                    if COMPUTES.iter().any(|computes| part.starts_with(computes)) {
                        continue;
                    }
                    let named: String =
                        part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                    let common = ["addr", "time", "limits", stage];
                    let module = source_root().join(&named).is_dir();
                    if module && !common.contains(&named.as_str()) && !allowed.contains(&named.as_str()) {
                        wrong.push(format!("{}:{}: {stage} names {named}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_lives_in_sys_and_says_why_it_is_safe() {
    for file in rust_files(&source_root()) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") || !(code.contains("unsafe {") || code.starts_with("unsafe impl")) {
                continue;
            }
            assert!(file.starts_with(source_root().join("sys")), "{}:{}", file.display(), index + 1);
            let said = (index.saturating_sub(12)..=index).any(|at| lines[at].contains("SAFETY:"));
            assert!(said, "{}:{}: no SAFETY line", file.display(), index + 1);
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for file in rust_files(&source_root()) {
        let text = code(&file);
        for word in ["todo!(", "unimplemented!(", "FIXME", "XXX"] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}
