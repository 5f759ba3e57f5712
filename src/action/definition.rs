//! What an action is: its commands, its tags, its switches. Both front ends fill this.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::addr::Net;

/// A command's time if the action names none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The occasions on which an action has a command. The names are those of action.d: `actionban`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Before the first ban, or when the jail starts.
    Start,
    /// When the jail ends.
    Stop,
    /// Whether what [`Verb::Start`] made still stands; asked after another command failed.
    Check,
    /// Puts right what [`Verb::Check`] found broken; where there is none: stop, then start.
    Repair,
    Ban,
    Unban,
    /// Lifts everything at once, when the jail ends.
    Flush,
    /// A ban once more after a repair; where there is none: [`Verb::Ban`].
    Reban,
    /// A ban that stands became longer.
    Prolong,
    /// The configuration was read anew and names this action with other parameters.
    Reload,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 10] = [
        Verb::Start,
        Verb::Stop,
        Verb::Check,
        Verb::Repair,
        Verb::Ban,
        Verb::Unban,
        Verb::Flush,
        Verb::Reban,
        Verb::Prolong,
        Verb::Reload,
    ];

    /// `ban`: the key in an action of portero's own; in action.d it is `actionban`.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Check => "check",
            Verb::Repair => "repair",
            Verb::Ban => "ban",
            Verb::Unban => "unban",
            Verb::Flush => "flush",
            Verb::Reban => "reban",
            Verb::Prolong => "prolong",
            Verb::Reload => "reload",
        }
    }
}

/// The address family that a command is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The action makes no difference.
    Any,
    Inet4,
    Inet6,
}

impl Family {
    /// What `<family>` says.
    pub fn name(self) -> &'static str {
        match self {
            Family::Any => "",
            Family::Inet4 => "inet4",
            Family::Inet6 => "inet6",
        }
    }

    pub fn of(net: Net) -> Family {
        if net.is_ipv4() { Family::Inet4 } else { Family::Inet6 }
    }
}

/// One action of one jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Unique within the jail.
    pub name: String,
    /// The file it came from, without its ending. Actions of one file never run at the same time, in whatever jail:
    /// many edit a file of their own.
    pub file: String,
    /// Shell text with tags; what is empty or missing is not run.
    pub commands: BTreeMap<Verb, String>,
    /// Tags with their values; `tag?family=inet6` holds for that family alone.
    pub tags: BTreeMap<String, String>,
    /// Whether it starts with the first ban of a family. `None`: if some tag differs by family.
    pub on_demand: Option<bool>,
    /// Whether a failed unban also leads to a repair.
    pub repair_on_unban: bool,
    /// Bans that a restart found again are not told to it.
    pub norestored: bool,
    /// For each command.
    pub timeout: Duration,
}

impl Definition {
    /// An action without commands.
    pub fn new(name: &str, file: &str) -> Definition {
        Definition {
            name: name.to_owned(),
            file: file.to_owned(),
            commands: BTreeMap::new(),
            tags: BTreeMap::new(),
            on_demand: None,
            repair_on_unban: false,
            norestored: false,
            timeout: TIMEOUT_DEFAULT,
        }
    }

    /// The command, if there is anything to run.
    pub fn command(&self, verb: Verb) -> Option<&str> {
        self.commands.get(&verb).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    /// Whether some tag differs by family.
    pub fn by_family(&self) -> bool {
        self.tags.keys().any(|name| name.contains("?family="))
    }

    pub fn starts_on_demand(&self) -> bool {
        self.on_demand.unwrap_or_else(|| self.by_family())
    }

    /// The families that are started one by one.
    pub fn families(&self) -> &'static [Family] {
        if self.by_family() { &[Family::Inet4, Family::Inet6] } else { &[Family::Any] }
    }

    /// Whether some command names a tag that only a log can fill.
    pub fn wants_log(&self) -> bool {
        self.commands.values().chain(self.tags.values()).any(|text| names_log(text))
    }
}

/// Whether `text` has a tag that only a log can fill.
pub fn names_log(text: &str) -> bool {
    const TAGS: [&str; 4] = ["matches>", "ipfailures>", "ipjailfailures>", "<raw-ticket>"];
    text.contains("<F-") || TAGS.iter().any(|tag| text.contains(tag))
}
