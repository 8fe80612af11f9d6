//! Where sealed keys lie: `keys/NAME.key` in the directory of the configuration, and what the original tool has left there.
//!
//! What is in them is not looked at here.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::keys::{AppTerms, KeyInput, Known, warn_if_exposed};
use crate::files::{self, Folder, Writing};
use crate::ids::{AppId, InstallationId, KeyName};
use crate::output::say;
use crate::paths::{KEY_FILE, KEYS, ORIGINAL_KEY, config_directory};
use crate::pem::MAX_KEY;

/// The directory of stored keys.
pub(super) struct Store {
    directory: PathBuf,
}

/// A key that is stored, and where.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct StoredKey {
    pub(super) name: KeyName,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

impl StoredKey {
    /// Opens it, for the agent to read. Warns if others can read it too.
    pub(super) fn open(&self) -> Result<KeyInput, CliError> {
        open_sealed(&self.path).map(|file| KeyInput::File(Arc::new(file)))
    }

    /// What the original tool says of its key. It knew of no other hosts, and leaves those to the environment.
    pub(super) fn said(&self) -> Result<Option<Known>, CliError> {
        let Kind::Original { app_id, installation_id } = &self.kind else { return Ok(None) };
        let environment = AppTerms::in_environment()?;
        let app = AppTerms { app_id: app_id.clone().or(environment.app_id.clone()), ..environment };
        Ok(Some(Known { app: Some(app), installation_id: *installation_id, name: None }))
    }
}

/// Who stored it.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// We.
    Sealed,
    /// The original tool: `pem.enc`, and what its `config.json` says.
    Original { app_id: Option<AppId>, installation_id: Option<InstallationId> },
}

impl Store {
    /// The user's own; it need not be there yet.
    pub(super) fn find() -> Result<Self, CliError> {
        let directory = config_directory();
        let directory = directory.ok_or_else(|| CliError::new("no place for stored keys is known").hint("set HOME"))?;
        Ok(Self { directory })
    }

    /// All keys, in the order of their names. Warns of directories that others can look into, and of names that are none.
    pub(super) fn stored(&self) -> Result<Vec<StoredKey>, CliError> {
        let mut keys = Vec::new();
        for path in files_in(&self.keys())? {
            if path.extension().is_none_or(|kind| kind != KEY_FILE) {
                continue;
            }
            match path.file_stem().and_then(OsStr::to_str).unwrap_or_default().parse() {
                Ok(name) => keys.push(StoredKey { name, path, kind: Kind::Sealed }),
                Err(why) => say(format_args!("apptoken: warning: {:?} is left out: {why}", path.to_string_lossy())),
            }
        }
        keys.extend(self.original(&keys));
        keys.sort_by(|one, other| one.name.cmp(&other.name));
        if !keys.is_empty() {
            warn_if_open(&self.directory);
            warn_if_open(&self.keys());
        }
        Ok(keys)
    }

    /// Where a key of this name is stored, if it is.
    pub(super) fn key_file(&self, name: &KeyName) -> PathBuf {
        self.keys().join(format!("{name}.{KEY_FILE}"))
    }

    /// Stores a sealed key, for nobody else to read; another of that name stays, unless it is to be replaced.
    pub(super) fn save_key(&self, name: &KeyName, sealed: &[u8], replace: bool) -> Result<PathBuf, CliError> {
        let named = self.key_file(name);
        let no_way = |error| cannot("write", &named, &error);
        let writing = Writing::lock(&named).map_err(no_way)?;
        if !replace && fs::symlink_metadata(&named).is_ok() {
            return Err(CliError::new(format!("a key is stored as `{name}` already"))
                .hint("choose another name, or say that it is to be replaced"));
        }
        writing.write(sealed).map_err(no_way)?;
        Ok(named)
    }

    /// Removes what the original tool has left; for after its key is stored here, and the user said so.
    pub(super) fn remove_original(&self) -> Result<(), CliError> {
        let no_way = |error| cannot("remove the original in", &self.directory, &error);
        let folder = Folder::lock(&self.directory).map_err(no_way)?;
        // The key first: what says whose it is must not be gone before it.
        [ORIGINAL_KEY, ORIGINAL_CONFIG].into_iter().try_for_each(|file| folder.remove(file.as_ref())).map_err(no_way)
    }

