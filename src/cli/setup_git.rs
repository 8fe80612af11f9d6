//! `setup-git`: git's own configuration made to ask us, and put back as it was.
//!
//! What git is told stands in a file of ours for each host; git's global configuration gets one line that includes it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::args::ScopeArgs;
use super::error::{CliError, Exit};
use super::gitconfig::{self, Setting, Site};
use super::scope::Scope;
use crate::client::Agent;
use crate::env;
use crate::files::{self, Folder};
use crate::output::say;
use crate::paths::config_directory;

/// Has git ask us: for this host, else for those of the keys held.
pub(super) fn setup(options: &ScopeArgs) -> Result<(), CliError> {
    let scope = Scope::read(options.clone())?;
    for site in sites(scope)? {
        let mut text = b"# Written by `apptoken setup-git`; `apptoken setup-git --undo` takes it back.\n".to_vec();
        if made_global(&directory()?) {
            text.extend(MADE_GLOBAL);
        }
        for setting in site.settings(options)? {
            text.extend(in_a_file(&setting));
        }
        let file = directory()?.join(format!("{}.conf", site.host));
        files::write_atomically(&file, &text).map_err(|error| no_way("write", &file, &error))?;
        include(&file)?;
        say(format_args!("git now asks apptoken about {}", site.base()));
    }
    Ok(())
}

/// Takes it back: for this host, else for all.
pub(super) fn undo(options: ScopeArgs) -> Result<(), CliError> {
    let only = Scope::read(options)?.host.map(|host| format!("{host}.conf"));
    let directory = directory()?;
    // Nobody sets up meanwhile, and what one that was killed has left is gone.
    let _alone = Folder::lock(&directory).ok();
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let (file, name) = (entry.path(), entry.file_name());
        let host = name.to_string_lossy().strip_suffix(".conf").map(str::to_owned);
        if let Some(host) = host.filter(|_| only.as_ref().is_none_or(|only| name == only.as_str())) {
            exclude(&file)?;
            fs::remove_file(&file).map_err(|error| no_way("remove", &file, &error))?;
            say(format_args!("git no longer asks apptoken about {host}"));
        }
    }
    // Only those that are empty go; another's file keeps them.
    let _ = fs::remove_dir(&directory).and_then(|()| directory.parent().map_or(Ok(()), fs::remove_dir));
    Ok(())
}

/// The host that was named, even without an agent; else those of the keys held.
fn sites(scope: Scope) -> Result<Vec<Site>, CliError> {
    let Some(host) = scope.host else {
        return Agent::find().and_then(|mut agent| gitconfig::chosen(&mut agent, &scope)).map_err(|error| {
            CliError::from(error).or_hint("or name the host: `apptoken setup-git --host github.com`")
        });
    };
    let held = Agent::find().and_then(|mut agent| gitconfig::held(&mut agent)).unwrap_or_default();
    Ok(vec![held.into_iter().find(|site| site.host == host).unwrap_or_else(|| Site::secure(host))])
}

/// Where our files for git are: not where keys are stored, and private all the same.
fn directory() -> Result<PathBuf, CliError> {
    let base = config_directory();
    let base = base.ok_or_else(|| CliError::new("no place for git's settings is known").hint("set HOME"))?;
    Ok(base.join("git"))
}

fn no_way(what: &str, file: &Path, error: &io::Error) -> CliError {
    CliError::new(format!("cannot {what} {}: {error}", file.display())).hint("see who may change that directory")
}

/// A section with one setting, as git's configuration files have it.
fn in_a_file((name, value): &Setting) -> Vec<u8> {
    let (section, rest) = name.split_once('.').expect("a setting has a section");
    let (place, key) = rest.rsplit_once('.').expect("ours are for one host");
    let mut text = format!("[{section} \"{place}\"]\n\t{key} = \"").into_bytes();
    for &byte in value {
        match byte {
            b'\n' => text.extend(b"\\n"),
            b'"' | b'\\' => text.extend([b'\\', byte]),
            _ => text.push(byte),
        }
    }
    text.extend(b"\"\n");
    text
}

