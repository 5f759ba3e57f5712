//! Which programs a shell text calls: enough to see whether a firewall's action does something else besides.

/// What fail2ban's own firewall actions call.
const FIREWALL: &[&str] = &[
    "nft",
    "iptables",
    "ip6tables",
    "ipset",
    "firewall-cmd",
    "ufw",
    "shorewall",
    "shorewall6",
    "ip",
    "ss",
    "conntrack",
    "pfctl",
    "ipfw",
    "ipf",
    "npfctl",
    "afctl",
    "sudo",
];

/// What shapes their words and does nothing else.
const TOOLS: &[&str] = &[
    "echo", "printf", "grep", "sed", "awk", "cut", "tr", "expr", "test", "[", "[[", "read", "true", "false",
    ":", "fgrep", "cat", "head", "tail", "sort", "seq", "xargs", "set", "export", "local", "return", "exit",
    "id", "shift", "cd", "touch",
];

/// Words before a command.
const LEADING: &[&str] = &["if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"];

/// Words that begin something that is no command.
const OTHER: &[&str] = &["for", "case", "done", "fi", "esac", "}", "in"];

/// The first program in `text` that no firewall action of fail2ban calls.
pub fn foreign(text: &str) -> Option<String> {
    commands(&bare(text)).into_iter().find_map(|segment| {
        let mut words = segment.split_whitespace().skip_while(|word| LEADING.contains(word) || assigns(word));
        let word = words.next().filter(|word| !OTHER.contains(word))?;
        let program = word.rsplit('/').next().unwrap_or(word);
        // `shorewall<family>`: a parameter makes the other family's program of it.
        let program = program
            .split_once('<')
            .map_or(program, |(plain, _)| if plain.is_empty() { program } else { plain });
        // A tag that stands for the program: `<iptables>`, `<nftables>`; what it stands for is a parameter.
        let tag = program.starts_with('<') || program.starts_with(">") || program.starts_with('$');
        let known = FIREWALL.contains(&program) || TOOLS.contains(&program) || tag;
        // `2>&1` was cut at its ampersand, a pattern of `case` at its bracket.
        let scrap = program.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.' || b == b'*');
        (!known && !scrap).then(|| program.to_owned())
    })
}

/// The pieces of `text` that begin where a command may. What follows a substitution goes on with its own command.
fn commands(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    // Of each open bracket and backtick: whether a substitution ends with it.
    let mut open: Vec<char> = Vec::new();
    let mut last = '\n';
    for c in text.chars() {
        match c {
            '\n' | ';' | '|' | '&' => pieces.push(String::new()),
            '(' => {
                open.push(if last == '$' { '$' } else { '(' });
                pieces.push(String::new());
            }
            '`' if open.last() != Some(&'`') => {
                open.push('`');
                pieces.push(String::new());
            }
            // A word, so that nothing that follows is taken for a command.
            ')' if open.pop() == Some('$') => pieces.push("true ".to_owned()),
            ')' => pieces.push(String::new()),
            '`' => {
                open.pop();
                pieces.push("true ".to_owned());
            }
            c => pieces.last_mut().expect("never empty").push(c),
        }
        last = c;
    }
    pieces
}

/// `x=...`
fn assigns(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// The text without escaped characters, remarks and what stands in single quotes; double quotes are taken off.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut last = '\n';
    while let Some(c) = chars.next() {
        match c {
            // A line that goes on in the next.
            '\\' => {
                if chars.next() == Some('\n') {
                    out.push(' ');
                } else {
                    out.push('_');
                }
            }
            '\'' => {
                chars.by_ref().find(|c| *c == '\'');
                out.push('_');
            }
            '"' => out.push('_'),
            '#' if last.is_whitespace() => {
                chars.by_ref().find(|c| *c == '\n');
                out.push('\n');
            }
            c => out.push(c),
        }
        last = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_firewall_needs_is_not_foreign() {
        for plain in [
            "iptables -w -I f2b-x 1 -s <ip> -j <blocktype>",
            "shorewall<family> reject <ip>",
            "<nftables> add set inet f2b-table x \\{ type ipv4_addr\\; \\}\nfor proto in $(echo 'tcp,udp' | sed 's/,/ /g'); do\n\
             nft add rule inet t c $proto dport \\{ $(echo 'ssh' | sed s/:/-/g) \\} ip saddr @x reject\ndone",
            "{ nft -a list chain inet t c | grep -oP '@x\\s+.*\\s+\\Khandle\\s+(\\d+)$'; } | while read -r hdl; do\n\
             nft delete rule inet t c $hdl; done",
            "ports=\"ssh\"; for p in $(echo $ports | tr \", \" \" \"); do firewall-cmd --add-rich-rule=\"rule \
             family='ipv4' source address='<ip>' port port='$p' protocol='tcp' reject\"; done",
            "{ iptables -C x >/dev/null 2>&1; } || { iptables -N x || true; } # not curl",
            "if [ -n \"\" ] && ufw app info \"\"\nthen\n  ufw prepend reject from <ip>\nelse\n  ufw reject from <ip>\nfi\n<_kill_>",
        ] {
            assert_eq!(foreign(plain), None, "{plain}");
        }
        for (text, program) in [
            ("iptables -I x -s <ip> -j DROP\ncurl https://example.org/<ip>", "curl"),
            ("iptables -I x -s <ip> -j DROP && /usr/bin/logger <ip>", "logger"),
            ("iptables -I x -s $(dig +short <ip>)", "dig"),
            ("if mail -s x root; then iptables -L; fi", "mail"),
            ("A=1 curl x", "curl"),
        ] {
            assert_eq!(foreign(text).as_deref(), Some(program), "{text}");
        }
    }
}
