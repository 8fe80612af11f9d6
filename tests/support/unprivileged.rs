//! A user who is not root: root may look into every process, so attacks must be tried as somebody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use nix::unistd::Uid;

use super::command::Invocation;
use super::{AGENT, APPTOKEN, World, need};

/// A user without privileges, who owns the directories of a world and has copies of both programs there.
pub(crate) struct Unprivileged {
    pub(crate) uid: Uid,
    become_user: Vec<String>,
}

impl Unprivileged {
    /// Gives the world to that user: to `nobody` if root runs the tests, else to the user who does. The copies of the programs
    /// in the home directory have this mode. Returns nothing if a program is missing that this needs.
    #[must_use = "a test whose program is missing must return"]
    pub(crate) fn in_world(w: &mut World, mode: u32) -> Option<Self> {
        if !need("setpriv") {
            return None;
        }
        let (mut uid, mut become_user) = (Uid::current(), vec!["--no-new-privs".to_owned()]);
        if uid.is_root() {
            uid = NOBODY;
            become_user.extend([format!("--reuid={NOBODY}"), "--clear-groups".to_owned()]);
            for part in ["..", "", "home", "run", "tmp", "config", "home/key.pem"] {
                chown(w.path(part), Some(NOBODY.as_raw()), None).expect("root may");
            }
        }
        for program in [APPTOKEN, AGENT] {
            // By another process, as in `World::script`.
            w.command("cp").arg(program).arg(".").run().ok();
            let copy = w.path("home").join(program.rsplit('/').next().expect("a path has a last part"));
            fs::set_permissions(copy, Permissions::from_mode(mode)).expect("the copy is ours");
        }
        // The directories of root's own PATH may be closed to others.
        let path = [w.path("home").as_os_str(), "/usr/local/bin:/usr/bin:/bin".as_ref()].join(":".as_ref());
        w.env("PATH", path);
        Some(Self { uid, become_user })
    }

    /// Returns true if the copies of the programs belong to that user, whom their mode then does not keep from reading them.
    pub(crate) fn owns_programs(&self) -> bool {
        self.uid == Uid::current()
    }

    /// Writes a file of that user into the home directory, at once.
    #[track_caller]
    pub(crate) fn file(&self, w: &World, name: &str, contents: impl AsRef<[u8]>) {
        let draft = w.file(&format!("{name}.new"), contents);
        chown(&draft, Some(self.uid.as_raw()), None).expect("it is ours, or we are root");
        fs::rename(draft, w.path("home").join(name)).expect("the home directory is writable");
    }

    /// A command run by that user.
    pub(crate) fn command(&self, w: &World, command: &[&str]) -> Invocation {
        w.command("setpriv").args(&self.become_user).args(command)
    }
}

const NOBODY: Uid = Uid::from_raw(65534);
