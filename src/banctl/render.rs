//! Answers as text, made to be read out on the telephone.

use std::fmt::Write;

use super::table::{Cell, Look, Table, Tone, cell};
use crate::control::protocol::{
    AllowAnswer, AllowEntry, BanAnswer, BanInfo, Banned, ErrorBody, JailInfo, JailReport, JailState,
    Overview, Pong, ReloadReport, TargetKind, TargetStatus, Unbanned, WhyReport,
};
use crate::filter::Outcome;
use crate::source::LogState;
use crate::text::{count, escape};
use crate::time::show_duration;

fn safe(text: &str) -> String {
    escape(text.as_bytes())
}

/// `message; help`.
pub fn error(error: &ErrorBody) -> String {
    match &error.help {
        Some(help) => format!("{}; {}", safe(&error.message), safe(help)),
        None => safe(&error.message),
    }
}

pub fn overview(look: Look, all: &Overview) -> String {
    let firewall = safe(&all.firewall);
    let step = match (all.shadow, all.in_step) {
        (true, _) => look.paint(Tone::Warn, "nothing is enforced"),
        (false, true) => look.paint(Tone::Good, "in step"),
        (false, false) => look.paint(Tone::Bad, "NOT in step: bans are missing in the kernel"),
    };
    let up = show_duration(std::time::Duration::from_secs(all.uptime));
    let mut out = format!("portero {}, up {up}; firewall {firewall}: {step}\n", safe(&all.version));
    let sum = |of: fn(&JailInfo) -> u64| all.jails.iter().map(of).sum::<u64>();
    let _ = writeln!(
        out,
        "{}, {} in force, {} with failures on record\n",
        count(all.jails.len() as u64, "jail", "jails"),
        count(sum(|jail| jail.banned), "ban", "bans"),
        count(sum(|jail| jail.tracked), "address", "addresses"),
    );
    let mut table = Table::new(&["JAIL", "STATE", "BANNED", "EVER", "FAILURES", "TRACKED", "LOGS"]);
    for jail in &all.jails {
        table.row(vec![
            cell(&jail.name, Tone::Bold),
            state(jail.state),
            jail.banned.into(),
            jail.banned_total.into(),
            jail.failures.into(),
            jail.tracked.into(),
            logs(jail).into(),
        ]);
    }
    if !table.is_empty() {
        out.push_str(&table.show(look, ""));
    }
    let problems = all.jails.iter().filter_map(|jail| Some((jail.name.as_str(), jail.problem.as_ref()?)));
    for (jail, problem) in problems {
        let _ =
            write!(out, "\n{}\n{}", look.paint(Tone::Bad, &format!("{}:", safe(jail))), indented(problem));
    }
    for (jail, warning) in all.jails.iter().filter_map(|jail| Some((&jail.name, jail.warning.as_ref()?))) {
        let _ =
            write!(out, "\n{}", look.paint(Tone::Warn, &format!("jail {}: {}", safe(jail), lines(warning))));
    }
    for problem in &all.problems {
        let _ = write!(out, "\n{}", look.paint(Tone::Bad, &lines(problem)));
    }
    for note in &all.notes {
        let _ = write!(out, "\n{}", look.paint(Tone::Warn, &lines(note)));
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Text of several lines, each of them made harmless.
fn lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {}\n", safe(line))).collect()
}

fn state(state: JailState) -> Cell {
    match state {
        JailState::Guarding => cell("guarding", Tone::Good),
        JailState::Waiting => cell("waiting", Tone::Warn),
        JailState::Broken => cell("broken", Tone::Bad),
        JailState::Outdated => cell("outdated", Tone::Warn),
    }
}

/// The first log and how many more; what is missing or lags is said.
fn logs(jail: &JailInfo) -> String {
    let mut texts: Vec<String> = Vec::new();
    for log in jail.logs.iter().take(2) {
        texts.push(match log.state {
            LogState::Missing => format!("{} (missing)", log.path),
            LogState::Unreadable => format!("{} (unreadable)", log.path),
            LogState::Open if log.lag_bytes > 1 << 20 => {
                format!("{} ({} MiB behind)", log.path, log.lag_bytes >> 20)
            }
            LogState::Open => log.path.clone(),
        });
    }
    if jail.logs.len() > 2 {
        texts.push(format!("and {} more", jail.logs.len() - 2));
    }
    texts.join(", ")
}

/// A table of bans in force.
pub fn bans(look: Look, bans: &[BanInfo], indent: &str) -> String {
    let over = bans.iter().any(|ban| ban.ended.is_some());
    let heading = if over { "ENDED" } else { "UNTIL" };
    let mut table = Table::new(&["TARGET", "JAIL", "SINCE", heading, "FAILURES", "NOTE"]);
    for ban in bans {
        let end = match &ban.ended {
            Some(ended) => format!("{} ({})", look.clock(ended.ended_at), ended.ended_how),
            None => look.until(ban.until),
        };
        let failures = if ban.failures > 0 { ban.failures.to_string() } else { String::new() };
        table.row(vec![
            cell(&ban.target, if over { Tone::Plain } else { Tone::Bad }),
            cell(&ban.jail, Tone::Plain),
            look.clock(ban.since).into(),
            end.into(),
            failures.into(),
            cell(note(ban), if ban.effective { Tone::Plain } else { Tone::Warn }),
        ]);
    }
    table.show(look, indent)
}

/// What is special about a ban.
fn note(ban: &BanInfo) -> String {
    let mut notes = Vec::new();
    if !ban.effective {
        notes.push("NO EFFECT: failures go on".to_owned());
    }
    match ban.origin.as_str() {
        "manual" => notes.push("by hand".to_owned()),
        "import" => notes.push("from fail2ban".to_owned()),
        "kernel" => notes.push("found in the kernel".to_owned()),
        _ => {}
    }
    if ban.count > 1 {
        notes.push(format!("ban no. {}", ban.count));
    }
    notes.extend(ban.reason.clone());
    if let Some(ended) = &ban.ended {
        notes.extend(ended.ended_by.as_ref().map(|by| format!("by {by}")));
        notes.extend(ended.ended_reason.clone());
    }
    notes.join("; ")
}

pub fn jail(look: Look, jail: &JailReport) -> String {
    let (info, set) = (&jail.info, &jail.settings);
    let mut out = format!("{}: ", look.paint(Tone::Bold, &safe(&info.name)));
    let word = match info.state {
        JailState::Guarding => look.paint(Tone::Good, "guarding"),
        JailState::Waiting => look.paint(Tone::Warn, "waiting for its logs"),
        JailState::Broken => look.paint(Tone::Bad, "broken"),
        JailState::Outdated => look.paint(Tone::Warn, "guarding on in its last good form"),
    };
    let span = |secs: u64| show_duration(std::time::Duration::from_secs(secs));
    let bantime =
        set.bantime_secs.map_or_else(|| "for ever".to_owned(), |secs| format!("for {}", span(secs)));
    let _ = writeln!(out, "{word}");
    let _ = writeln!(
        out,
        "  {} within {} ban {bantime}; ports {}, {}; filter {}",
        count(set.maxretry.into(), "failure", "failures"),
        span(set.findtime_secs),
        safe(&set.ports),
        safe(&set.action),
        safe(&set.filter),
    );
    let _ = writeln!(
        out,
        "  {} so far, {} tracked now, {} in force, {} ever",
        count(info.failures, "failure", "failures"),
        count(info.tracked, "address", "addresses"),
        count(info.banned, "ban", "bans"),
        info.banned_total,
    );
    for log in &info.logs {
        let state = match log.state {
            LogState::Open => look.paint(Tone::Good, "open"),
            LogState::Missing => look.paint(Tone::Warn, "missing"),
            LogState::Unreadable => look.paint(Tone::Bad, "unreadable"),
        };
        let lag = if log.lag_bytes > 0 { format!(", {} bytes behind", log.lag_bytes) } else { String::new() };
        let _ = writeln!(out, "  log {}: {state}{lag}", safe(&log.path));
    }
    if let Some(problem) = &info.problem {
        out.push_str(&look.paint(Tone::Bad, &indented(problem)));
    }
    if let Some(warning) = &info.warning {
        out.push_str(&look.paint(Tone::Warn, &indented(warning)));
    }
    if !jail.bans.is_empty() {
        out.push('\n');
        out.push_str(&bans(look, &jail.bans, "  "));
        if info.banned > jail.bans.len() as u64 {
            let _ = writeln!(out, "  ... all of them: banctl bans --jail {}", safe(&info.name));
        }
    }
    out
}

/// The first line of `status` and `why`: is it banned, or what else.
fn verdict(look: Look, status: &TargetStatus) -> String {
    let name = look.paint(Tone::Bold, &safe(&status.target));
    let banned = match (status.kind, status.banned) {
        (TargetKind::Account, true) => look.paint(Tone::Bad, "addresses that use this account are banned"),
        (TargetKind::Account, false) => look.paint(Tone::Good, "no address that uses this account is banned"),
        (_, true) => look.paint(Tone::Bad, "banned"),
        (_, false) => look.paint(Tone::Good, "not banned"),
    };
    let mut out = format!("{name}: {banned}\n");
    if let Some(until) = status.grace_until {
        let _ = writeln!(out, "  no jail bans it before {}", look.until(Some(until)));
    }
    if status.allowed {
        let _ = writeln!(out, "  it is on the list of what is never banned (banctl allow list)");
    }
    if !status.bans.is_empty() {
        out.push('\n');
        out.push_str(&bans(look, &status.bans, "  "));
    }
    if !status.windows.is_empty() {
        out.push('\n');
    }
    for window in &status.windows {
        let _ = writeln!(
            out,
            "  {}: {} of {} failures on record for {}",
            safe(&window.jail),
            window.failures,
            window.maxretry,
            safe(&window.key)
        );
    }
    out
}

pub fn target(look: Look, status: &TargetStatus) -> String {
    let mut out = verdict(look, status);
    let about = quoted(&status.target);
    if status.banned {
        let _ = writeln!(out, "\n  the evidence:  banctl why {about}\n  let it in:     banctl unban {about}");
    } else {
        let _ = writeln!(out, "\n  what is known: banctl why {about}");
    }
    out
}

/// A target as a word for the shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@.:/-_+,=%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", safe(text).replace('\'', r"'\''"))
    }
}

