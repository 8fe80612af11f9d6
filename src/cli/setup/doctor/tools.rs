//! The programs that tokens are for: gh, git, and whom git asks.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::report::Report;
use crate::cli::gh::real_gh;
use crate::cli::gitconfig::Site;
use crate::cli::verification::{self, Listed};
use crate::env;

/// Whether there is a gh.
pub(super) fn gh(report: &mut Report) {
    let mut gh = match real_gh() {
        Ok(gh) => gh,
        Err(error) => return report.fail_as("gh", &error),
    };
    match version_of(&mut gh) {
        Ok(version) => report.ok("gh", format_args!("version {version}")),
        Err(why) => report.warn(
            "gh",
            format_args!("gh {why}"),
            format_args!("install it from https://cli.github.com, or name another with {}", env::GH),
        ),
    }
}

/// Whether there is a git, and whom it asks about these hosts.
pub(super) fn git(report: &mut Report, sites: &[Site]) {
    let version = match version_of(&mut Command::new("git")) {
        Ok(version) => version,
        Err(why) => {
            report.warn("git", format_args!("git {why}"), format_args!("install git, or check PATH"));
            return report.skip(&["helper"], "git is needed to look");
        }
    };
    let netrc = std::env::var_os(env::HOME).is_some_and(|home| Path::new(&home).join(".netrc").exists());
    if netrc && is_older(&version, ASKS_FIRST) {
        report.warn(
            "git",
            format_args!("version {version}, which sends a login of ~/.netrc before it asks apptoken"),
            format_args!("take the host out of ~/.netrc, or install git 2.46"),
        );
    } else {
        report.ok("git", format_args!("version {version}"));
    }
    match printed_by(Command::new("git").args(["config", "-z", "--get-regexp", SETTINGS])) {
        Ok(printed) => sites.iter().for_each(|site| helper(report, site, &printed)),
        Err(_) => report.skip(&["helper"], "git does not tell its configuration"),
    }
}

/// Whether git asks us about a host, and nobody else.
fn helper(report: &mut Report, site: &Site, printed: &str) {
    let (base, host) = (site.base(), &site.host);
    let helpers = helpers_for(&base, printed);
    match helpers.iter().find_map(|helper| our_program(helper)) {
        Some(program) if program.contains('/') && !Path::new(&program).is_file() => report.fail(
            "helper",
            format_args!("git is to ask {program} about {base}, which is not there any more"),
            format_args!("write down where it is now: apptoken setup-git --host {host}"),
        ),
        // What others are may hold a password, and is not shown.
        Some(_) if helpers.len() > 1 => report.warn(
            "helper",
            format_args!("git asks apptoken about {base}, and others, which may keep the token"),
            format_args!("have it ask nobody else: apptoken setup-git --host {host}"),
        ),
        Some(_) => match unverified(site, printed) {
            Some(why) => report.warn(
                "helper",
                format_args!("git sends apptoken's token to {base} without a check of its certificate: {why}"),
                format_args!("take that back, and have git trust the server's CA: git config http.sslCAInfo FILE"),
            ),
            None => report.ok("helper", format_args!("git asks apptoken about {base}")),
        },
        None => {
            let whom = if helpers.is_empty() { "nobody" } else { "another helper" };
            let says = format_args!("git asks {whom} about {base}; `apptoken setup-git` has it ask apptoken");
            report.ok("helper", says);
        }
    }
}

/// Returns why git does not verify a host's certificate, if that is so.
fn unverified(site: &Site, printed: &str) -> Option<String> {
    if site.plain {
        return None;
    }
    if std::env::var_os(env::GIT_SSL_NO_VERIFY).is_some() {
        return Some(format!("{} is set", env::GIT_SSL_NO_VERIFY));
    }
    let lines = printed.split('\0').filter_map(|line| line.split_once('\n'));
    let own: Vec<Listed> = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some(url) = verification::turned_off(site, &own).first() {
        return Some(format!("http.{url}.sslVerify is off"));
    }
    // Only git itself knows which of the settings for several hosts it takes.
    let mut git = Command::new("git");
    git.args(["config", "--bool", "--get-urlmatch", "http.sslVerify", &site.base()]);
    printed_by(&mut git).is_ok_and(|value| value.trim_end() == "false").then(|| "http.sslVerify is off".to_owned())
}

