//! How the client prints answers. Scripts cut on these lines: every blank and tab counts.

use super::value::Value;

/// The text for `answer` to the command `words`, without the line end.
///
/// `unicode`: the table of `stats` has lines of box characters, as where the locale is UTF-8.
pub fn beautify(words: &[String], answer: &Value, unicode: bool) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let shown = match words.as_slice() {
        ["ping", ..] => Some(format!("Server replied: {answer}")),
        ["start", _, ..] => Some("Jail started".to_owned()),
        ["stop"] if *answer == Value::None => Some("Shutdown successful".to_owned()),
        ["stop", ..] if *answer == Value::None => Some("Jail stopped".to_owned()),
        ["flushlogs", ..] => Some(format!("logs: {answer}")),
        ["echo", ..] => answer.entries().map(|words| joined(words, " ")),
        ["stat" | "stats" | "statistic" | "statistics", ..] | ["status", "--all", "stats"] => {
            statistics(answer, unicode)
        }
        ["status", jail, "stats"] => {
            statistics(&Value::Dict(vec![(Value::text(*jail), answer.clone())]), unicode)
        }
        ["status"] | ["status", "--all", ..] => status(answer),
        ["status", jail, ..] => answer.entries().map(|rows| {
            let mut lines = vec![format!("Status for the jail: {jail}")];
            jail_rows(rows, "", &mut lines);
            lines.join("\n")
        }),
        [_, "syslogsocket", ..] => Some(format!("Current syslog socket is:\n`- {answer}")),
        [_, "logtarget", ..] => Some(format!("Current logging target is:\n`- {answer}")),
        [_, "loglevel", ..] => Some(format!("Current logging level is {}", answer.repr())),
        [_, "dbfile" | "dbpurgeage", ..] if *answer == Value::None => {
            Some("Database currently disabled".to_owned())
        }
        [_, "dbfile", ..] => Some(format!("Current database file is:\n`- {answer}")),
        [_, "dbpurgeage", ..] => Some(format!("Current database purge age is:\n`- {answer}seconds")),
        [verb, jail, what, more @ ..] => of_jail(verb, jail, what, more, answer),
        _ => None,
    };
    shown.unwrap_or_else(|| answer.to_string())
}

fn of_jail(verb: &str, jail: &str, what: &str, more: &[&str], answer: &Value) -> Option<String> {
    let list = answer.entries();
    match what {
        "logpath" => Some(tree(list?, "No file is currently monitored", "Current monitored log file(s):")),
        "logencoding" => Some(format!("Current log encoding is set to:\n{answer}")),
        "journalmatch" => Some(match list? {
            [] => "No journal match filter set".to_owned(),
            matches => {
                let each: Vec<String> =
                    matches.iter().map(|one| joined(one.entries().unwrap_or_default(), " ")).collect();
                format!("Current match filter:\n{}", each.join(" + "))
            }
        }),
        "datepattern" => {
            let shown = match list {
                Some([Value::None, name]) => name.to_string(),
                Some([pattern, name]) => format!("{pattern} ({name})"),
                _ => "Not set/required".to_owned(),
            };
            Some(format!("Current date pattern set to: {shown}"))
        }
        "ignoreip" | "addignoreip" | "delignoreip" => {
            Some(tree(list?, "No IP address/network is ignored", "These IP addresses/networks are ignored:"))
        }
        "failregex" | "ignoreregex" => {
            let numbered: Vec<Value> = list?
                .iter()
                .enumerate()
                .map(|(index, regex)| Value::text(format!("[{index}]: {regex}")))
                .collect();
            let head = "The following regular expression are defined:";
            Some(tree(&numbered, "No regular expression is defined", head))
        }
        "actions" => Some(match list? {
            [] => format!("No actions for jail {jail}"),
            names => format!("The jail {jail} has the following actions:\n{}", joined(names, ", ")),
        }),
        "banip" if verb == "get" => {
            let separator = match more.first() {
                None => " ",
                Some(&"--with-time") => "\n",
                Some(separator) => separator,
            };
            Some(joined(list?, separator))
        }
        _ => None,
    }
}

fn joined(values: &[Value], separator: &str) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

/// A heading, and each entry on a branch of its own.
fn tree(entries: &[Value], none: &str, head: &str) -> String {
    let Some((last, before)) = entries.split_last() else { return none.to_owned() };
    let mut lines = vec![head.to_owned()];
    lines.extend(before.iter().map(|entry| format!("|- {entry}")));
    lines.push(format!("`- {last}"));
    lines.join("\n")
}

/// What stands after the tab: a list with blanks between.
fn cell(value: &Value) -> String {
    match value {
        Value::List(values) => joined(values, " "),
        other => other.to_string(),
    }
}

/// Name and value of a row.
fn row(value: &Value) -> (String, &Value) {
    match value.entries() {
        Some([name, value]) => (name.to_string(), value),
        _ => (String::new(), value),
    }
}

fn branch(last: bool) -> &'static str {
    if last { "`-" } else { "|-" }
}