pub fn why(look: Look, why: &WhyReport) -> String {
    let mut out = verdict(look, &why.status);
    if !why.accounts.is_empty() && why.status.kind != TargetKind::Account {
        let mut table = Table::new(&["ACCOUNT", "FAILED", "SUCCEEDED", "LAST"]);
        for account in &why.accounts {
            let last = account.last.map(|time| look.since(time)).unwrap_or_default();
            table.row(vec![
                cell(&account.account, Tone::Plain),
                account.failures.into(),
                account.successes.into(),
                last.into(),
            ]);
        }
        let _ = write!(out, "\nAccounts tried from there:\n{}", table.show(look, "  "));
    }
    if !why.addresses.is_empty() {
        let mut table = Table::new(&["ADDRESS", "FAILED", "SUCCEEDED", "LAST", "OTHER ACCOUNTS", "BANNED"]);
        for address in &why.addresses {
            let last = address.last.map(|time| look.since(time)).unwrap_or_default();
            table.row(vec![
                cell(&address.ip, Tone::Plain),
                address.failures.into(),
                address.successes.into(),
                last.into(),
                address.other_accounts.into(),
                if address.banned { cell("banned", Tone::Bad) } else { "".into() },
            ]);
        }
        let _ = write!(out, "\nAddresses that tried it:\n{}", table.show(look, "  "));
    }
    if !why.lines.is_empty() {
        out.push_str("\nLog lines, newest last:\n");
    }
    for line in &why.lines {
        let tone = if line.event == Outcome::Failure { Tone::Plain } else { Tone::Good };
        let text = look.paint(tone, &safe(&line.line));
        let _ = writeln!(out, "  {text}");
    }
    if !why.earlier.is_empty() {
        let _ = write!(out, "\nEarlier bans:\n{}", bans(look, &why.earlier, "  "));
    }
    if let Some(command) = &why.unban_command {
        let _ = writeln!(out, "\nTo let it in: {}", look.paint(Tone::Bold, &safe(command)));
    }
    out
}

