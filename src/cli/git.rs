//! `git`: git in our place, told for this one command to ask us for credentials, and to use them.
//!
//! It is told through its environment, which holds no token: git asks for one when a server wants one, and again when a
//! long job needs another.

use std::convert::Infallible;
use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::args::ScopeArgs;
use super::elsewhere::with_keys;
use super::error::CliError;
use super::exec::become_it;
use super::gitconfig::{self, Setting, Site};
use super::remotes::past_us;
use super::scope::Scope;
use super::verification::{self, Listed};
use crate::output::say;

/// Becomes git.
pub(super) fn git(options: &ScopeArgs, args: &[OsString]) -> Result<Infallible, CliError> {
    let scope = Scope::read(options.clone())?;
    let sites = with_keys(scope.no_start, |agent| gitconfig::chosen(agent, &scope))?;
    let own = own_settings(args, &[])?;
    // `git clone -c` writes its settings into the new repository.
    let all: Vec<Listed> = own.iter().cloned().chain(settings_in(args)).collect();
    let mut settings = Vec::new();
    for site in &sites {
        settings.extend(site.settings(options)?);
        settings.extend(ways(site, &own));
        settings.extend(verification::settings(site, &all));
        warn(site, args, &own);
    }
    refuse_unverified(&sites, args, &own, &settings)?;
    let mut command = Command::new("git");
    command.args(args);
    gitconfig::configure(&mut command, &settings)?;
    Err(become_it(command).explain("install git, or check PATH"))
}

/// Refuses to run git if it would not verify one of these hosts with our `settings` either: those that git gets with `-c` come
/// later, and win.
fn refuse_unverified(sites: &[Site], args: &[OsString], own: &[Listed], settings: &[Setting]) -> Result<(), CliError> {
    let is_off = |own: &[Listed]| sites.iter().find(|site| !verification::turned_off(site, own).is_empty());
    // In the common case nothing is off, and git is not started again.
    if is_off(own).is_none() {
        return Ok(());
    }
    match is_off(&own_settings(args, settings)?) {
        None => Ok(()),
        Some(site) => Err(CliError::new(format!("git is told not to verify the certificate of {}", site.host))
            .hint("leave out `-c http.….sslVerify=false`, and trust the server's CA with `http.sslCAInfo`")),
    }
}

/// Tells of addresses of this host that lead past us all the same.
fn warn(site: &Site, args: &[OsString], own: &[Listed]) {
    let ssh = ssh_forms(site.host.without_port());
    let given = args.iter().filter_map(|word| Some(("an address on the command line".to_owned(), word.to_str()?)));
    let remotes = own.iter().filter_map(|(name, value)| {
        let (name, _) = name.strip_prefix("remote.")?.rsplit_once('.')?;
        Some((format!("remote {name}"), value.as_str()))
    });
    for (what, url) in given.chain(remotes).filter(|(_, url)| !ssh.iter().any(|form| url.starts_with(form.as_str()))) {
        if let Some(repo) = past_us(url, &site.host) {
            say(format_args!("apptoken: warning: {what} brings a login of its own, and git will use that"));
            say(format_args!("hint: the address that asks apptoken is {}/{repo}", site.base()));
        }
    }
}

/// What leads every address of this host to us: ssh's, and those that the person's own settings would lead past us.
fn ways(site: &Site, own: &[Listed]) -> Vec<Setting> {
    let target = site.base() + "/";
    let ssh = ssh_forms(site.host.without_port());
    let mut settings: Vec<Setting> = ssh.iter().map(|form| rewrite(&target, "insteadOf", form)).collect();
    for (name, value) in own {
        if let Some(url) = name.strip_prefix("http.").and_then(|rest| rest.strip_suffix("extraheader")) {
            let header = value.trim_start().get(..AUTHORIZATION.len());
            if header.is_some_and(|header| header.eq_ignore_ascii_case(AUTHORIZATION)) {
                settings.extend(without_header(url.trim_end_matches('.'), &target));
            }
        } else if let Some((base, key)) = name.strip_prefix("url.").and_then(|rest| rest.rsplit_once('.')) {
            for form in ssh.iter().chain([&target]) {
                let past_us = passes_by(base, &target);
                if let Some(rest) = value.strip_prefix(form.as_str()).filter(|_| past_us) {
                    settings.extend(rewrite_longer(&format!("{target}{rest}"), key, value));
                } else if past_us && form.starts_with(value.as_str()) {
                    settings.push(rewrite(&target, key, form));
                } else if let Some(rest) = base.strip_prefix(form.as_str()).filter(|_| *form != target) {
                    settings.extend(rewrite_longer(&format!("{target}{rest}"), key, value));
                }
            }
        }
    }
    settings
}

