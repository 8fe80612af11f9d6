//! What GitHub calls things: Apps, installations, accounts, repositories, permissions, hosts. Parsed once, at the edge.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The App a key belongs to: its numeric ID, or its client ID (`Iv23…`), which github.com and GHES 3.14 and later take as well.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AppId {
    /// The number that the App's settings page shows as "App ID".
    Number(u64),
    /// The text that it shows as "Client ID".
    Client(String),
}

/// An App's names, as GitHub tells them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppNames {
    /// The number of the App.
    pub id: u64,
    /// Its client ID; old GHES have none.
    pub client_id: Option<String>,
    /// Its name in URLs.
    pub slug: Option<String>,
}

/// The number of one installation of an App on one account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(pub u64);

/// A user or organization, in lower case: GitHub compares logins without case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner(String);

/// A repository's name without its owner, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RepoName(String);

/// A repository as `OWNER/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Repo {
    /// The account it belongs to.
    pub owner: Owner,
    /// Its name there.
    pub name: RepoName,
}

/// A web and git host, in lower case, with its port if it has one: `github.com`, `acme.ghe.com`, `ghe.example:8443`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host(String);

/// What a key is called: printed, matched, typed on command lines, and part of a file's name that cannot leave its directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyName(String);

/// A key as GitHub shows it: `SHA256:` and the base64 of SHA-256 over the public key's DER.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fingerprint(String);

/// How much of one permission: each level includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Look.
    Read,
    /// Look and change.
    Write,
    /// Look, change and administer.
    Admin,
}

/// A set of permissions, never empty: GitHub reads an empty set as "all of them". In the order of their names; a list,
/// because a map's code would cost the client some kilobytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Permissions(Vec<(String, Level)>);

/// Why a text is not the identifier it should be; says what that looks like and never repeats the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl FromStr for AppId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const FORM: Malformed = Malformed("an App ID is a number, or a client ID such as `Iv23liABCDEFGHIJKLMN`");
        let text = text.trim();
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().filter(|&n| n > 0).map(Self::Number).ok_or(FORM);
        }
        let fits = text.len() <= MAX_NAME && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        fits.then(|| Self::Client(text.to_owned())).ok_or(FORM)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Client(text) => text.fmt(f),
        }
    }
}

impl FromStr for InstallationId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        text.parse().map(Self).map_err(|_| Malformed("an installation ID is a number"))
    }
}

impl FromStr for Owner {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // Underscores: accounts of enterprise-managed users have one.
        let fits = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        fits.then(|| Self(text.to_ascii_lowercase())).ok_or(Malformed("an owner is a GitHub login such as `octo`"))
    }
}

impl FromStr for RepoName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !matches!(text, "." | "..");
        fits.then(|| Self(text.to_ascii_lowercase()))
            .ok_or(Malformed("a repository's name is letters, digits, `.`, `_` and `-`"))
    }
}

impl RepoName {
    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromStr for Repo {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parts = text.split_once('/').and_then(|(o, n)| Some((o.parse().ok()?, n.parse().ok()?)));
        parts.map(|(owner, name)| Self { owner, name }).ok_or(Malformed("a repository is written OWNER/NAME"))
    }
}

impl FromStr for Host {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const FORM: Malformed = Malformed("a host is a name such as `github.com`, without scheme or path");
        let (name, port) = text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let named = (1..=MAX_HOST).contains(&name.len())
            && name
                .split('.')
                .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let ported = port.is_none_or(|port| port.parse::<u16>().is_ok());
        (named && ported).then(|| Self(text.to_ascii_lowercase())).ok_or(FORM)
    }
}

impl FromStr for KeyName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // A dash in front would be an option, a dot a hidden file or a way out of the directory.
        let fits = (1..=MAX_KEY_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.starts_with(['-', '.']);
        fits.then(|| Self(text.to_owned())).ok_or(Malformed(
            "a key's name is letters, digits, `.`, `_` and `-`, at most 64, and begins with none of `.` and `-`",
        ))
    }
}

impl FromStr for Fingerprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hash = text.strip_prefix("SHA256:").and_then(|hash| STANDARD.decode(hash).ok());
        let fits = hash.is_some_and(|hash| hash.len() == SHA256_SIZE);
        fits.then(|| Self(text.to_owned()))
            .ok_or(Malformed("a key's fingerprint is `SHA256:` and 44 characters, as GitHub shows it"))
    }
}