/// Adds the line that includes `file` at the end of git's global configuration, unless it is there.
fn include(file: &Path) -> Result<(), CliError> {
    let there = git(&[OsStr::new("--get-all"), OsStr::new("-z"), OsStr::new(INCLUDE)])?.stdout;
    if there.split(|byte| *byte == 0).any(|path| path == file.as_os_str().as_bytes()) {
        return Ok(());
    }
    // A section of a new name goes to the end, where the helpers named before it are forgotten; the line would otherwise
    // join an older `[include]` that may stand before them.
    let section = section(file);
    change(&[OsStr::new("--replace-all"), OsStr::new(&format!("{section}.path")), file.as_os_str()])?;
    change(&[OsStr::new("--rename-section"), OsStr::new(&section), OsStr::new("include")])
}

/// The section that the line for `file` is first written to.
fn section(file: &Path) -> String {
    format!("apptoken.{}", file.file_name().unwrap_or_default().to_string_lossy())
}

/// Where git's global configuration is written, as far as it may be ours to remove.
fn global() -> Option<PathBuf> {
    let named = std::env::var_os(env::GIT_CONFIG_GLOBAL).map(PathBuf::from);
    named.or_else(|| std::env::var_os(env::HOME).map(|home| Path::new(&home).join(".gitconfig")))
}

/// Whether that file is there only since we are: it is not there yet, or one of our own files says so.
fn made_global(directory: &Path) -> bool {
    let ours = |file: PathBuf| file.extension().is_some_and(|kind| kind == "conf") && says_made(&file);
    global().is_some_and(|global| fs::symlink_metadata(global).is_err())
        || fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| ours(entry.path()))
}

fn says_made(file: &Path) -> bool {
    fs::read(file).is_ok_and(|text| text.windows(MADE_GLOBAL.len()).any(|line| line == MADE_GLOBAL))
}

/// Removes that line, and the file that it was in if that was made for it and has nothing else.
fn exclude(file: &Path) -> Result<(), CliError> {
    let pattern = exactly(file.as_os_str().as_bytes());
    // The second is where one that was killed has left it.
    for name in [INCLUDE.to_owned(), format!("{}.path", section(file))] {
        change(&[OsStr::new("--unset-all"), OsStr::new(&name), OsStr::from_bytes(&pattern)])?;
    }
    if let Some(global) = global().filter(|_| says_made(file))
        && fs::symlink_metadata(&global).is_ok_and(|there| there.is_file() && there.len() == 0)
    {
        let _ = fs::remove_file(global);
    }
    Ok(())
}

/// A regular expression for this text alone; git learnt to compare without one only in 2.30.
fn exactly(text: &[u8]) -> Vec<u8> {
    let mut pattern = b"^".to_vec();
    for &byte in text {
        if br".[]*^$+?(){}|\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'$');
    pattern
}

fn change(args: &[&OsStr]) -> Result<(), CliError> {
    let output = git(args)?;
    if output.status.success() || output.status.code() == Some(NOTHING_TO_UNSET) {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(CliError::new(format!("git cannot change its configuration: {}", words.trim_end()))
        .hint("see `git config --global --list`"))
}

/// Runs `git config --global`.
fn git(args: &[&OsStr]) -> Result<Output, CliError> {
    let mut git = Command::new("git");
    git.args(["config", "--global"]).args(args).stdin(Stdio::null());
    git.output().map_err(|error| {
        CliError::new(format!("git cannot be run: {error}")).hint("install git, or check PATH").exit(Exit::NotFound)
    })
}

/// What one of our files says when git's global configuration was not there before.
const MADE_GLOBAL: &[u8] =
    b"# Git's global configuration was made for this, and goes with it when nothing else is in it.\n";
const INCLUDE: &str = "include.path";
/// The exit status of git when there is no such line.
const NOTHING_TO_UNSET: i32 = 5;