pub fn unbanned(look: Look, unbanned: &Unbanned) -> String {
    let target = safe(&unbanned.target);
    if let Some(wrong) = &unbanned.error {
        return format!("{target}: {}\n", look.paint(Tone::Bad, &error(wrong)));
    }
    let mut out = String::new();
    let total = unbanned.lifted_total.max(unbanned.lifted.len() as u64);
    if total == 0 && unbanned.kept.is_empty() {
        let _ = writeln!(out, "{target}: nothing to lift");
    } else if unbanned.lifted.len() as u64 != total || total > 20 {
        let _ = writeln!(out, "{target}: {} lifted", count(total, "ban", "bans"));
    } else {
        for lifted in &unbanned.lifted {
            let what = look.paint(Tone::Good, "let in");
            let _ = writeln!(out, "{}: {what} (jail {})", safe(&lifted.target), safe(&lifted.jail));
        }
    }
    for kept in &unbanned.kept {
        let what = look.paint(Tone::Warn, "still banned");
        let _ = writeln!(out, "{}: {what}: {}", safe(&kept.target), safe(&kept.why));
    }
    if !unbanned.kept.is_empty() {
        let _ =
            writeln!(out, "  to let these in too: banctl unban {} --all-addresses", quoted(&unbanned.target));
    }
    if let Some(until) = unbanned.grace_until {
        let _ = writeln!(out, "{target}: no jail bans it before {}", look.until(Some(until)));
    }
    out
}