impl Host {
    /// The host that everything defaults to.
    pub fn github() -> Self {
        Self("github.com".to_owned())
    }

    /// Whether gh takes this host's token from `GH_TOKEN`: github.com, a `ghe.com` tenant, or gh's own local test host.
    /// Any other host is a GitHub Enterprise Server.
    pub fn is_github_kind(&self) -> bool {
        matches!(self.0.as_str(), "github.com" | "github.localhost") || self.0.ends_with(".ghe.com")
    }

    /// Its name alone.
    pub fn without_port(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Whether the name is this machine's own: `localhost`, a name below it, or an address from 127.0.0.0/8.
    pub fn is_this_machine(&self) -> bool {
        let name = self.without_port();
        let address = || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        name == "localhost" || name.ends_with(".localhost") || address()
    }

    /// The base of this host's REST API, without a slash at its end.
    pub fn api_url(&self) -> String {
        match self.0.as_str() {
            host if self.is_github_kind() => format!("https://api.{host}"),
            host => format!("https://{host}/api/v3"),
        }
    }
}

impl Permissions {
    /// Each permission with its level, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Level)> {
        self.0.iter().map(|(name, level)| (name.as_str(), *level))
    }
}

impl FromStr for Permissions {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const FORM: Malformed =
            Malformed("permissions are written `contents=read,issues=write`; levels are read, write and admin");
        let mut levels = Vec::<(String, Level)>::new();
        for part in text.split(',') {
            let (name, level) = part.split_once('=').ok_or(FORM)?;
            let level = match level.trim() {
                "read" => Level::Read,
                "write" => Level::Write,
                "admin" => Level::Admin,
                _ => return Err(FORM),
            };
            insert(&mut levels, name.trim(), level)?.ok_or(FORM)?;
        }
        Ok(Self(levels))
    }
}

