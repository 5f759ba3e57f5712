//! Who may do what on the control socket.

use nix::unistd::{Group, geteuid};

use super::protocol::Request;
use super::server::SocketSettings;

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask whether the daemon is well, nothing else.
    Nobody,
    /// Look at everything, and unban what is named.
    Helpdesk,
    /// Everything.
    Admin,
}

impl Role {
    /// The least role that may ask `request`.
    pub fn needed_for(request: &Request) -> Role {
        match request {
            Request::Ping => Role::Nobody,
            Request::Status { .. }
            | Request::Why { .. }
            | Request::Bans { .. }
            | Request::AllowList
            | Request::Shadow { .. }
            | Request::JailSettings { .. }
            | Request::Settings
            | Request::Unban { all: false, .. } => Role::Helpdesk,
            Request::Unban { all: true, .. }
            | Request::Ban { .. }
            | Request::AllowAdd { .. }
            | Request::AllowRm { .. }
            | Request::Reload
            | Request::JailSet { .. }
            | Request::Stop
            | Request::Flush => Role::Admin,
        }
    }
}

/// Which users and groups have which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    admin_uids: Vec<u32>,
    admin_group: Option<(String, u32)>,
    helpdesk_group: Option<(String, u32)>,
}

impl Roles {
    /// Looks the configured groups up. Root and the daemon's own user are admins in any case. The texts say
    /// which groups there are not: their members simply have no role.
    pub fn of(settings: &SocketSettings) -> (Roles, Vec<String>) {
        let mut warnings = Vec::new();
        let mut group = |key: &str, name: &Option<String>| {
            let name = name.as_ref()?;
            match Group::from_name(name) {
                Ok(Some(group)) => Some((name.clone(), group.gid.as_raw())),
                _ => {
                    warnings.push(format!("{key} {name:?}: there is no such group; nobody gets in by it"));
                    None
                }
            }
        };
        let roles = Roles {
            admin_uids: vec![0, geteuid().as_raw()],
            admin_group: group("socket_group", &settings.group),
            helpdesk_group: group("helpdesk_group", &settings.helpdesk_group),
        };
        (roles, warnings)
    }

    /// The group that the socket file gets; the admins' first.
    pub(crate) fn socket_gid(&self) -> Option<u32> {
        self.admin_group.as_ref().or(self.helpdesk_group.as_ref()).map(|(_, gid)| *gid)
    }

    /// Whether one group's bits on the socket file cannot let everybody in who has a role.
    pub(super) fn needs_two_groups(&self) -> bool {
        self.admin_group.is_some() && self.helpdesk_group.is_some()
    }

    pub fn role(&self, uid: u32, gid: u32, groups: &[u32]) -> Role {
        let member = |group: &Option<(String, u32)>| {
            group.as_ref().is_some_and(|(_, wanted)| *wanted == gid || groups.contains(wanted))
        };
        if self.admin_uids.contains(&uid) || member(&self.admin_group) {
            Role::Admin
        } else if member(&self.helpdesk_group) {
            Role::Helpdesk
        } else {
            Role::Nobody
        }
    }

    /// What somebody without the role can do about it.
    pub(super) fn help(&self, needed: Role) -> String {
        let mut ways = vec!["run it as root".to_owned()];
        let groups = [(Role::Admin, &self.admin_group), (Role::Helpdesk, &self.helpdesk_group)];
        for (role, group) in groups {
            if let (true, Some((name, _))) = (role >= needed, group) {
                ways.push(format!("be a member of group {name}"));
            }
        }
        if ways.len() == 1 {
            let key = if needed == Role::Admin { "socket_group" } else { "helpdesk_group" };
            ways.push(format!("set {key} in portero.toml"));
        }
        ways.join(", or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Roles {
        Roles {
            admin_uids: vec![0, 990],
            admin_group: Some(("mailops".into(), 500)),
            helpdesk_group: Some(("helpdesk".into(), 600)),
        }
    }

    #[test]
    fn groups_give_roles_and_strangers_have_none() {
        let roles = roles();
        assert_eq!(roles.role(0, 0, &[]), Role::Admin);
        assert_eq!(roles.role(990, 990, &[]), Role::Admin);
        assert_eq!(roles.role(1000, 1000, &[4, 500]), Role::Admin);
        assert_eq!(roles.role(1000, 600, &[]), Role::Helpdesk);
        assert_eq!(roles.role(1000, 600, &[500]), Role::Admin);
        assert_eq!(roles.role(1000, 1000, &[4]), Role::Nobody);
    }

    #[test]
    fn the_helpdesk_lifts_what_it_names_and_nothing_else() {
        let unban = |all| Request::Unban {
            targets: vec![],
            all,
            jail: None,
            grace_secs: None,
            reason: None,
            all_addresses: false,
        };
        assert_eq!(Role::needed_for(&unban(false)), Role::Helpdesk);
        assert_eq!(Role::needed_for(&unban(true)), Role::Admin);
        assert_eq!(Role::needed_for(&Request::Reload), Role::Admin);
        assert!(roles().help(Role::Helpdesk).ends_with("or be a member of group helpdesk"));
        assert_eq!(Roles::default().help(Role::Admin), "run it as root, or set socket_group in portero.toml");
    }
}