/// What addresses of the host's repositories begin with for ssh. The port of https says nothing about ssh's.
fn ssh_forms(name: &str) -> Vec<String> {
    let mut users = vec!["git@".to_owned(), String::new()];
    users.extend(name.strip_suffix(".ghe.com").map(|tenant| format!("{tenant}@")));
    let mut forms = Vec::new();
    for user in &users {
        // The path may begin with a slash there.
        forms.extend([format!("{user}{name}:"), format!("{user}{name}:/")]);
        for scheme in ["ssh", "git+ssh", "ssh+git"] {
            forms.extend(["", ":22"].map(|port| format!("{scheme}://{user}{name}{port}/")));
            if name == "github.com" {
                forms.push(format!("{scheme}://{user}ssh.github.com:443/"));
            }
        }
    }
    forms
}

/// Whether an address that begins so goes to this host with other credentials than ours: by ssh, or with a login in it.
/// Another server on the web is a mirror, and the person's choice.
fn passes_by(base: &str, target: &str) -> bool {
    let (scheme, host) = target.split_once("//").expect("a target is an address");
    match base.split_once("//") {
        Some(("http:" | "https:", rest)) => {
            base.starts_with(scheme)
                && rest.split_once('@').is_some_and(|(_, rest)| format!("{rest}/").starts_with(host))
        }
        _ => true,
    }
}

fn rewrite(to: &str, key: &str, from: &str) -> Setting {
    (format!("url.{to}.{key}"), from.as_bytes().to_vec())
}

/// Of two that fit git takes the longer, and of equals the first, which ours is not: hence one for each next character.
fn rewrite_longer(to: &str, key: &str, from: &str) -> impl Iterator<Item = Setting> {
    NEXT.chars().map(move |next| rewrite(&format!("{to}{next}"), key, &format!("{from}{next}")))
}

/// Takes back a header with a credential, where it was set for `url` or for all.
fn without_header(url: &str, target: &str) -> Option<Setting> {
    let url = if url.is_empty() { target } else { url };
    format!("{url}/").starts_with(target).then(|| (format!("http.{url}.extraHeader"), Vec::new()))
}

/// The person's own settings that can lead past us, and remotes, as git knows them where it will run, with `settings` of ours.
fn own_settings(args: &[OsString], settings: &[Setting]) -> Result<Vec<Listed>, CliError> {
    let mut git = Command::new("git");
    git.args(places(args)).args([
        "config",
        "-z",
        "--get-regexp",
        r"^(url\..*insteadof|http\..*(extraheader|sslverify)|remote\..*url)$",
    ]);
    gitconfig::configure(&mut git, settings)?;
    // Without git, or in a place that it refuses, it says so itself in a moment.
    let printed = git.stdin(Stdio::null()).stderr(Stdio::null()).output().map(|output| output.stdout);
    let printed = printed.unwrap_or_default();
    let lines = printed.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok()?.split_once('\n'));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Returns the words of a command line that may be settings: `NAME=VALUE`, as `-c` and `--config` take them.
fn settings_in(args: &[OsString]) -> impl Iterator<Item = Listed> {
    args.iter().filter_map(|word| {
        let word = word.to_str()?;
        let word = word.strip_prefix("--config=").or(word.strip_prefix("-c")).unwrap_or(word);
        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    })
}

/// Of the words before git's verb, those that say where its configuration is, or are some.
fn places(args: &[OsString]) -> Vec<&OsString> {
    let mut places = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        match word.as_encoded_bytes() {
            b"-C" | b"-c" | b"--git-dir" | b"--config-env" => places.extend([word].into_iter().chain(rest.next())),
            b"--work-tree" | b"--namespace" | b"--exec-path" | b"--attr-source" => drop(rest.next()),
            option if option.starts_with(b"--git-dir=") || option.starts_with(b"--config-env=") => places.push(word),
            option if option.starts_with(b"-") => {}
            _ => break,
        }
    }
    places
}

/// What an owner's or a repository's name can begin or go on with, and the slash between them.
const NEXT: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
const AUTHORIZATION: &str = "authorization:";
