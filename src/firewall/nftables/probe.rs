//! Finding out what this kernel does with the elements of sets, and asking it for single ones.

use std::net::IpAddr;
use std::time::Duration;

use super::batch::{Batch, Element, NFT_MSG_NEWSETELEM, Op, kind, request_element};
use super::layout::{Kind, SetDef};
use super::link::{CommitError, DumpError};
use super::read::{self, ElementInfo};
use super::{ElementAbilities, State, refusal};
use crate::addr::Net;
use crate::firewall::{Errno, FirewallError};
use crate::jail::JailName;
use crate::time::Span;

impl State {
    /// Finds out on a set of its own what this kernel does with elements.
    pub fn probe(&mut self) -> Result<(), FirewallError> {
        let action = "try out sets in table inet portero";
        let set = SetDef { name: "probe/4".to_owned(), ipv4: true, kind: Kind::Hosts };
        let key = IpAddr::from([192, 0, 2, 1]);
        let hour = Duration::from_secs(3600);
        let ban = |left| std::iter::once((0, Element::ban(key, Span::For(left))));
        let made = self.step(|batch| {
            batch.add_set(&set);
            batch.elements(Op::Add, &set.name, ban(hour));
        });
        let again = made.and_then(|()| self.step(|batch| batch.elements(Op::Add, &set.name, ban(2 * hour))));
        again.map_err(|error| self.failed(error, action))?;
        let read = self.element(&set.name, key);
        let left = read.ok().and_then(|elements| elements.first().map(|element| element.left));
        let refresh = matches!(left, Some(Span::For(left)) if left > hour);
        let absent = std::iter::once((0, Element::remove(IpAddr::from([192, 0, 2, 2]))));
        let destroy = self.step(|batch| batch.elements(Op::Destroy, &set.name, absent)).is_ok();
        let gone = self.step(|batch| batch.delete_set(&set.name));
        gone.map_err(|error| self.failed(error, action))?;
        self.elements = ElementAbilities { refresh, destroy };
        Ok(())
    }

    /// Whether the kernel holds that very ban.
    pub fn holds(&mut self, jail: &JailName, target: Net) -> Result<bool, FirewallError> {
        let Some(set) = self.jails.get(jail).map(|jail| jail.set_of(target).clone()) else {
            return Ok(false);
        };
        let found = match set.kind {
            Kind::Hosts | Kind::Prefix(_) => self.element(&set.name, target.base().ip()),
            Kind::Wide | Kind::Allow => read::elements(&mut self.reader, &set.name, usize::MAX),
        };
        match found {
            Ok(elements) if set.is_hash() => Ok(!elements.is_empty()),
            // One interval may stand for several bans, so it is enough that it is within one.
            Ok(elements) => Ok(read::bans(&set, elements).iter().any(|(net, _)| net.covers(target))),
            Err(DumpError::Errno(Errno(libc::ENOENT))) => Ok(false),
            Err(DumpError::Errno(errno)) => {
                Err(refusal(errno, format!("read set inet portero/{}", set.name)))
            }
            Err(DumpError::TooMany) => Ok(false),
        }
    }

    fn element(&mut self, set: &str, key: IpAddr) -> Result<Vec<ElementInfo>, DumpError> {
        let ask = |seq| request_element(seq, set, key);
        self.reader.dump(ask, usize::MAX, |message, out| {
            if message.kind == kind(NFT_MSG_NEWSETELEM) {
                read::read_elements(message, out);
            }
        })
    }

    fn step(&mut self, build: impl FnOnce(&mut Batch)) -> Result<(), CommitError> {
        let mut batch = Batch::new(self.command.seq());
        build(&mut batch);
        self.command.commit(&batch.close())
    }
}
