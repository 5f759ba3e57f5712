//! Debian's fail2ban as a witness: taken from its package, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unpacked package: `etc/fail2ban`, `usr/lib/python3/dist-packages`. `None`, said by name, where it cannot be had.
///
/// `FAIL2BAN_ROOT` names one that is unpacked already.
pub fn fail2ban(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("FAIL2BAN_ROOT") {
        return Some(folder.into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-fail2ban");
    if !folder.is_dir() && unpack(&folder).is_none() {
        println!("skipped: {test}: Debian's fail2ban package cannot be had here");
        return None;
    }
    Some(folder)
}

/// Each test is a process of its own: whoever is first puts the folder there, whole.
fn unpack(folder: &Path) -> Option<()> {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).ok()?;
    // apt reads as its own user.
    fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).ok()?;
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    done(Command::new("apt-get").args(["download", "-q", "fail2ban"]).current_dir(work.path()))
        .then_some(())?;
    let found = fs::read_dir(work.path()).ok()?.find_map(|entry| Some(entry.ok()?.path()))?;
    let unpacked = work.path().join("x");
    done(Command::new("dpkg").arg("-x").arg(found).arg(&unpacked)).then_some(())?;
    let _ = fs::rename(unpacked, folder);
    folder.is_dir().then_some(())
}

/// A copy of Debian's /etc/fail2ban at `to`, with `files` put into it.
pub fn configuration(package: &Path, to: &Path, files: &[(&str, &str)]) {
    let copy = Command::new("cp").arg("-r").arg(package.join("etc/fail2ban")).arg(to).status();
    assert!(copy.is_ok_and(|status| status.success()), "copied to {}", to.display());
    for (name, text) in files {
        fs::write(to.join(name), text).unwrap();
    }
}
