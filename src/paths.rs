//! Where things are: the record of the agent that is reused, so that shells started later, and programs without the variable,
//! find it; and the user's configuration.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
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

/// The socket that the record names, if there is a record, and it is ours and names what can be a socket's path.
pub fn recorded_socket() -> Option<PathBuf> {
    let directory = record_directory().filter(|path| is_ours(path))?;
    // Opening a FIFO must not wait for a writer.
    let record =
        File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(directory.join(RECORD));
    let record = record.ok()?;
    let there = record.metadata().ok()?;
    if !there.is_file() || there.uid() != Uid::effective().as_raw() || there.len() > MAX_RECORD {
        return None;
    }
    let mut socket = Vec::new();
    record.take(MAX_RECORD).read_to_end(&mut socket).ok()?;
    Some(PathBuf::from(OsString::from_vec(socket))).filter(|path| path.is_absolute() && !has_nul(path))
}

/// Returns true if an agent chose this path by itself: `…/apptoken-XXXXXXXXXX/agent.PID`.
///
/// What a user chose, or was handed, looks different: that of `-a`, of a command's own agent, a forwarded one.
pub fn is_named_by_agent(socket: &Path) -> bool {
    let name =
        socket.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(AGENT_SOCKET)?.strip_prefix('.'));
    let directory = socket.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    let random = directory.and_then(|name| name.strip_prefix(PRIVATE_DIRECTORY));
    name.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
        && random.is_some_and(|part| part.len() == RANDOM_PART && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_bytes().contains(&0)
}

/// Makes the directory of the record, 0700; refuses one that is somebody else's.
pub fn make_record_directory() -> io::Result<PathBuf> {
    let directory =
        record_directory().ok_or_else(|| io::Error::other("neither a runtime directory nor a home is set"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    if is_ours(&directory) { Ok(directory) } else { Err(io::Error::other("it is not ours alone to write in")) }
}

/// Opens the file that is locked while an agent is started, in the directory of the record.
pub fn open_start_lock(directory: &Path) -> io::Result<File> {
    let mut options = File::options();
    // Opening a FIFO must not wait for a reader.
    let options = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NONBLOCK);
    options.open(directory.join(START_LOCK))
}

/// A directory that is ours, and that nobody else can write to.
fn is_ours(path: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    fs::symlink_metadata(path).is_ok_and(|there| {
        there.is_dir() && there.uid() == Uid::effective().as_raw() && there.mode() & OTHERS_WRITE == 0
    })
}

/// How the name of an agent's private directory begins; random characters follow.
pub const PRIVATE_DIRECTORY: &str = "apptoken-";
/// Random characters in the name of a private directory.
pub const RANDOM_PART: usize = 10;
/// How an agent names its socket there; a dot and a process ID follow.
pub const AGENT_SOCKET: &str = "agent";
/// The file with the socket's path in it.
pub const RECORD: &str = "agent";
/// The file that is locked while an agent is started.
const START_LOCK: &str = "start.lock";
/// Longest record read, in bytes: that of a socket's path, which with its end must fit into the 108 bytes of `sun_path`.
const MAX_RECORD: u64 = 107;
/// The directory of the sealed keys, in that of the configuration, and how the name of each ends.
pub const KEYS: &str = "keys";
/// See [`KEYS`].
pub const KEY_FILE: &str = "key";
/// The key that the original tool stored, in the same directory.
pub const ORIGINAL_KEY: &str = "pem.enc";
