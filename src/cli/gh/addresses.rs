//! Hosts and repositories in the words of gh's command line, read as gh reads them.

use crate::ids::{Host, Repo};

/// A repository as gh's users write it.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) host: Option<Host>,
    pub(super) repo: Repo,
}

impl Named {
    /// Reads `[HOST/]OWNER/REPO`, or the address of anything in a repository.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, path) = match address(text) {
            Some((host, path)) => (Some(host.parse().ok()?), path),
            None if text.split('/').count() == 3 => {
                let (host, path) = text.split_once('/')?;
                (Some(canonical(host).parse().ok()?), path)
            }
            None => (None, text),
        };
        let mut parts = path.trim_matches('/').split('/');
        let (owner, name) = (parts.next()?, parts.next()?);
        if host.is_none() && parts.next().is_some() {
            return None;
        }
        let name = name.strip_suffix(".git").unwrap_or(name);
        Some(Self { host, repo: Repo { owner: owner.parse().ok()?, name: name.parse().ok()? } })
    }

    /// Reads what `gh api` asks for: `repos/OWNER/REPO/…`, or the address of that.
    pub(super) fn in_api_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next()?.trim_start_matches('/');
        let (owner, rest) = path.strip_prefix("repos/")?.split_once('/')?;
        let name = rest.split('/').next()?;
        Some(Self { host: None, repo: Repo { owner: owner.parse().ok()?, name: name.parse().ok()? } })
    }
}

/// Returns the host and the path of an address, as of the web, of ssh, or as ssh's `user@host:path`.
pub(super) fn address(word: &str) -> Option<(String, &str)> {
    let (place, path) = match word.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
            rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end))
        }
        _ => {
            let (place, path) = word.split_once(':')?;
            let login = place.contains('@') && !place.contains(['/', ' ']);
            (login.then_some(place)?, path)
        }
    };
    let (_, host) = place.rsplit_once('@').unwrap_or(("", place));
    Some((canonical(host), path))
}

/// Returns the host in `HOST/OWNER/REPO`. A text with blanks is none: no host has them.
pub(super) fn host_of_repository(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let fits = parts.len() == 3 && parts.iter().all(|part| !part.is_empty()) && !text.contains(char::is_whitespace);
    // `./a/b` and `.github/workflows/ci.yml` are files.
    (fits && !text.starts_with('.')).then(|| canonical(parts[0]))
}

/// Returns the host whose token gh sends there: to gh, the API of github.com and its other names are the same host.
pub(super) fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let api = |host: &str| host == "github.com" || host.ends_with(".ghe.com");
    let bare = ["www.", "api."].iter().find_map(|prefix| host.strip_prefix(prefix).filter(|rest| api(rest)));
    match bare.unwrap_or(&host) {
        "ssh.github.com" | "gist.github.com" => "github.com".to_owned(),
        host => host.to_owned(),
    }
}