/// `status`, and `status --all`, whose last entry is the jails.
fn status(answer: &Value) -> Option<String> {
    let rows = answer.entries()?;
    let (rows, jails) = match rows.split_last() {
        Some((Value::Dict(jails), rows)) => (rows, Some(jails)),
        _ => (rows, None),
    };
    let mut lines = vec!["Status".to_owned()];
    for (index, one) in rows.iter().enumerate() {
        let (name, value) = row(one);
        let last = jails.is_none() && index + 1 == rows.len();
        lines.push(format!("{} {name}:\t{}", branch(last), cell(value)));
    }
    if let Some(jails) = jails.filter(|jails| !jails.is_empty()) {
        lines.push("`- Status for the jails:".to_owned());
        for (index, (name, rows)) in jails.iter().enumerate() {
            let last = index + 1 == jails.len();
            lines.push(format!("   {} Jail: {name}", branch(last)));
            jail_rows(rows.entries()?, if last { "      " } else { "   |  " }, &mut lines);
        }
    }
    Some(lines.join("\n"))
}

/// The filter and the actions of one jail, each with its rows.
fn jail_rows(groups: &[Value], indent: &str, lines: &mut Vec<String>) {
    for (index, group) in groups.iter().enumerate() {
        let last = index + 1 == groups.len();
        let (name, rows) = row(group);
        lines.push(format!("{indent}{} {name}", branch(last)));
        let rows = rows.entries().unwrap_or_default();
        for (index, one) in rows.iter().enumerate() {
            let (name, value) = row(one);
            let bar = if last { "   " } else { "|  " };
            lines.push(format!("{indent}{bar}{} {name}:\t{}", branch(index + 1 == rows.len()), cell(value)));
        }
    }
}

/// The characters of the table: between columns, rules, and the crossings of both.
struct Lines {
    column: &'static str,
    rule: &'static str,
    head: &'static str,
    head_cross: &'static str,
    cross: &'static str,
    foot: &'static str,
    thin: &'static str,
    thin_rule: &'static str,
}

const ASCII: Lines = Lines {
    column: "|",
    rule: "-",
    head: "|",
    head_cross: "x",
    cross: "x",
    foot: "-",
    thin: "|",
    thin_rule: "-",
};
const BOX: Lines = Lines {
    column: "\u{2551}",
    rule: "\u{2550}",
    head: "\u{255f}",
    head_cross: "\u{256b}",
    cross: "\u{256c}",
    foot: "\u{2569}",
    thin: "\u{2502}",
    thin_rule: "\u{2500}",
};

