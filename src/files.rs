//! Files of ours: read within bounds, and written at once or not at all, by one writer at a time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

/// A directory in which nobody else of ours writes as long as this is held.
pub struct Folder {
    path: PathBuf,
    opened: File,
}

/// A file that nobody else of ours writes as long as this is held.
pub struct Writing {
    folder: Folder,
    name: OsString,
}

/// Writes a file that only its owner can read, and makes its directory: whoever reads it, and whenever this is killed, finds it
/// whole as it was or whole as it is now.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> io::Result<()> {
    Writing::lock(file)?.write(bytes)
}

/// Reads a regular file of at most `limit` bytes; a pipe or device would have no end, and might never have a beginning.
pub fn read(file: &Path, limit: usize) -> io::Result<(Vec<u8>, Metadata)> {
    let (opened, there) = open(file, limit)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(limit + 1);
    opened.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    // It may have grown.
    if bytes.len() > limit { Err(too_large(limit)) } else { Ok((bytes, there)) }
}

/// Opens a regular file of at most `limit` bytes, to read it or to hand it over.
pub fn open(file: &Path, limit: usize) -> io::Result<(File, Metadata)> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    let there = opened.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if there.len() > limit as u64 { Err(too_large(limit)) } else { Ok((opened, there)) }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::other(format!("it is over {} KiB", limit / 1024))
}

/// The file itself, or the one that it leads to.
fn behind_links(file: &Path) -> io::Result<PathBuf> {
    if fs::symlink_metadata(file).is_ok_and(|there| there.is_symlink()) {
        return fs::canonicalize(file).map_err(|error| io::Error::new(error.kind(), "it is a link that leads nowhere"));
    }
    Ok(file.to_owned())
}

/// Makes a directory that only its owner can enter, if it is not there.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Waits for the lock of an open file or directory, for `patience` at most.
pub fn wait_for_lock(opened: &File, patience: Duration) -> Result<(), TryLockError> {
    let deadline = Instant::now() + patience;
    loop {
        match opened.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_CHECK),
            result => return result,
        }
    }
}

/// The directory that `file` is in.
pub fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Writing {
    /// Makes the file's directory, and waits until nobody else writes there. Where the file is a link, as managers of dotfiles
    /// make them, the one that it leads to is meant, and the link kept.
    pub fn lock(file: &Path) -> io::Result<Self> {
        let file = behind_links(file)?;
        make_folder(directory_of(&file))?;
        let folder = Folder::lock(directory_of(&file))?;
        Ok(Self { folder, name: file.file_name().unwrap_or_default().to_owned() })
    }

    /// Writes it.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.folder.write(&self.name, bytes)
    }
}

impl Folder {
    /// Waits, for ten seconds at most, until no other writer is in the directory; then removes what killed ones have left.
    pub fn lock(path: &Path) -> io::Result<Self> {
        let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        let folder = Self { path: path.to_owned(), opened };
        let alone = folder.wait()?;
        let ours = folder.draft();
        for entry in fs::read_dir(path)?.flatten() {
            let left = if alone { entry.file_name().as_bytes().starts_with(DRAFT) } else { entry.path() == ours };
            if left {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(folder)
    }

    /// Writes a file of this name, in place of any that is there.
    pub fn write(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let draft = self.draft();
        let written = fill(&draft, bytes).and_then(|()| fs::rename(&draft, self.path.join(name)));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))?;
        self.settle()
    }

    /// Removes the file of this name, if it is there.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.settle(),
        }
    }

    /// Whether there is no other writer now; `false` where that cannot be known, as network file systems lock no directory.
    fn wait(&self) -> io::Result<bool> {
        match wait_for_lock(&self.opened, WRITER_DEADLINE) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another writer does not end")),
            Err(TryLockError::Error(_)) => Ok(false),
        }
    }

    /// Has the directory itself on disk, and so the names in it.
    fn settle(&self) -> io::Result<()> {
        match self.opened.sync_all() {
            // What some file systems say of any directory.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            settled => settled,
        }
    }

    /// Where a file of this process is written before it has its name.
    fn draft(&self) -> PathBuf {
        let number = std::process::id().to_string();
        self.path.join(OsStr::from_bytes(&[DRAFT, number.as_bytes()].concat()))
    }
}

fn fill(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    // A new file, never one that somebody else has put there, nor one behind a link.
    let mut file = File::options().write(true).create_new(true).mode(OURS).open(draft)?;
    // The umask may have taken more than it should.
    file.set_permissions(Permissions::from_mode(OURS))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What the name of a file begins with that is being written. Long, for the directory may be the user's own.
const DRAFT: &[u8] = b".apptoken-draft-";
/// For its owner to read and write.
const OURS: u32 = 0o600;
/// How long another writer may take.
const WRITER_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look whether a lock is free.
const LOCK_CHECK: Duration = Duration::from_millis(5);
