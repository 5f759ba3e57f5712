//! `-d` and `-t`: the commands that a fail2ban configuration amounts to, and whether it is good.

use std::path::{Path, PathBuf};

use super::command_line::CommandLine;
use super::facade::{Silent, fail, log, print};
use super::value::Value;
use crate::fail2ban::jail::Jail;
use crate::fail2ban::main_conf::Main;
use crate::fail2ban::note::{Kind, Note};
use crate::fail2ban::reader::{self, words};

/// Options of a jail that are no command of their own.
const SILENT: &[&str] =
    &["action", "filter", "enabled", "backend", "skip_if_nologs", "systemd_if_nologs", "logpath"];

/// Does what `-d`, `--dp` and `-t` ask for with the configuration in `folder`.
pub fn run(folder: &Path, line: &CommandLine) -> Result<(), Silent> {
    let mut notes = Vec::new();
    let read = Main::read(folder, &mut notes).and_then(|main| Ok((main, reader::read(folder)?)));
    let (main, import) = read.map_err(|error| fail(&format!("Failed during configuration: {error}")))?;
    notes.extend(import.notes);
    let refused: Vec<&Note> = notes.iter().filter(|note| note.kind == Kind::Refused).collect();
    for note in &refused {
        log("ERROR", &note.line());
    }
    if line.dump || line.dump_pretty {
        let globbed = |pattern: &str| globbed(pattern);
        for command in stream(&main, &import.jails, &globbed) {
            print(&Value::List(command).repr())?;
        }
    }
    if line.test {
        if !refused.is_empty() {
            return Err(fail("ERROR: test configuration failed"));
        }
        if line.words.is_empty() {
            print("OK: configuration test is successful")?;
        }
    }
    Ok(())
}

/// The log files of a pattern that are there, in order.
fn globbed(pattern: &str) -> Vec<String> {
    let paths = glob::glob(pattern).into_iter().flatten().filter_map(Result::ok);
    let here: Vec<PathBuf> = paths.filter(|path| path.exists()).collect();
    here.iter().map(|path| path.display().to_string()).collect()
}

fn command(words: &[&str], value: Value) -> Vec<Value> {
    words.iter().map(|word| Value::text(*word)).chain([value]).collect()
}

/// The commands by which fail2ban's client would set its server up, in its order. `globbed`: the files of a log
/// path.
fn stream(main: &Main, jails: &[Jail], globbed: &dyn Fn(&str) -> Vec<String>) -> Vec<Vec<Value>> {
    let set = |name: &str, value: &str| command(&["set", name], Value::text(value));
    let mut all = vec![
        set("syslogsocket", &main.syslog_socket),
        set("loglevel", &main.log_level),
        set("logtarget", &main.log_target),
        set("allowipv6", &main.allow_ipv6),
        set("dbfile", &main.db_file),
        command(&["set", "dbmaxmatches"], Value::Int(main.db_max_matches.into())),
        command(&["set", "dbpurgeage"], Value::text(&main.db_purge_age_text)),
    ];
    for jail in jails {
        jail_commands(jail, globbed, &mut all);
    }
    all.extend(jails.iter().map(|jail| command(&["start"], Value::text(&jail.name))));
    all
}

fn jail_commands(jail: &Jail, globbed: &dyn Fn(&str) -> Vec<String>, all: &mut Vec<Vec<Value>>) {
    let name = jail.name.as_str();
    all.push(command(&["add", name], Value::text(&jail.backend)));
    let mut commands = filter_commands(name, &jail.said.filter);
    // The jail's own filter options go before what its filter said already.
    insert_own(name, &jail.said.jail, &mut commands);
    for (option, value) in &jail.said.jail {
        match option.as_str() {
            "ignoreip" => {
                let entries = value.split([' ', ',', '\n', '\t']).filter(|entry| !entry.is_empty());
                let head = ["set", name, "addignoreip"].into_iter();
                commands.push(head.chain(entries).map(Value::text).collect());
            }
            option if SILENT.contains(&option) || FILTER.contains(&option) => {}
            option => commands.push(command(&["set", name, option], typed(option, value))),
        }
    }
    if !jail.backend.starts_with("systemd") {
        for pattern in &jail.log_paths {
            let end = if jail.log_tail.contains(pattern) { "tail" } else { "head" };
            for path in globbed(pattern) {
                commands.push(["set", name, "addlogpath", &path, end].map(Value::text).into());
            }
        }
    }
    all.append(&mut commands);
    for (action, options) in &jail.said.actions {
        all.push(command(&["set", name, "addaction"], Value::text(action)));
        let pair =
            |(option, value): &(String, String)| Value::List(vec![Value::text(option), typed(option, value)]);
        let mut pairs: Vec<Value> = options.iter().map(pair).collect();
        match pairs.len() {
            0 => {}
            1 => {
                let mut one = command(&["set", name, "action"], Value::text(action));
                one.extend(pairs.remove(0).entries().unwrap_or_default().iter().cloned());
                all.push(one);
            }
            _ => {
                let mut many = command(&["multi-set", name, "action"], Value::text(action));
                many.push(Value::List(pairs));
                all.push(many);
            }
        }
    }
}

/// The options of a filter.
const FILTER: &[&str] = reader::FILTER_OPTIONS;

fn filter_commands(jail: &str, options: &[(String, String)]) -> Vec<Vec<Value>> {
    let mut commands = Vec::new();
    insert_own(jail, options, &mut commands);
    commands
}

/// Puts filter options to `commands`: those that all patterns depend on before them.
fn insert_own(jail: &str, options: &[(String, String)], commands: &mut Vec<Vec<Value>>) {
    let mut first = 0;
    for (option, value) in options {
        match option.as_str() {
            "failregex" | "ignoreregex" => {
                let mut patterns: Vec<&str> = value.split('\n').filter(|line| !line.is_empty()).collect();
                let add = format!("add{option}");
                match patterns.len() {
                    0 => {}
                    1 => commands.push(command(&["set", jail, &add], Value::text(patterns.remove(0)))),
                    _ => commands.push(command(&["multi-set", jail, &add], Value::texts(patterns))),
                }
            }
            "usedns" | "maxlines" | "prefregex" => {
                let place = if option == "usedns" { 0 } else { first };
                commands.insert(place, command(&["set", jail, option], typed(option, value)));
                first += 1;
            }
            "datepattern" => commands.push(command(&["set", jail, option], Value::text(value))),
            "journalmatch" => {
                for line in value.split('\n').filter(|line| !line.is_empty()) {
                    let head = ["set", jail, "addjournalmatch"].into_iter().map(Value::text);
                    commands.push(head.chain(words(line).into_iter().map(Value::Text)).collect());
                }
            }
            _ => {}
        }
    }
}

/// A value as Python holds it: numbers and switches are no texts.
fn typed(option: &str, value: &str) -> Value {
    if reader::SWITCHES.contains(&option) {
        return Value::Bool(reader::is_true(value));
    }
    let number = reader::NUMBERS.contains(&option).then(|| value.trim().parse().ok()).flatten();
    number.map_or_else(|| Value::text(value), Value::Int)
}
