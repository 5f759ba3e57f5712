//! `banctl shadow` as text.

use std::fmt::Write;

use super::table::{Look, Tone};
use crate::control::shadow::{Difference, ShadowReport};
use crate::text::escape;
use crate::time::show_duration;

/// The counts, then each difference with what makes it.
pub fn show(look: Look, report: &ShadowReport) -> String {
    let span = show_duration(report.until.since(report.since));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "The last {span}: {} banned by both, {} banned by one while the other had it banned already, {} too young to tell",
        report.both, report.covered, report.undecided
    );
    if report.log_state != "open" {
        let text = format!(
            "fail2ban's log {} is {}: nothing is known of fail2ban's bans (shadow_log)",
            report.log, report.log_state
        );
        let _ = writeln!(out, "{}", look.paint(Tone::Bad, &safe(&text)));
    }
    for (title, differences) in
        [("Only portero would ban", &report.only_portero), ("Only fail2ban banned", &report.only_fail2ban)]
    {
        let _ = writeln!(out, "\n{}: {}", look.paint(Tone::Bold, title), differences.len());
        for difference in differences {
            one(look, difference, &mut out);
        }
    }
    if report.more > 0 {
        let _ = writeln!(out, "\nand {} more differences, older ones", report.more);
    }
    out
}

fn one(look: Look, difference: &Difference, out: &mut String) {
    let Difference { jail, target, at, why, lines, fail2ban } = difference;
    let when = look.since(*at);
    let _ =
        writeln!(out, "  {} by {}, {when}: {}", look.paint(Tone::Warn, &safe(target)), safe(jail), safe(why));
    for line in lines {
        let _ = writeln!(out, "    portero:  {}", safe(&line.line));
    }
    for line in fail2ban {
        let _ = writeln!(out, "    fail2ban: {}", safe(line));
    }
}

fn safe(text: &str) -> String {
    escape(text.as_bytes())
}