/// Adds a permission at its place; one that is there already is not said twice: which of the two was meant, nobody knows.
///
/// The number is checked before the insertion, which takes the longer the more there are.
fn insert(levels: &mut Vec<(String, Level)>, name: &str, level: Level) -> Result<Option<()>, Malformed> {
    if levels.len() >= MAX_PERMISSIONS {
        return Err(Malformed("a token has at most 100 permissions"));
    }
    match levels.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
        Err(at) if is_permission_name(name) => levels.insert(at, (name.to_owned(), level)),
        _ => return Ok(None),
    }
    Ok(Some(()))
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Permissions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("permissions and their levels")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Permissions, A::Error> {
                let mut levels = Vec::new();
                while let Some((name, level)) = map.next_entry::<String, Level>()? {
                    let inserted = insert(&mut levels, &name, level).map_err(de::Error::custom)?;
                    inserted.ok_or_else(|| de::Error::custom("not a permission"))?;
                }
                if levels.is_empty() { Err(de::Error::custom("no permission at all")) } else { Ok(Permissions(levels)) }
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Serialize for AppId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Client(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = AppId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an App ID")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AppId, E> {
                Ok(AppId::Number(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AppId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// For the identifiers that are text on the wire as well: shown and parsed the same way.
macro_rules! text_on_the_wire {
    ($($name:ident: $show:expr;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(&Self, &mut fmt::Formatter<'_>) -> fmt::Result = $show;
                show(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

text_on_the_wire! {
    Owner: |owner, f| f.write_str(&owner.0);
    RepoName: |name, f| f.write_str(&name.0);
    Repo: |repo, f| write!(f, "{}/{}", repo.owner, repo.name);
    Host: |host, f| f.write_str(&host.0);
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, level)) in self.iter().enumerate() {
            write!(f, "{}{name}={level}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

fn is_permission_name(name: &str) -> bool {
    // GitHub's list is not closed, so only the form is judged here; GitHub itself refuses what it does not know.
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Longest login, repository name, client ID or permission accepted. GitHub's own longest is a repository's, 100.
const MAX_NAME: usize = 100;
/// Repositories that GitHub narrows a token to at the most.
pub const MAX_REPOSITORIES: usize = 500;
/// Permissions of one token. GitHub documents 60.
pub const MAX_PERMISSIONS: usize = 100;
/// Longest name of a key, in bytes.
const MAX_KEY_NAME: usize = 64;
/// Bytes of a SHA-256.
const SHA256_SIZE: usize = 32;
/// Longest host name that DNS allows.
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_id_of_digits_is_a_number_and_anything_else_a_client_id() {
        assert_eq!("123456\n".parse(), Ok(AppId::Number(123_456)));
        assert_eq!("Iv1.8a61f9b3a7aba766".parse(), Ok(AppId::Client("Iv1.8a61f9b3a7aba766".into())));
        for bad in ["", "0", "99999999999999999999", "a b", "a/b", "\u{e9}"] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repositories_compare_without_case_and_cannot_leave_their_path() {
        assert_eq!("Octo/Hello.js".parse::<Repo>(), "octo/hello.JS".parse());
        for bad in ["octo", "octo/", "/hello", "octo/..", "a/b/c", "octo/he llo", "octo/he?llo", "octo%2f/x"] {
            assert!(bad.parse::<Repo>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_keys_name_cannot_leave_a_directory_hide_in_it_or_pass_for_an_option() {
        for good in ["my-app", "a", "A.b_c-9", "original", &"x".repeat(64)] {
            assert_eq!(good.parse::<KeyName>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        let long = "x".repeat(65);
        for bad in
            ["", ".", "..", "../up", "a/b", "/etc", "a\0", "a\n", "\u{e9}", "a b", ".hidden", "-t", "a\\b", &long]
        {
            assert!(bad.parse::<KeyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_what_github_shows() {
        let good = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
        assert_eq!(good.parse::<Fingerprint>().map(|print| print.to_string()).as_deref(), Ok(good));
        let unpadded = good.trim_end_matches('=');
        for bad in ["", "SHA256:", unpadded, &good[7..], &good.to_lowercase(), &format!("{good}\n"), "SHA256:QUJD"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_kind_of_host_has_its_api() {
        for (host, api) in [
            ("github.com", "https://api.github.com"),
            ("Acme.ghe.com", "https://api.acme.ghe.com"),
            ("ghe.example:8443", "https://ghe.example:8443/api/v3"),
        ] {
            assert_eq!(host.parse::<Host>().expect(host).api_url(), api);
        }
        for bad in ["", "https://github.com", "github.com/", "a..b", "host:port", "host:99999", "ho st", "a@b"] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_loopback_is_this_machine() {
        for host in ["localhost", "localhost:8080", "github.localhost", "127.0.0.1:80", "127.1.2.3"] {
            assert!(host.parse::<Host>().expect(host).is_this_machine(), "{host}");
        }
        for host in
            ["github.com", "localhost.evil.example", "notlocalhost", "128.0.0.1", "127.0.0.1.evil.example", "127.1"]
        {
            assert!(!host.parse::<Host>().expect(host).is_this_machine(), "{host}");
        }
    }

    #[test]
    fn permissions_parse_sort_and_print_and_are_never_empty() {
        let permissions: Permissions = "issues=write,contents=read".parse().expect("well formed");
        assert_eq!(permissions.to_string(), "contents=read,issues=write");
        for bad in ["", "contents", "contents=", "contents=all", "Contents=read", "a=read,a=write", "a=read,"] {
            assert!(bad.parse::<Permissions>().is_err(), "{bad:?}");
        }
        assert_eq!(serde_json::from_str(r#"{"issues":"write","contents":"read"}"#).ok(), Some(permissions));
        for bad in ["{}", "[]", r#"{"contents":"read","contents":"write"}"#, r#"{"Contents":"read"}"#] {
            assert!(serde_json::from_str::<Permissions>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_number_of_permissions_has_a_limit() {
        let list = |count| (0..count).map(|n| format!("p{n}=read")).collect::<Vec<_>>().join(",");
        let json = |count| format!("{{\"{}\"}}", list(count).replace('=', "\":\"").replace(',', "\",\""));
        for (count, fits) in [(MAX_PERMISSIONS, true), (MAX_PERMISSIONS + 1, false)] {
            assert_eq!(list(count).parse::<Permissions>().is_ok(), fits, "{count}");
            assert_eq!(serde_json::from_str::<Permissions>(&json(count)).is_ok(), fits, "{count}");
        }
    }

    #[test]
    fn levels_are_ordered_as_github_orders_them() {
        assert!(Level::Read < Level::Write && Level::Write < Level::Admin);
    }
}