/// The table of all jails: backend, and failures and bans, each now and in total.
fn statistics(answer: &Value, unicode: bool) -> Option<String> {
    let Value::Dict(jails) = answer else { return None };
    if jails.is_empty() {
        return Some("No jails found.".to_owned());
    }
    let mut rows: Vec<[String; 6]> = Vec::new();
    for (name, numbers) in jails {
        let [backend, failures, bans] = numbers.entries()? else { return None };
        let ([failed, failed_total], [banned, banned_total]) = (failures.entries()?, bans.entries()?) else {
            return None;
        };
        rows.push([name, backend, failed, failed_total, banned, banned_total].map(ToString::to_string));
    }
    let width = |column: usize, least: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(least)
    };
    let widths = [width(0, 8), width(1, 8), width(2, 3), width(3, 3), width(4, 3), width(5, 3)];
    let wide = [widths[0], widths[1], widths[2] + widths[3] + 3, widths[4] + widths[5] + 3];
    let c = if unicode { &BOX } else { &ASCII };
    let between = format!(" {} ", c.column);
    let line = |[name, backend, a, b, d, e]: [&str; 6]| {
        let [n, k, w, x, y, z] = widths;
        let thin = c.thin;
        [
            format!("{name:n$}"),
            format!("{backend:k$}"),
            format!("{a:>w$} {thin} {b:>x$}"),
            format!("{d:>y$} {thin} {e:>z$}"),
        ]
        .join(&between)
    };
    let rule = |cross: &str| {
        let parts = wide.map(|width| c.rule.repeat(width));
        format!("{0}{1}{0}", c.rule, parts.join(&format!("{0}{cross}{0}", c.rule)))
    };
    let [n, k, filter, actions] = wide;
    let mut lines = vec![
        format!(
            " {}",
            ["", "", "Filter", "Actions"]
                .iter()
                .zip(wide)
                .map(|(head, width)| format!("{head:width$}"))
                .collect::<Vec<_>>()
                .join(&between)
        ),
        format!(
            " {:n$}{between}{:k$} {}{t}{}{t}{}{t}{}{t}",
            "Jail",
            "Backend",
            c.head,
            c.thin_rule.repeat(filter),
            c.head_cross,
            c.thin_rule.repeat(actions),
            t = c.thin_rule,
        ),
        format!(" {}", line(["", "", "cur", "tot", "cur", "tot"])),
        rule(c.cross),
    ];
    lines.extend(rows.iter().map(|row| format!(" {}", line(row.each_ref().map(String::as_str)))));
    lines.push(rule(c.foot));
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn shown(line: &str, answer: &Value) -> String {
        beautify(&words(line), answer, true)
    }

    fn jail_answer() -> Value {
        Value::List(vec![
            Value::pair(
                "Filter",
                Value::List(vec![
                    Value::pair("Currently failed", Value::Int(0)),
                    Value::pair("Total failed", Value::Int(5)),
                    Value::pair("File list", Value::texts(["/var/log/mail.log"])),
                ]),
            ),
            Value::pair(
                "Actions",
                Value::List(vec![
                    Value::pair("Currently banned", Value::Int(1)),
                    Value::pair("Total banned", Value::Int(1)),
                    Value::pair("Banned IP list", Value::texts(["192.0.2.7", "198.51.100.9"])),
                ]),
            ),
        ])
    }

    #[test]
    fn status_of_a_jail_is_the_block_that_scripts_cut() {
        let want = "Status for the jail: dovecot\n|- Filter\n|  |- Currently failed:\t0\n|  |- Total failed:\t5\n\
                    |  `- File list:\t/var/log/mail.log\n`- Actions\n   |- Currently banned:\t1\n   \
                    |- Total banned:\t1\n   `- Banned IP list:\t192.0.2.7 198.51.100.9";
        assert_eq!(shown("status dovecot", &jail_answer()), want);
    }

    #[test]
    fn status_lists_the_jails_and_with_all_their_blocks() {
        let mut rows = vec![
            Value::pair("Number of jail", Value::Int(1)),
            Value::pair("Jail list", Value::text("dovecot")),
        ];
        let answer = Value::List(rows.clone());
        assert_eq!(shown("status", &answer), "Status\n|- Number of jail:\t1\n`- Jail list:\tdovecot");
        rows.push(Value::Dict(vec![(Value::text("dovecot"), jail_answer())]));
        let all = shown("status --all", &Value::List(rows));
        assert!(all.starts_with(
            "Status\n|- Number of jail:\t1\n|- Jail list:\tdovecot\n`- Status for the jails:\n   `- Jail: dovecot\n      \
             |- Filter\n      |  |- Currently failed:\t0\n"
        ));
        assert!(all.ends_with("\n         `- Banned IP list:\t192.0.2.7 198.51.100.9"));
    }

    #[test]
    fn the_table_of_statistics_has_its_lines() {
        let pair = || Value::Tuple(vec![Value::Int(0), Value::Int(0)]);
        let row = Value::List(vec![Value::text("polling"), pair(), pair()]);
        let answer = Value::Dict(vec![(Value::text("dovecot"), row)]);
        let want = concat!(
            "              ║          ║ Filter    ║ Actions  \n",
            " Jail         ║ Backend  ╟───────────╫───────────\n",
            "              ║          ║ cur │ tot ║ cur │ tot\n",
            "══════════════╬══════════╬═══════════╬═══════════\n",
            " dovecot      ║ polling  ║   0 │   0 ║   0 │   0\n",
            "══════════════╩══════════╩═══════════╩═══════════"
        );
        // The captured table is of a jail with a longer name beside it.
        let long = "dovecot-long";
        let want = want.replace("dovecot     ", long);
        let Value::Dict(mut rows) = answer else { unreachable!() };
        rows[0].0 = Value::text(long);
        assert_eq!(shown("stats", &Value::Dict(rows.clone())), want);
        let ascii = beautify(&words("stats"), &Value::Dict(rows), false);
        assert!(ascii.contains("-------------x----------x-----------x-----------"), "{ascii}");
    }

    #[test]
    fn settings_are_shown_as_the_client_does() {
        let list = Value::texts(["a", "b"]);
        assert_eq!(shown("get x ignoreip", &list), "These IP addresses/networks are ignored:\n|- a\n`- b");
        assert_eq!(
            shown("get x failregex", &list),
            "The following regular expression are defined:\n|- [0]: a\n`- [1]: b"
        );
        assert_eq!(shown("get x failregex", &Value::List(vec![])), "No regular expression is defined");
        assert_eq!(shown("get x logpath", &list), "Current monitored log file(s):\n|- a\n`- b");
        assert_eq!(shown("get x banip ,", &list), "a,b");
        assert_eq!(shown("get x banip", &list), "a b");
        assert_eq!(shown("get x bantime", &Value::Int(600)), "600");
        assert_eq!(shown("get loglevel", &Value::text("INFO")), "Current logging level is 'INFO'");
        assert_eq!(shown("get dbfile", &Value::None), "Database currently disabled");
        let date = Value::Tuple(vec![Value::None, Value::text("Default Detectors")]);
        assert_eq!(shown("get x datepattern", &date), "Current date pattern set to: Default Detectors");
        let matches = Value::List(vec![Value::texts(["_SYSTEMD_UNIT=x"]), Value::texts(["_COMM=y"])]);
        assert_eq!(shown("get x journalmatch", &matches), "Current match filter:\n_SYSTEMD_UNIT=x + _COMM=y");
        assert_eq!(shown("get x ignoreself", &Value::Bool(true)), "True");
        assert_eq!(shown("echo a b", &list), "a b");
        assert_eq!(shown("stop", &Value::None), "Shutdown successful");
    }
}