pub fn ban(look: Look, answer: &BanAnswer) -> String {
    match answer {
        BanAnswer::Refused { target, error: wrong } => {
            format!("{}: {}\n", safe(target), look.paint(Tone::Bad, &format!("refused: {}", error(wrong))))
        }
        BanAnswer::Banned(Banned { target, jail, until, .. }) => {
            let what = look.paint(Tone::Good, "banned");
            let end = match until {
                None => "for ever".to_owned(),
                until => format!("until {}", look.until(*until)),
            };
            format!("{}: {what} in {} {end}\n", safe(target), safe(jail))
        }
    }
}

pub fn allow(look: Look, answer: &AllowAnswer, added: bool) -> String {
    let target = safe(&answer.target);
    if let Some(wrong) = &answer.error {
        return format!("{target}: {}\n", look.paint(Tone::Bad, &error(wrong)));
    }
    let until = answer.until.map(|until| format!(", until {}", look.until(Some(until)))).unwrap_or_default();
    match (added, answer.done) {
        (true, true) => format!("{target}: never banned from now on{until}\n"),
        (true, false) => format!("{target}: was on the list already{until}\n"),
        (false, true) => format!("{target}: taken off the list\n"),
        (false, false) => format!("{target}: is not on the list\n"),
    }
}

pub fn allow_list(look: Look, entries: &[AllowEntry]) -> String {
    if entries.is_empty() {
        return "nothing is on the list\n".to_owned();
    }
    let mut table = Table::new(&["TARGET", "FROM", "UNTIL", "BY", "REASON"]);
    for entry in entries {
        let until = entry.until.map(|until| look.until(Some(until))).unwrap_or_default();
        table.row(vec![
            cell(&entry.target, Tone::Plain),
            cell(&entry.source, Tone::Plain),
            until.into(),
            cell(entry.by.as_deref().unwrap_or_default(), Tone::Plain),
            cell(entry.reason.as_deref().unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.show(look, "")
}

pub fn reload(look: Look, report: &ReloadReport) -> String {
    let mut out = String::new();
    for (what, jails) in
        [("added", &report.added), ("removed", &report.removed), ("changed", &report.changed)]
    {
        if !jails.is_empty() {
            let _ = writeln!(out, "{what}: {}", safe(&jails.join(", ")));
        }
    }
    if out.is_empty() && report.ok {
        out.push_str("nothing changed\n");
    }
    if !report.unchanged.is_empty() {
        let _ = writeln!(out, "{} as before", count(report.unchanged.len() as u64, "jail", "jails"));
    }
    for problem in &report.problems {
        let who = problem.jail.as_ref().map(|jail| format!("{}: ", safe(jail))).unwrap_or_default();
        let _ = writeln!(out, "{}{}", look.paint(Tone::Bad, &who), lines(&problem.text));
    }
    out
}

pub fn ping(look: Look, pong: &Pong) -> String {
    if pong.ok {
        return format!("portero {}: {}\n", safe(&pong.version), look.paint(Tone::Good, "well"));
    }
    let mut out = format!("portero {}: {}\n", safe(&pong.version), look.paint(Tone::Bad, "not well"));
    for problem in &pong.problems {
        out.push_str(&indented(problem));
    }
    out
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