    /// The original tool's key, by a name that none of `others` has.
    fn original(&self, others: &[StoredKey]) -> Option<StoredKey> {
        let path = self.directory.join(ORIGINAL_KEY);
        fs::metadata(&path).ok()?;
        let is_free = |name: &KeyName| others.iter().all(|key| key.name != *name);
        let mut names = std::iter::once("original".to_owned()).chain((2..).map(|number| format!("original-{number}")));
        let name = names.find_map(|name| name.parse().ok().filter(is_free))?;
        let said = self.original_config().unwrap_or_default();
        let kind = Kind::Original { app_id: id(&said["appId"]), installation_id: id(&said["installationId"]) };
        Some(StoredKey { name, path, kind })
    }

    /// What its `config.json` says. Its `pemPath` is not followed: the one key that is read is the one in this directory.
    fn original_config(&self) -> Option<Value> {
        let file = self.directory.join(ORIGINAL_CONFIG);
        let said = files::read(&file, MAX_ORIGINAL_CONFIG).and_then(|(text, _)| {
            // Its own words would quote what stands there.
            serde_json::from_slice(&text)
                .map_err(|why| io::Error::other(format!("it is damaged in line {}", why.line())))
        });
        said.inspect_err(|error| say(format_args!("apptoken: warning: cannot read {}: {error}", file.display()))).ok()
    }

    fn keys(&self) -> PathBuf {
        self.directory.join(KEYS)
    }
}

fn open_sealed(file: &Path) -> Result<File, CliError> {
    let (sealed, there) = files::open(file, MAX_KEY).map_err(|error| cannot("read", file, &error))?;
    warn_if_exposed(file, &there, "600");
    Ok(sealed)
}

fn warn_if_open(directory: &Path) {
    if let Ok(there) = fs::metadata(directory) {
        warn_if_exposed(directory, &there, "700");
    }
}

/// The files in a directory; none if it is not there.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot("read", directory, &error)),
    }
}

/// An ID as the original wrote it: a number, or text.
fn id<T: std::str::FromStr>(said: &Value) -> Option<T> {
    said.as_u64().map(|number| number.to_string()).or_else(|| said.as_str().map(str::to_owned))?.parse().ok()
}

fn cannot(what: &str, file: &Path, error: &dyn Display) -> CliError {
    CliError::new(format!("cannot {what} {}: {error}", file.display()))
        .hint("see what it is, and who may use that directory")
}