/// The helpers that git asks about a host, as its configuration names them one after the other; an empty one forgets those
/// before it.
fn helpers_for<'a>(base: &str, printed: &'a str) -> Vec<&'a str> {
    let mut helpers = Vec::new();
    for (name, value) in printed.split('\0').filter_map(|line| line.split_once('\n')) {
        let place = name.strip_prefix("credential.").and_then(|rest| rest.strip_suffix("helper"));
        let Some(place) = place else { continue };
        let place = place.trim_end_matches('.').trim_end_matches('/');
        if !place.is_empty() && place != base {
            continue;
        }
        if value.is_empty() {
            helpers.clear();
        } else {
            helpers.push(value);
        }
    }
    helpers
}

/// The program of a helper that is `apptoken credential`.
fn our_program(helper: &str) -> Option<String> {
    let line = helper.strip_prefix('!').or(Some(helper).filter(|line| line.starts_with('/')))?;
    let words = shell_words::split(line).ok()?;
    let (first, last) = (words.first()?, words.last()?);
    let ours = Path::new(first).file_name().is_some_and(|name| name == "apptoken") && last == "credential";
    ours.then(|| first.clone())
}

/// Asks a program which version it is; if it does not tell, a clause says why.
pub(super) fn version_of(program: &mut Command) -> Result<String, &'static str> {
    let printed = printed_by(program.arg("--version"))?;
    let number = printed.split([' ', '\n']).find(|word| word.bytes().next().is_some_and(|byte| byte.is_ascii_digit()));
    Ok(number
        .and_then(|number| number.get(..number.len().min(MAX_VERSION)))
        .ok_or("does not tell its version")?
        .to_owned())
}

/// Whether a version, such as `2.39.5`, comes before another.
fn is_older(version: &str, than: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) < than
}

/// What a program prints, if it has an end. It gets no terminal to ask at, and nothing that it started is left.
fn printed_by(command: &mut Command) -> Result<String, &'static str> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "is not found",
        ErrorKind::PermissionDenied => "is not executable",
        _ => "cannot be run",
    })?;
    let mut printed = Vec::new();
    let ended = child.stdout.take().is_some_and(|mut stdout| read(&mut stdout, &mut printed));
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
    if ended { Ok(String::from_utf8_lossy(&printed).into_owned()) } else { Err("does not answer") }
}

/// Reads to the end, or to what is enough; false when that takes too long.
fn read(stdout: &mut (impl Read + AsFd), printed: &mut Vec<u8>) -> bool {
    let until = Instant::now() + DEADLINE;
    let mut piece = [0; 4096];
    while printed.len() < MAX_PRINTED {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        let Ok(1) = poll(&mut ready, left.as_millis().try_into().unwrap_or(PollTimeout::MAX)) else { continue };
        match stdout.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => printed.extend_from_slice(&piece[..count]),
        }
    }
    true
}

/// How long any of these programs may take: they only print, but may lie on a slow disk.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most that is read of what they print, in bytes.
const MAX_PRINTED: usize = 256 * 1024;
/// Bytes of what can be a version.
const MAX_VERSION: usize = 40;
/// The git that asks its helpers before a server does, if it is told to: README has the whole story.
const ASKS_FIRST: (u32, u32) = (2, 46);
/// The settings that name helpers, and those that turn verification on or off.
const SETTINGS: &str = r"^(credential\.(.*\.)?helper|http\..*sslverify)$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_asked_in_order_and_an_empty_one_forgets_those_before_it() {
        let printed = "credential.helper\nstore\0credential.https://other.example.helper\nours\0\
            credential.https://github.com.helper\n\0credential.https://github.com/.helper\n!apptoken credential\0\
            credential.helper\ncache\0broken\0";
        assert_eq!(helpers_for("https://github.com", printed), ["!apptoken credential", "cache"]);
        assert_eq!(helpers_for("https://other.example", printed), ["store", "ours", "cache"]);
        assert_eq!(helpers_for("http://github.com", printed), ["store", "cache"]);
    }

    #[test]
    fn our_helper_is_known_by_its_program_and_its_verb() {
        for (helper, program) in [
            ("!apptoken --host github.com credential", Some("apptoken")),
            ("!'/opt/it'\\''s/apptoken' --host='github.com' credential", Some("/opt/it's/apptoken")),
            ("/usr/bin/apptoken credential", Some("/usr/bin/apptoken")),
            ("apptoken credential", None),
            ("!gh auth git-credential", None),
            ("!apptoken token", None),
            ("!f() { echo password=x; }; f", None),
            ("!'", None),
            ("", None),
        ] {
            assert_eq!(our_program(helper).as_deref(), program, "{helper}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, older) in
            [("2.39.5", true), ("2.45", true), ("2.46.0", false), ("2.100.1", false), ("3", false), ("1.99", true)]
        {
            assert_eq!(is_older(version, ASKS_FIRST), older, "{version}");
        }
    }
}
