//! Where git's own settings turn off the verification of a host's certificate, and the settings that turn it on again.
//!
//! git takes the most specific `http.<url>.sslVerify` that fits an address, and of equally specific ones the last.

use std::collections::BTreeSet;

use super::gitconfig::{Setting, Site};

/// A name and a value, as `git config --list` prints them.
pub(super) type Listed = (String, String);

/// Returns the settings that make git verify this host, whatever `own` settings say.
pub(super) fn settings(site: &Site, own: &[Listed]) -> Vec<Setting> {
    if site.plain {
        return Vec::new();
    }
    // The first one wins over settings for all hosts. Settings for paths on the host win over it, so each of these is set
    // again under its own name.
    let base = site.base();
    let urls = [base.as_str()].into_iter().chain(turned_off(site, own));
    urls.map(|url| (format!("http.{url}.sslVerify"), b"true".to_vec())).collect()
}

/// Returns the URLs of this host, or on it, for which `own` settings turn verification off.
pub(super) fn turned_off<'a>(site: &Site, own: &'a [Listed]) -> BTreeSet<&'a str> {
    let mut urls = BTreeSet::new();
    for (name, value) in own {
        match url_of(name).filter(|url| !site.plain && fits(url, site)) {
            Some(url) if is_true(value) => urls.remove(url),
            Some(url) => urls.insert(url),
            None => false,
        };
    }
    urls
}

/// Returns the URL of `http.<url>.sslVerify`.
fn url_of(name: &str) -> Option<&str> {
    let (name, key) = name.rsplit_once('.')?;
    let (section, url) = name.split_once('.')?;
    (section.eq_ignore_ascii_case("http") && key.eq_ignore_ascii_case("sslverify")).then_some(url)
}

/// Returns true if git applies a setting for this URL to addresses on the host. A `*` stands for one label of its name.
fn fits(url: &str, site: &Site) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or(rest);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place).to_ascii_lowercase();
    let host = site.host.to_string();
    let ((name, port), (own_name, own_port)) = (with_port(&place), with_port(&host));
    let label_fits = |(pattern, label): (&str, &str)| pattern == "*" || pattern == label;
    scheme.eq_ignore_ascii_case("https")
        && port == own_port
        && name.split('.').count() == own_name.split('.').count()
        && name.split('.').zip(own_name.split('.')).all(label_fits)
}

fn with_port(place: &str) -> (&str, &str) {
    place.split_once(':').unwrap_or((place, "443"))
}

/// Returns true if git takes the value for true. Numbers other than 1 may be true as well; setting those again does no harm.
fn is_true(value: &str) -> bool {
    ["true", "yes", "on", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_counts_where_git_applies_it() {
        let site = Site::secure("a.ghe.example".parse().expect("a host"));
        for (url, counts) in [
            ("https://a.ghe.example", true),
            ("https://A.ghe.example/", true),
            ("HTTPS://a.ghe.example:443/octo/hello", true),
            ("https://me@a.ghe.example/octo", true),
            ("https://*.ghe.example/octo", true),
            ("https://*.example", false),
            ("https://a.ghe.example:8443", false),
            ("http://a.ghe.example", false),
            ("https://b.ghe.example", false),
            ("https://a.ghe.example.evil.example", false),
            ("a.ghe.example", false),
        ] {
            let own = [(format!("http.{url}.sslverify"), "false".to_owned())];
            assert_eq!(turned_off(&site, &own).contains(url), counts, "{url}");
        }
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let site = Site::secure("ghe.example".parse().expect("a host"));
        let off = |values: &[&str]| {
            let name = "http.https://ghe.example/octo.sslVerify";
            let own: Vec<Listed> = values.iter().map(|value| (name.to_owned(), (*value).to_owned())).collect();
            !turned_off(&site, &own).is_empty()
        };
        assert!(off(&["true", "false"]) && off(&["0"]) && off(&[""]) && off(&["No"]));
        assert!(!off(&["false", "true"]) && !off(&["Yes"]) && !off(&[]));
    }
}