const ORIGINAL_CONFIG: &str = "config.json";
/// Largest `config.json` read, in bytes; it has four short entries.
const MAX_ORIGINAL_CONFIG: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;
    use crate::files::make_folder;

    /// A store in a directory of its own, which is not there yet.
    fn store() -> (TempDir, Store) {
        let home = TempDir::new().expect("a directory");
        let directory = home.path().join("config/apptoken");
        (home, Store { directory })
    }

    fn content(file: &Path) -> Vec<u8> {
        let mut content = Vec::new();
        open_sealed(file).expect("it can be opened").read_to_end(&mut content).expect("it can be read");
        content
    }

    fn name(text: &str) -> KeyName {
        text.parse().expect("a name")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    fn names(store: &Store) -> Vec<String> {
        store.stored().expect("it can be read").iter().map(|key| key.name.to_string()).collect()
    }

    #[test]
    fn a_key_is_stored_for_nobody_else_and_found_by_its_name() {
        let (_home, store) = store();
        assert_eq!(names(&store), Vec::<String>::new());
        let file = store.save_key(&name("b"), b"sealed", false).expect("it is stored");
        store.save_key(&name("a"), b"other", false).expect("it is stored");
        assert_eq!(content(&file), b"sealed");
        assert_eq!((mode(&file), mode(&store.keys()), mode(&store.directory)), (0o600, 0o700, 0o700));
        let [a, b] = &store.stored().expect("it can be read")[..] else { panic!("two keys: {:?}", names(&store)) };
        assert_eq!((&a.name, &a.path, &a.kind), (&name("a"), &store.key_file(&name("a")), &Kind::Sealed));
        assert_eq!((&b.name, &b.path), (&name("b"), &file));
        assert_eq!(fs::read_dir(store.keys()).expect("it is there").count(), 2, "no draft is left");
    }

    #[test]
    fn a_stored_key_is_replaced_only_when_that_was_said() {
        let (_home, store) = store();
        let file = store.save_key(&name("a"), b"first", false).expect("it is stored");
        assert!(store.save_key(&name("a"), b"second", false).is_err());
        assert_eq!(content(&file), b"first");
        store.save_key(&name("a"), b"second", true).expect("it is replaced");
        assert_eq!(content(&file), b"second");
    }

    #[test]
    fn what_is_no_keys_name_is_left_out() {
        let (_home, store) = store();
        store.save_key(&name("good"), b"sealed", false).expect("it is stored");
        let long = "x".repeat(65);
        for bad in [".hidden", "-t", "a b", "new\nline", &long, ""] {
            fs::write(store.keys().join(format!("{bad}.key")), "sealed").expect("a file");
        }
        fs::write(store.keys().join(OsStr::from_bytes(b"\xff.key")), "sealed").expect("a file");
        fs::write(store.keys().join(".apptoken-draft-1"), "seal").expect("a file");
        fs::write(store.keys().join("good.key~"), "sealed").expect("a file");
        assert_eq!(names(&store), ["good"]);
    }

    #[test]
    fn what_is_no_regular_file_or_too_large_is_not_read() {
        let (_home, store) = store();
        make_folder(&store.keys()).expect("a directory");
        let file = store.key_file(&name("a"));
        let refused = |reason: &str| {
            let why = format!("{:?}", open_sealed(&file).expect_err(reason));
            assert!(why.contains(reason) && why.contains("a.key"), "{why}");
        };
        refused("No such file");
        fs::create_dir(&file).expect("a directory");
        refused("no regular file");
        fs::remove_dir(&file).expect("it is empty");
        mkfifo(&file, Mode::S_IRWXU).expect("a pipe");
        refused("no regular file");
        fs::remove_file(&file).expect("it is there");
        symlink("/dev/zero", &file).expect("a link");
        refused("no regular file");
        fs::remove_file(&file).expect("it is there");
        fs::write(&file, vec![0; MAX_KEY + 1]).expect("it is written");
        refused("over 16 KiB");
        fs::write(&file, vec![0; MAX_KEY]).expect("it is written");
        assert_eq!(content(&file).len(), MAX_KEY);
    }

    #[test]
    fn a_key_behind_a_link_is_replaced_where_it_is() {
        let (home, store) = store();
        make_folder(&store.keys()).expect("a directory");
        let target = home.path().join("elsewhere");
        fs::write(&target, "first").expect("it is written");
        symlink(&target, store.key_file(&name("a"))).expect("a link");
        assert!(store.save_key(&name("a"), b"second", false).is_err());
        store.save_key(&name("a"), b"second", true).expect("it is replaced");
        assert_eq!(fs::read(&target).expect("it is there"), b"second");
        assert!(fs::symlink_metadata(store.key_file(&name("a"))).expect("it is there").is_symlink());
    }

    #[test]
    fn the_originals_key_is_found_with_what_its_configuration_says() {
        for (config, app_id, installation_id) in [
            (
                r#"{"appId": "123", "installationId": "456", "pemPath": "/etc/shadow", "createdAt": "x"}"#,
                Some(123),
                Some(456),
            ),
            (r#"{"appId": 123, "installationId": 456}"#, Some(123), Some(456)),
            (r#"{"appId": [], "installationId": null}"#, None, None),
            (r#"{"appId": "#, None, None),
            ("[1]", None, None),
        ] {
            let (_home, store) = store();
            make_folder(&store.directory).expect("a directory");
            fs::write(store.directory.join("config.json"), config).expect("it is written");
            assert_eq!(names(&store), Vec::<String>::new(), "without its key it is none");
            fs::write(store.directory.join("pem.enc"), "c2VhbGVk").expect("it is written");
            let kind = Kind::Original {
                app_id: app_id.map(AppId::Number),
                installation_id: installation_id.map(InstallationId),
            };
            let path = store.directory.join("pem.enc");
            assert_eq!(
                store.stored().expect("it can be read"),
                [StoredKey { name: name("original"), path, kind }],
                "{config}"
            );
        }
    }

    #[test]
    fn the_originals_key_has_a_name_of_its_own_and_goes_when_that_is_said() {
        let (_home, store) = store();
        for taken in ["zebra", "original", "original-2"] {
            store.save_key(&name(taken), b"sealed", false).expect("it is stored");
        }
        for file in ["pem.enc", "config.json", "config.toml"] {
            fs::write(store.directory.join(file), "{}").expect("it is written");
        }
        assert_eq!(names(&store), ["original", "original-2", "original-3", "zebra"]);
        store.remove_original().expect("it is removed");
        assert_eq!(names(&store), ["original", "original-2", "zebra"]);
        let left: Vec<_> = files_in(&store.directory).expect("it can be read");
        assert!(left.len() == 2 && left.contains(&store.directory.join("config.toml")), "{left:?}");
        store.remove_original().expect("nothing is there to remove");
    }
}
