//! Where things are: the record of the agent that is reused, so that shells started later, and programs without the variable,
//! find it; and the user's configuration.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use nix::unistd::Uid;

use crate::env;

/// The directory of the record: `$XDG_RUNTIME_DIR/apptoken`, else `~/.local/state/apptoken`. Nothing secret is in it.
pub fn record_directory() -> Option<PathBuf> {
    let runtime = absolute(env::XDG_RUNTIME_DIR).filter(|path| is_ours(path));
    runtime.or_else(|| absolute(env::HOME).map(|home| home.join(".local/state"))).map(|base| base.join("apptoken"))
}

/// The directory of the user's own configuration and stored keys: `$XDG_CONFIG_HOME/apptoken`, else `~/.config/apptoken`.
pub fn config_directory() -> Option<PathBuf> {
    let base = absolute(env::XDG_CONFIG_HOME).or_else(|| absolute(env::HOME).map(|home| home.join(".config")));
    base.map(|base| base.join("apptoken"))
}

/// The file in it that says what is remembered of keys.
pub fn config_file() -> Option<PathBuf> {
    config_directory().map(|directory| directory.join("config.toml"))
}

/// Whether there is anything to load where keys are stored; a look only, and no judgement.
pub fn has_stored_keys() -> bool {
    config_directory().is_some_and(|directory| {
        let mut keys = fs::read_dir(directory.join(KEYS)).into_iter().flatten().flatten();
        keys.any(|entry| entry.path().extension().is_some_and(|kind| kind == KEY_FILE))
            || directory.join(ORIGINAL_KEY).exists()
    })
}

/// The path that a variable holds. One that is not absolute says nothing, as the XDG specification has it.
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The socket that the record names, if there is a record and it is ours.
pub fn recorded_socket() -> Option<PathBuf> {
    let directory = record_directory().filter(|path| is_ours(path))?;
    let socket = fs::read(directory.join(RECORD)).ok().filter(|path| !path.is_empty() && path.len() <= MAX_RECORD)?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(socket)))
}

/// Makes the directory of the record, 0700; refuses one that is somebody else's.
pub fn make_record_directory() -> io::Result<PathBuf> {
    let directory =
        record_directory().ok_or_else(|| io::Error::other("neither a runtime directory nor a home is set"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    if is_ours(&directory) { Ok(directory) } else { Err(io::Error::other("it is not ours alone to write in")) }
}

/// A directory that is ours, and that nobody else can write to.
fn is_ours(path: &std::path::Path) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    fs::symlink_metadata(path).is_ok_and(|there| {
        there.is_dir() && there.uid() == Uid::effective().as_raw() && there.mode() & OTHERS_WRITE == 0
    })
}

/// The file with the socket's path in it.
pub const RECORD: &str = "agent";
/// The file that is locked while an agent is started.
pub const START_LOCK: &str = "start.lock";
/// Longest path read, in bytes.
const MAX_RECORD: usize = 4096;
/// The directory of the sealed keys, in that of the configuration, and how the name of each ends.
pub const KEYS: &str = "keys";
/// See [`KEYS`].
pub const KEY_FILE: &str = "key";
/// The key that the original tool stored, in the same directory.
pub const ORIGINAL_KEY: &str = "pem.enc";
