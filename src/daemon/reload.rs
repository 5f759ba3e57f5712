//! The configuration at start and at `banctl reload`, put into force. A jail whose new form is bad guards on in its last
//! good one; jails that did not change keep all they know.

use std::sync::Arc;

use tracing::{error, info};

use super::engine::Engine;
use super::load::{Filters, LoadedFilter, Reading, context, filter_key, load};
use crate::config::{Config, JailConfig, Loaded};
use crate::control::protocol::{ProblemInfo, ReloadReport};
use crate::filter::FilterSet;
use crate::firewall::{JailRules, Plan};
use crate::jail::{JailName, JailSettings};
use crate::source::{LineDate, Position};
use crate::time::Timestamp;

/// What the firewall is to enforce: every jail, and bans by hand.
pub fn plan(config: &Config, allow: Vec<crate::addr::Net>) -> Plan {
    let mut jails: Vec<JailRules> = config.enabled().map(|jail| jail.rules.clone()).collect();
    if !jails.iter().any(|rules| rules.name == JailName::manual()) {
        jails.push(JailRules::all_ports(JailName::manual()));
    }
    Plan { jails, allow, table_owner: config.table_owner }
}

/// The settings of every jail that is on.
pub fn settings(config: &Config) -> Vec<JailSettings> {
    config.enabled().map(|jail| jail.settings.clone()).collect()
}

