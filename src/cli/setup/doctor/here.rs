//! What can be checked on this machine alone: the two programs, the socket, and who else may read what lies around it.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;

use super::door::Door;
use super::report::Report;
use super::tools::version_of;
use crate::cli::elsewhere::beside_us;
use crate::cli::error::start;
use crate::cli::json::shown;
use crate::{env, paths};

/// Whether both programs, and the agent that runs, are of one version.
pub(super) fn programs(report: &mut Report, door: &Door) {
    if let Ok(pong) = &door.answer
        && pong["version"] != OURS
    {
        let says = format_args!("apptoken is {OURS}, and the agent that runs is {}", shown(pong, "version"));
        let hint = format_args!("end it, start the new one, and add the keys again: apptoken-agent -k");
        return report.fail("programs", says, hint);
    }
    let client = beside_us(CLIENT);
    let (is, what) = match &version_of(&mut Command::new(&client)) {
        Ok(version) if version == OURS => {
            let running = if door.answer.is_ok() { ", as is the agent that runs" } else { "" };
            return report.ok("programs", format_args!("apptoken and apptoken-agent are {OURS}{running}"));
        }
        Ok(other) => ("is ", other.clone()),
        Err(why) => ("", (*why).to_owned()),
    };
    let says = format_args!("apptoken-agent is {OURS}, and {} {is}{what}", client.display());
    report.fail("programs", says, format_args!("install both of one version, beside each other"));
}

/// Whether there is a socket, and it is ours.
pub(super) fn socket(report: &mut Report, door: &Door) -> bool {
    let Some(socket) = door.socket() else {
        let why = format_args!("{} is not set, and none is on record", env::AUTH_SOCK);
        report.no_agent("socket", why, format_args!("{}", start()));
        return false;
    };
    let shown = socket.display();
    let wrong = match fs::metadata(socket) {
        Ok(there) if !there.file_type().is_socket() => "it is not a socket",
        Ok(there) if door.by_record && there.uid() != Uid::effective().as_raw() => "it is somebody else's",
        Ok(_) => "",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no such socket",
        Err(_) => "it cannot be looked at",
    };
    if !wrong.is_empty() {
        report.no_agent("socket", format_args!("{shown}: {wrong}"), format_args!("{}", start()));
        return false;
    }
    match &door.named {
        Some(named) if door.by_record => report.warn(
            "socket",
            format_args!("{shown}, on record; there is no agent at {}", named.display()),
            format_args!("correct {}: eval \"$(apptoken-agent)\"", env::AUTH_SOCK),
        ),
        _ => report.ok("socket", format_args!("{shown}{}", if door.by_record { ", on record" } else { "" })),
    }
    true
}

/// Whether nobody else can get at the socket, or at what is stored.
pub(super) fn modes(report: &mut Report, socket: Option<&Path>) {
    let mut modes = Modes::default();
    let mut replaceable = false;
    if let Some(socket) = socket {
        let directory = socket.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE)) {
            modes.look(directory);
        } else {
            // Another directory is not the agent's to close; the mode of the socket will do, if it stays there.
            let mode = fs::metadata(directory).map_or(0, |there| there.mode());
            replaceable = mode & OTHERS_WRITE != 0 && mode & STICKY == 0;
        }
        modes.look(socket);
    }
    if let Some(stored) = paths::config_directory() {
        modes.look_below(&stored, DEPTH);
    }
    if !modes.wrong.is_empty() {
        report.fail("modes", format_args!("{}", modes.wrong), format_args!("{}", modes.remedy));
    } else if replaceable {
        report.warn(
            "modes",
            format_args!("others can write where the socket is, and put another in its place"),
            format_args!("start the agent without `-a`, and it makes a directory of its own"),
        );
    } else if modes.looked {
        report.ok("modes", format_args!("nobody else can open the socket, or what is stored"));
    } else {
        report.skip(&["modes"], "there is nothing to look at");
    }
}

/// What was found of who may do what.
#[derive(Default)]
struct Modes {
    looked: bool,
    /// What is too open.
    wrong: String,
    /// The commands that close it.
    remedy: String,
}

impl Modes {
    /// Looks at what is ours, and ours alone to open.
    fn look(&mut self, path: &Path) {
        let Ok(there) = fs::symlink_metadata(path) else { return };
        if there.is_symlink() || there.uid() != Uid::effective().as_raw() {
            return;
        }
        self.looked = true;
        if there.mode() & OTHERS == 0 || self.wrong.len() > ENOUGH {
            return;
        }
        let (comma, and) = if self.wrong.is_empty() { ("", "") } else { (", ", " && ") };
        let _ = write!(self.wrong, "{comma}{} has mode {:04o}", path.display(), there.mode() & 0o7777);
        let wanted = if there.is_dir() { "700" } else { "600" };
        let _ = write!(self.remedy, "{and}chmod {wanted} {}", shell_words::quote(&path.to_string_lossy()));
    }

    fn look_below(&mut self, path: &Path, depth: usize) {
        self.look(path);
        if depth > 0 {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.look_below(&entry.path(), depth - 1);
            }
        }
    }
}

const OURS: &str = env!("CARGO_PKG_VERSION");
const CLIENT: &str = "apptoken";
/// How the name of a directory begins that an agent made for its socket.
const PRIVATE: &str = "apptoken-";
/// What a mode lets anybody else do.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// In such a directory nobody can remove what is another's.
const STICKY: u32 = 0o1000;
/// Directories below each other where something is stored.
const DEPTH: usize = 3;
/// Bytes of paths that are too open, after which no more are told.
const ENOUGH: usize = 500;
