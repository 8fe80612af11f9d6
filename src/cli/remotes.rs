//! Which repository of a host a directory is a clone of.

use std::process::{Command, Stdio};

use crate::ids::{Host, Repo};

/// The repository that the remotes of the current directory name on this host: gh's order of remotes.
pub(super) fn repo_of_directory(host: &Host) -> Option<Repo> {
    let git = Command::new("git").args(["remote", "-v"]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let printed = String::from_utf8_lossy(&git.stdout);
    let remotes = printed.lines().filter_map(fetched_from);
    let on_host = remotes.filter_map(|(name, url)| Some((rank(name), repo_at(url, host)?)));
    on_host.min_by_key(|(rank, _)| *rank).map(|(_, repo)| repo)
}

/// The name and the address in a line of `git remote -v`: `origin<tab>https://… (fetch)`, and for a partial clone its filter.
fn fetched_from(line: &str) -> Option<(&str, &str)> {
    let (remote, filter) = line.rsplit_once(" (fetch)")?;
    let whole = filter.is_empty() || filter.starts_with(" [");
    remote.split_once('\t').filter(|_| whole)
}

/// The repository of this host that an address names which brings a login of its own: by ssh, or with a password in it.
pub(super) fn past_us(url: &str, host: &Host) -> Option<Repo> {
    let own_login = match url.split_once("://") {
        Some(("http" | "https", rest)) => {
            let authority = rest.split('/').next().unwrap_or(rest);
            authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'))
        }
        Some((scheme, _)) => scheme.contains("ssh"),
        None => true,
    };
    repo_at(url, host).filter(|_| own_login)
}

fn rank(name: &str) -> usize {
    const FIRST: [&str; 3] = ["upstream", "github", "origin"];
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
}

/// The repository that an address names, if it is one on this host.
fn repo_at(url: &str, host: &Host) -> Option<Repo> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // Without a scheme it is ssh's `user@host:path`, or a directory.
    let (authority, path) = rest.split_once(if scheme.is_empty() { ':' } else { '/' })?;
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place).to_ascii_lowercase();
    let same = match scheme {
        "http" | "https" | "git+https" => canonical(&place) == host.to_string(),
        // The port of ssh says nothing about that of https.
        "" | "ssh" | "git" | "git+ssh" | "ssh+git" => canonical(without_port(&place)) == host.without_port(),
        _ => false,
    };
    let path = path.trim_matches('/');
    if same { path.strip_suffix(".git").unwrap_or(path).parse().ok() } else { None }
}

fn without_port(place: &str) -> &str {
    place.split(':').next().unwrap_or(place)
}

/// The host behind its other names, as gh sees it: `www.`, and anything below github.com or a tenant of ghe.com.
fn canonical(place: &str) -> &str {
    let place = place.strip_prefix("www.").unwrap_or(place);
    if place.ends_with(".github.com") {
        return "github.com";
    }
    let tenant = place.strip_suffix(".ghe.com").and_then(|names| names.rsplit_once('.'));
    tenant.map_or(place, |(below, _)| &place[below.len() + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str, host: &str) -> Option<String> {
        repo_at(url, &host.parse().expect("a host")).map(|repo| repo.to_string())
    }

    #[test]
    fn a_line_of_a_partial_clone_is_read_as_any_other() {
        let line = "origin\thttps://github.com/octo/hello";
        for (end, read) in [(" (fetch)", true), (" (fetch) [blob:none]", true), (" (push)", false), ("", false)] {
            assert_eq!(fetched_from(&format!("{line}{end}")), line.split_once('\t').filter(|_| read), "{end}");
        }
    }

    #[test]
    fn an_address_with_a_login_of_its_own_is_told_from_one_that_asks() {
        for (url, own) in [
            ("https://github.com/octo/hello", false),
            ("https://me@github.com/octo/hello", false),
            ("https://me:secret@github.com/octo/hello", true),
            ("https://github.com/octo/he:l@lo", false),
            ("org-1@github.com:octo/hello", true),
            ("ssh://me@github.com:2222/octo/hello", true),
            ("git://github.com/octo/hello", false),
            ("https://me:secret@gitlab.com/octo/hello", false),
            ("/srv/git/octo/hello", false),
        ] {
            let host = "github.com".parse().expect("a host");
            assert_eq!(past_us(url, &host).is_some(), own, "{url}");
        }
    }

    #[test]
    fn every_form_of_address_names_its_repository() {
        for url in [
            "https://github.com/Octo/hello",
            "https://github.com/octo/hello.git/",
            "https://someone:secret@www.github.com/octo/hello.git",
            "git@github.com:octo/hello.git",
            "github.com:octo/hello",
            "ssh://git@github.com/octo/hello.git",
            "ssh://git@ssh.github.com:443/octo/hello.git",
            "git://github.com/octo/hello",
            "git+ssh://git@GitHub.com/octo/hello",
        ] {
            assert_eq!(named(url, "github.com").as_deref(), Some("octo/hello"), "{url}");
        }
        assert_eq!(named("acme@acme.ghe.com:o/r.git", "acme.ghe.com").as_deref(), Some("o/r"));
        assert_eq!(named("https://api.acme.ghe.com/o/r", "acme.ghe.com").as_deref(), Some("o/r"));
        assert_eq!(named("https://ghe.example:8443/o/r", "ghe.example:8443").as_deref(), Some("o/r"));
        assert_eq!(named("ssh://git@ghe.example:122/o/r", "ghe.example:8443").as_deref(), Some("o/r"));
    }

    #[test]
    fn what_lies_elsewhere_is_not_this_hosts() {
        for url in [
            "https://github.com.evil.example/octo/hello",
            "https://evil.example/github.com/octo/hello",
            "https://github.com:8443/octo/hello",
            "git@gitlab.com:octo/hello.git",
            "/srv/git/octo/hello.git",
            "../octo/hello",
            "file:///octo/hello",
            "https://github.com/octo",
            "https://gist.github.com/octo/hello/raw",
        ] {
            assert_eq!(named(url, "github.com"), None, "{url}");
        }
    }
}
