//! The filters of a fail2ban configuration, for a scan.

use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;

use super::split;
use crate::banctl::failure::{Failure, fail};
use crate::exit;
use crate::fail2ban::matcher::test::rules;
use crate::fail2ban::matcher::{Program, Rules};
use crate::fail2ban::reader;
use crate::time::{Clock, SystemClock};

/// `names` is `all` for the filters of the enabled jails, as those have them; else filters of filter.d.
pub(super) fn programs(dir: &Path, names: &str, zone: Tz) -> Result<Vec<(String, Arc<Program>)>, Failure> {
    let chosen = match names.trim() {
        "all" => of_jails(dir)?,
        names => split(names)
            .into_iter()
            .map(|spec| {
                let rules = rules(dir, spec).map_err(|why| fail(exit::CONFIG, why))?;
                Ok((spec.split('[').next().unwrap_or(spec).to_owned(), rules))
            })
            .collect::<Result<_, Failure>>()?,
    };
    let now = SystemClock::new().now();
    let mut programs: Vec<(String, Arc<Program>)> = Vec::new();
    for (name, rules) in chosen {
        if programs.iter().any(|(_, known)| *known.rules() == rules) {
            continue;
        }
        match Program::new(&rules, zone, now) {
            Ok(program) => programs.push((name, Arc::new(program))),
            // The others are looked with all the same.
            Err(why) => eprintln!("banctl: filter {name}: {why}"),
        }
    }
    if programs.is_empty() {
        return Err(fail(exit::CONFIG, format!("{}: no enabled jail has a filter that runs", dir.display())));
    }
    Ok(programs)
}

fn of_jails(dir: &Path) -> Result<Vec<(String, Rules)>, Failure> {
    let import = reader::read(dir).map_err(|error| fail(exit::CONFIG, error))?;
    let of_jail =
        |jail: crate::fail2ban::jail::Jail| (jail.filter.clone().unwrap_or(jail.name.clone()), jail.rules());
    Ok(import.jails.into_iter().map(of_jail).filter(|(_, rules)| !rules.failregex.is_empty()).collect())
}
