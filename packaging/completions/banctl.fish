# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_banctl_global_optspecs
    string join \n socket= json h/help V/version
end

function __fish_banctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_banctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_banctl_using_subcommand
    set -l cmd (__fish_banctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c banctl -n "__fish_banctl_needs_command" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_needs_command" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_needs_command" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_needs_command" -s V -l version -d 'Print version'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "status" -d 'Overview; or is this jail, address, network or account banned?'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "why" -d 'The evidence: log lines, accounts tried, earlier bans, and the command that lifts it'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "unban" -d 'Let an address, a network or an account in again'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "ban" -d 'Ban addresses or networks by hand'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "bans" -d 'List the bans'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "allow" -d 'Whom nothing bans: add, remove, list'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "reload" -d 'Read the configuration anew; jails that did not change keep their state'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "ping" -d 'Is the daemon well? Exit code 0 only if every present log is open and the firewall is in step'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "shadow" -d 'Beside fail2ban (portero --shadow): who one of the two would ban and the other not, and why'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "check" -d 'Check the configuration, with the daemon\'s own loader; needs no daemon'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "scan" -d 'Every login attempt found in old logs, offline; .gz, .xz and .zst too'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "replay" -d 'The whole engine over old logs in their own time: whom it would have banned'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "import" -d 'Translate a fail2ban configuration, with a list of every loss'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "filter" -d 'Filters: list them, show one, test one on a log, look for what fools one'
complete -c banctl -n "__fish_banctl_needs_command" -f -a "gen-docs" -d 'Write man pages and completions below DIR'
complete -c banctl -n "__fish_banctl_using_subcommand status" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand status" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand why" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand why" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l jail -d 'Only the bans of this jail' -r
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l grace -d 'No jail bans it again for so long, while the password gets mended' -r
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l reason -d 'For the record' -r
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l all -d 'Lift every ban (of --jail, if given)'
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l all-addresses -d 'By account: also the addresses that tried other accounts'
complete -c banctl -n "__fish_banctl_using_subcommand unban" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand unban" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l jail -d 'Ban in this jail, on its ports [default: manual, all ports]' -r
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l for -d 'For how long; -1: for ever [default: the jail\'s bantime]' -r
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l reason -d 'For the record' -r
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l force -d 'Also networks wider than /16 (IPv4) or /32 (IPv6)'
complete -c banctl -n "__fish_banctl_using_subcommand ban" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand ban" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand bans" -l jail -d 'Only this jail\'s' -r
complete -c banctl -n "__fish_banctl_using_subcommand bans" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand bans" -l ended -d 'Those that are over, latest first'
complete -c banctl -n "__fish_banctl_using_subcommand bans" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand bans" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -f -a "add" -d 'Never ban these; lifts their bans'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -f -a "rm" -d 'Take these off the list again'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and not __fish_seen_subcommand_from add rm list" -f -a "list" -d 'Everything that is never banned, and why'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from add" -l for -d 'For so long [default: until removed]' -r
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from add" -l reason -d 'For the record' -r
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from add" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from add" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from rm" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from rm" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from list" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from list" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand allow; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand reload" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand reload" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand ping" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand ping" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand ping" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand shadow" -l since -d 'Only bans of the last TIME [default: since shadow mode began]' -r
complete -c banctl -n "__fish_banctl_using_subcommand shadow" -l tolerance -d 'Bans that are so far apart are the same [default: 1m]' -r
complete -c banctl -n "__fish_banctl_using_subcommand shadow" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand shadow" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand shadow" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand check" -l config -d 'portero.toml, or a folder that holds one' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand check" -l fail2ban-dir -d 'With the fail2ban configuration in D, as portero --fail2ban-dir D runs it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand check" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand check" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l filters -d 'Filters to look with, separated by commas, `sshd[mode=aggressive]` for a mode; `all`: every one there is' -r
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l config -d 'Take trusted proxies, time zone and filters from this portero.toml, or a folder that holds one [default: private networks are trusted, the built-in filters]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l fail2ban-dir -d 'Look with the filters of the fail2ban configuration in D instead, each as its jail has it; `--filters` then names filters of filter.d [default: those of the enabled jails]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l timezone -d 'Zone of dates that carry none [default: the configuration\'s, else the system\'s]' -r
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l year -d 'Year of dates that carry none [default: this year, or last year where that would be in the future]' -r
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l log -d 'A log to read; may be given more than once' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l unmatched -d 'Show the lines that look like failed logins and that no filter reads, by shape, with a pattern to try'
complete -c banctl -n "__fish_banctl_using_subcommand scan" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand scan" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l config-dir -d 'A configuration like /etc/portero. Where it enables no jail, all that are known run' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l fail2ban-dir -d 'The jails of the fail2ban configuration in D, beside those of --config-dir that are on' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l timezone -d 'Zone of dates that carry none, instead of the configuration\'s' -r
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l now -d 'What "now" is for dates without a year, in epoch seconds; by default when the newest log was written' -r
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l log -d 'A log to read; may be given more than once. The lines of all are merged by their time' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand replay" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand replay" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand import" -l fail2ban-dir -d 'fail2ban\'s folder' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand import" -l out -d 'Write the jails as TOML below DIR, with their filters and actions: jails/NAME.toml, filters/NAME.toml, actions/NAME.toml, and jails/NAME.toml.off where a hand is needed' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand import" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand import" -l strict -d 'Exit code 1 if anything was lost'
complete -c banctl -n "__fish_banctl_using_subcommand import" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -l config -d 'portero.toml, or its folder: own filters stand in filters/ beside it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -f -a "list" -d 'Every filter: its name, its modes, the programs whose lines it reads'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -f -a "show" -d 'A filter\'s files, and where they are'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -f -a "test" -d 'What a filter makes of each line of a log, and why'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and not __fish_seen_subcommand_from list show test lint" -f -a "lint" -d 'Find what an attacker can use in a pattern, with a line that proves it'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from list" -l config -d 'portero.toml, or its folder: own filters stand in filters/ beside it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from list" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from list" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from show" -l config -d 'portero.toml, or its folder: own filters stand in filters/ beside it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from show" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l filter -d 'As in a jail\'s `filter =`: sshd, sshd[mode=aggressive]' -r
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l log -d 'A log; .gz, .xz and .zst too, `-` for stdin' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l fail2ban-dir -d 'Take the filter from fail2ban\'s configuration' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l timezone -d 'Zone of dates that carry none [default: the system\'s]' -r
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l now -d 'The current time, as seconds since 1970 [default: the clock\'s]' -r
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l config -d 'portero.toml, or its folder: own filters stand in filters/ beside it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l journal -d 'Lines are a journal\'s, `HOST IDENT[PID]: MESSAGE`; each happens now'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from lint" -l pattern -d 'A single pattern as fail2ban takes it; may be given more than once' -r
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from lint" -l config -d 'portero.toml, or its folder: own filters stand in filters/ beside it' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from lint" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from lint" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand filter; and __fish_seen_subcommand_from lint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c banctl -n "__fish_banctl_using_subcommand gen-docs" -l socket -d 'The daemon\'s socket [default: as portero.toml says, /run/portero/control.sock]' -r -F
complete -c banctl -n "__fish_banctl_using_subcommand gen-docs" -l json -d 'JSON instead of text: one object, or one object a line for lists'
complete -c banctl -n "__fish_banctl_using_subcommand gen-docs" -s h -l help -d 'Print help'