impl Engine {
    /// Reads the configuration anew and puts it into force.
    pub(super) fn reload(&mut self) -> ReloadReport {
        let now = self.clock.now();
        let _ = sd_notify::notify(&[
            sd_notify::NotifyState::Reloading,
            sd_notify::NotifyState::monotonic_usec_now().unwrap_or(sd_notify::NotifyState::Reloading),
        ]);
        let report = match load(&self.setup) {
            Ok((loaded, filters)) => self.take_over(loaded, filters, now),
            Err(fatal) => {
                error!("reload: the configuration is bad, the old one stays in force\n{fatal}");
                ReloadReport {
                    ok: false,
                    added: Vec::new(),
                    removed: Vec::new(),
                    changed: Vec::new(),
                    unchanged: self.config.enabled().map(|jail| jail.settings.name.to_string()).collect(),
                    problems: fatal.errors.iter().map(ProblemInfo::from).collect(),
                }
            }
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        report
    }

    fn take_over(&mut self, loaded: Loaded, mut filters: Filters, now: Timestamp) -> ReloadReport {
        let Loaded { mut config, problems, notes } = loaded;
        for note in &notes {
            info!("{}", note.line());
        }
        for problem in &problems {
            error!("{problem}");
            self.keep_last_good(&problem.jail, &mut config, &mut filters);
        }
        // Where these stand cannot change while the daemon runs.
        config.state_dir = self.config.state_dir.clone();
        config.socket = self.config.socket.clone();
        config.fail2ban_socket = self.config.fail2ban_socket.clone();
        config.shadow = self.config.shadow;
        config.firewall = self.config.firewall.clone();

        let mut report = ReloadReport {
            ok: problems.is_empty(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            unchanged: Vec::new(),
            problems: problems.iter().map(ProblemInfo::from).collect(),
        };
        for jail in config.enabled() {
            let name = jail.settings.name.to_string();
            let key = filter_key(jail);
            let filter = |filters: &Filters| filters.get(&key).map(|filter| filter.sources.clone());
            match self.config.jail(&name).filter(|old| old.enabled) {
                None => report.added.push(name),
                Some(old) if old == jail && filter(&filters) == filter(&self.filters) => {
                    report.unchanged.push(name);
                }
                Some(_) => report.changed.push(name),
            }
        }
        let gone = self.config.enabled().map(|jail| jail.settings.name.to_string());
        report.removed = gone.filter(|name| config.jail(name).is_none_or(|jail| !jail.enabled)).collect();

        self.problems = problems;
        self.put_into_force(config, filters, now);
        report
    }

    /// A jail that guards now and is bad in the new configuration goes on as it is.
    fn keep_last_good(&self, name: &str, config: &mut Config, filters: &mut Filters) {
        let Some(good) = self.config.jail(name).filter(|jail| jail.enabled) else { return };
        config.jails.retain(|jail| jail.settings.name != good.settings.name);
        let filter = self.filters.get(&filter_key(good));
        if good.fail2ban.is_some() || filter.is_none() {
            // Of one that counts bans there is none.
            filters.extend(filter.map(|filter| (filter_key(good), filter.clone())));
            config.jails.push(good.clone());
            config.jails.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        }
        let Some(filter) = filter.filter(|_| good.fail2ban.is_none()) else { return };
        // Its filter as it was, under a name of its own: the file may now say something else.
        let spec = format!("{} (as of the last good configuration)", good.filter);
        filters.insert(spec.clone(), filter.clone());
        config.jails.push(JailConfig { filter: spec, ..good.clone() });
        config.jails.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    }

    fn put_into_force(&mut self, config: Config, filters: Filters, now: Timestamp) {
        let mut actions = Vec::new();
        self.jails.reconfigure(now, settings(&config), config.ignoreip.clone(), &mut actions);
        let proxies = config.trusted_proxies.clone();
        self.jails.set_never(now, crate::jail::Never::TrustedProxy, proxies, &mut actions);
        // The jails' ends are recorded and lifted before the plan forgets the jails' sets.
        self.perform(actions, None, now);
        let plan = plan(&config, self.jails.allow_nets());
        self.enforcer.change_plan(plan, &self.jails, now);

        let old = self.desks.patterns();
        self.desks.configure(&config, &self.jails, &filters);
        let new = self.desks.patterns();
        for pattern in old.iter().filter(|pattern| !new.contains(pattern)) {
            self.tailer.remove(pattern);
        }
        self.fail2ban_log.configure(config.fail2ban_log_file());
        self.config = config;
        self.filters = filters;
        self.configure_actions();
        let added: Vec<String> = new.into_iter().filter(|pattern| !old.contains(pattern)).collect();
        self.open_logs(&added, &Default::default(), now);
        self.look_around(now);
        self.watch_names();
        self.flush(now);
    }

    /// What says of which time a line of `jail`'s logs is.
    fn line_date(&self, jail: &JailConfig, now: Timestamp) -> LineDate {
        if let Some(LoadedFilter { filter: Reading::Fail2ban(program), .. }) =
            self.filters.get(&filter_key(jail))
        {
            return Arc::new(crate::fail2ban::set::line_date(program, now));
        }
        let dates = FilterSet::new(Vec::new(), context(jail.timezone, &self.config));
        Arc::new(move |line: &[u8]| dates.time_of(line, now))
    }

    /// Begins to read the logs of `patterns`, each where `stored` says, else one findtime back, with desks for them and for
    /// all that were open already.
    pub(super) fn open_logs(
        &mut self,
        patterns: &[String],
        stored: &std::collections::HashMap<std::path::PathBuf, Position>,
        now: Timestamp,
    ) {
        for pattern in patterns {
            let on: Vec<&JailConfig> =
                self.config.enabled().filter(|jail| jail.logpath.contains(pattern)).collect();
            let look_back = on.iter().map(|jail| jail.settings.findtime).max().unwrap_or_default();
            let Some(first) = on.first() else { continue };
            let line_date = self.line_date(first, now);
            let start = crate::source::Start { now, stored, look_back, line_date };
            self.tailer.add(pattern, &start);
        }
        self.set_out_desks();
    }

    /// Makes ready what reads the logs that are there: their first attacker does not wait for it.
    fn set_out_desks(&mut self) {
        for pattern in self.desks.patterns() {
            for log in self.tailer.logs_of(&pattern) {
                if let Some(path) = self.tailer.path_of(log) {
                    self.desks.of(log, path);
                }
            }
        }
    }
}
