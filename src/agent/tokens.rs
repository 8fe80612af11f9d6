//! The installation tokens at hand: what makes two requests the same, and how long an answer stays good.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::clock::{Life, Now};
use super::shelf::{Line, Shelf};
use crate::ids::{Host, InstallationId, Level, Permissions, RepoName};
use crate::secret::Secret;

/// Tokens by what they are good for.
#[derive(Default)]
pub struct TokenCache {
    /// In the order of their scopes. Ten thousand in a row take half the memory of a hash table, and a search among them is
    /// nothing beside a request.
    tokens: Vec<Kept>,
    /// Those that newer ones took the place of. They are not handed out, but they are alive, and can be revoked.
    replaced: VecDeque<Kept>,
    /// No token ends before this moment, by either clock. It spares a look at all of them.
    next_end: Option<Now>,
    shelf: Shelf,
}

/// What a token is good for. Two requests are the same when all of this is: a narrow question must never be answered with
/// a wide token, nor one App's with another's.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The key's fingerprint.
    pub key: &'a str,
    /// Its number here, by which it belongs to one App and one API.
    pub number: u64,
    /// The host the key's App lives on.
    pub host: &'a Host,
    /// The installation.
    pub installation: InstallationId,
    /// The repositories it is narrowed to, sorted; none: all that the installation sees.
    pub repositories: &'a [RepoName],
    /// The permissions it is narrowed to; none: all that the installation has.
    pub permissions: Option<&'a Permissions>,
}

/// A scope in 32 bytes: its SHA-256. Thousands of them are kept.
pub type ScopeId = [u8; 32];

/// A minted installation token, in the form in which it is handed out.
#[derive(Clone)]
pub struct Token {
    /// The whole answer, as a line: handing it out again is a copy.
    pub line: Arc<Secret<[u8]>>,
    /// The key it was minted with.
    pub key: Arc<str>,
    /// How long it lives.
    pub life: Life,
}

/// The same as a [`Token`], as it is kept.
struct Kept {
    scope: ScopeId,
    /// Without [`START`].
    line: Line,
    key: Arc<str>,
    life: Life,
}

/// What the cache has for a question.
pub enum Lookup {
    /// A token with enough life left.
    Good(Token),
    /// The same, but it is time to renew it in the background.
    Aging(Token),
    /// None.
    Missing,
}

impl TokenCache {
    /// Finds a token for this scope that lives at least `min_ttl` seconds more.
    pub fn lookup(&self, scope: &ScopeId, min_ttl: i64, now: Now) -> Lookup {
        let Ok(at) = self.search(scope) else { return Lookup::Missing };
        let (kept, life) = (&self.tokens[at], self.tokens[at].life);
        if life.lasts(min_ttl + renewal_margin(life, min_ttl), now) {
            Lookup::Good(kept.token())
        } else if life.lasts(min_ttl, now) {
            Lookup::Aging(kept.token())
        } else {
            Lookup::Missing
        }
    }

    /// Keeps a token, in place of one for the same scope that ends earlier, or, when there are too many, of the oldest of all.
    pub fn keep(&mut self, scope: ScopeId, token: &Token) {
        let line = token.line.expose();
        let line = self.shelf.put(line.strip_prefix(START).unwrap_or(line));
        let kept = Kept { scope, line, key: Arc::clone(&token.key), life: token.life };
        let end = token.life.end();
        self.next_end = Some(self.next_end.map_or(end, |next| earlier(next, end)));
        match self.search(&scope) {
            Ok(at) if self.tokens[at].life.ends_after(kept.life) => return,
            Ok(at) => {
                let before = std::mem::replace(&mut self.tokens[at], kept);
                self.replace(before);
            }
            Err(at) => self.tokens.insert(at, kept),
        }
        let bytes = |kept: &Kept| kept.line.len();
        let mut held: usize = self.tokens.iter().chain(&self.replaced).map(bytes).sum();
        while held > MAX_BYTES
            && let Some(out) = self.replaced.pop_front()
        {
            held -= out.line.len();
        }
        while self.tokens.len() > MAX_TOKENS || held > MAX_BYTES && self.tokens.len() > 1 {
            let ages = self.tokens.iter().enumerate().min_by_key(|(_, kept)| kept.life.began());
            let (oldest, _) = ages.expect("there are some");
            let oldest = self.tokens.remove(oldest);
            // There is room for it among those that can be revoked, if it is their number that is too large.
            if held <= MAX_BYTES {
                self.replace(oldest);
            } else {
                held -= oldest.line.len();
            }
        }
    }

    fn search(&self, scope: &ScopeId) -> Result<usize, usize> {
        self.tokens.binary_search_by(|kept| kept.scope.cmp(scope))
    }

    fn replace(&mut self, token: Kept) {
        if self.replaced.len() >= MAX_REPLACED {
            self.replaced.pop_front();
        }
        self.replaced.push_back(token);
    }

    /// Forgets the tokens of one key.
    pub fn forget_key(&mut self, fingerprint: &str) {
        self.forget(|kept| *kept.key == *fingerprint);
    }

    /// Forgets the tokens that have expired. It looks at them only when one may have, which is once a second at most.
    pub fn expire(&mut self, now: Now) {
        if self.next_end.is_some_and(|end| end.unix <= now.unix || end.boot <= now.boot) {
            self.forget(|kept| !kept.life.lasts(1, now));
        }
    }

    /// How long until a token may have expired.
    pub fn next_expiry(&self, now: Now) -> Option<Duration> {
        let end = self.next_end?;
        let seconds = u64::try_from(end.unix.saturating_sub(now.unix)).unwrap_or_default();
        Some(end.boot.saturating_sub(now.boot).min(Duration::from_secs(seconds)))
    }

    /// Hands out one token no more; returns whether it was. It is alive, and can still be revoked.
    pub fn drop_token(&mut self, text: &Secret<str>) -> bool {
        let start = start_of_line(text);
        let Some(at) = self.tokens.iter().position(|kept| kept.starts_with(&start)) else { return false };
        let dropped = self.tokens.remove(at);
        self.replace(dropped);
        true
    }

    /// Forgets one token, whether it is handed out or replaced: it is dead.
    pub fn forget_token(&mut self, text: &Secret<str>) {
        let start = start_of_line(text);
        self.forget(|kept| kept.starts_with(&start));
    }

    fn forget(&mut self, wanted: impl Fn(&Kept) -> bool) {
        self.tokens.retain(|kept| !wanted(kept));
        self.replaced.retain(|kept| !wanted(kept));
        self.next_end = self.tokens.iter().chain(&self.replaced).map(|kept| kept.life.end()).reduce(earlier);
    }

    /// The tokens that are alive as far as is known, the replaced ones as well: this one, those of one key, or all.
    pub fn living(&self, text: Option<&Secret<str>>, key: Option<&str>) -> Vec<Token> {
        let start = text.map(start_of_line);
        let is_it = |kept: &&Kept| start.as_ref().is_none_or(|start| kept.starts_with(start));
        let is_its = |kept: &&Kept| key.is_none_or(|key| *kept.key == *key);
        self.tokens.iter().chain(&self.replaced).filter(is_it).filter(is_its).map(Kept::token).collect()
    }

    /// The `most` oldest tokens, or fewer where they take more than so many bytes.
    pub fn oldest(&self, most: usize, most_bytes: usize) -> Vec<Token> {
        let mut tokens: Vec<_> = self.tokens.iter().collect();
        tokens.sort_by_key(|kept| kept.life.began());
        let mut bytes = 0;
        let told = tokens.into_iter().take(most).take_while(|kept| {
            bytes += kept.line.len();
            bytes <= most_bytes
        });
        told.map(Kept::token).collect()
    }
}

impl Kept {
    fn token(&self) -> Token {
        let line = self.line.read(|line| [START, line].concat());
        Token { line: Arc::new(line.into()), key: Arc::clone(&self.key), life: self.life }
    }

    fn starts_with(&self, start: &[u8]) -> bool {
        self.line.read(|line| line.starts_with(start))
    }
}

impl Token {
    /// The token itself, out of the line.
    pub fn text(&self) -> Option<Secret<str>> {
        #[derive(Deserialize)]
        struct Line {
            token: Secret<str>,
        }
        serde_json::from_slice(self.line.expose()).ok().map(|Line { token }| token)
    }
}

/// The earlier of two moments by each clock: these can differ, since one of them can be set.
fn earlier(one: Now, other: Now) -> Now {
    Now { unix: one.unix.min(other.unix), boot: one.boot.min(other.boot) }
}

/// Seconds before the end of its use for who asks for `min_ttl` that a token is renewed, in the background.
fn renewal_margin(life: Life, min_ttl: i64) -> i64 {
    RENEW_AHEAD.min((life.seconds() - min_ttl) / 4)
}

/// How a line with this token goes on after [`START`].
fn start_of_line(text: &Secret<str>) -> Zeroizing<Vec<u8>> {
    let mut start = Zeroizing::new(Vec::with_capacity(1024));
    serde_json::to_writer(&mut *start, text).expect("a Vec takes all that is written");
    start.push(b',');
    start
}

impl Scope<'_> {
    /// The same for the same scope, and for no other: every part is written down, between newlines that none can contain.
    pub fn id(&self) -> ScopeId {
        let mut text = String::with_capacity(256);
        let written = write!(text, "{}\n{}\n{}\n{}\n", self.key, self.number, self.host, self.installation);
        written.expect("a String takes all that is written");
        for repository in self.repositories {
            let _ = write!(text, "{repository}/");
        }
        text.push('\n');
        for (name, level) in self.permissions.into_iter().flat_map(Permissions::iter) {
            let _ = write!(text, "{name}={level},");
        }
        Sha256::digest(text).into()
    }
}

/// Whether `granted` covers everything `asked`.
pub fn covers(granted: &BTreeMap<String, String>, asked: &Permissions) -> bool {
    asked.iter().all(|(name, level)| {
        let has = granted.get(name).map(String::as_str);
        match level {
            Level::Read => matches!(has, Some("read" | "write" | "admin")),
            Level::Write => matches!(has, Some("write" | "admin")),
            Level::Admin => has == Some("admin"),
        }
    })
}

/// Whether `granted` goes nowhere beyond what was `asked`. To read metadata comes with every token.
pub fn within(granted: &BTreeMap<String, String>, asked: &Permissions) -> bool {
    let asked: BTreeMap<_, _> = asked.iter().collect();
    granted.iter().all(|(name, has)| match (asked.get(name.as_str()), has.as_str()) {
        (None, "read") => name == "metadata",
        (Some(_), "read") | (Some(Level::Write | Level::Admin), "write") | (Some(Level::Admin), "admin") => true,
        _ => false,
    })
}

/// How every line with a token begins: [`crate::protocol::TokenAnswer`] has the token first.
const START: &[u8] = br#"{"ok":true,"token":"#;
/// Seconds before nobody could use it any more that a token is renewed, so that nobody waits; for tokens of an hour and
/// who asks for nothing else, with a quarter of the hour left. Of shorter lives, a quarter.
const RENEW_AHEAD: i64 = 10 * 60;
/// Replaced tokens remembered at the most: they live for a quarter of an hour more.
const MAX_REPLACED: usize = 1000;
/// Bytes that all of them together take at the most: with the names of hundreds of repositories, one can take megabytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Tokens kept at once. With 520 characters each, these take about 10 MB.
pub const MAX_TOKENS: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const NOW: Now = Now { unix: 1_000_000, boot: Duration::from_secs(10) };

    static GITHUB: LazyLock<Host> = LazyLock::new(Host::github);

    fn scope(installation: u64) -> Scope<'static> {
        Scope {
            key: "SHA256:a",
            number: 1,
            host: &GITHUB,
            installation: InstallationId(installation),
            repositories: &[],
            permissions: None,
        }
    }

    fn token(key: &str, lives: i64) -> Token {
        let line = format!(r#"{{"ok":true,"token":"ghs_{lives}","host":"github.com"}}"#).into_bytes();
        Token { line: Arc::new(line.into()), key: key.into(), life: Life::new(NOW, lives) }
    }

    fn cache(lives: i64) -> TokenCache {
        let mut cache = TokenCache::default();
        cache.keep(scope(1).id(), &token("SHA256:a", lives));
        cache
    }

    fn later(seconds: u32) -> Now {
        Now { unix: NOW.unix + i64::from(seconds), boot: NOW.boot + Duration::from_secs(seconds.into()) }
    }

    #[test]
    fn a_token_is_served_while_it_has_the_asked_life_left_and_renewed_before_that() {
        let (id, cache) = (scope(1).id(), cache(3_600));
        assert!(matches!(cache.lookup(&id, 300, NOW), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&id, 300, later(45 * 60)), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&id, 300, later(45 * 60 + 1)), Lookup::Aging(_)));
        assert!(matches!(cache.lookup(&id, 300, later(55 * 60)), Lookup::Aging(_)));
        assert!(matches!(cache.lookup(&id, 300, later(55 * 60 + 1)), Lookup::Missing));
        assert!(matches!(cache.lookup(&id, 45 * 60, later(11 * 60)), Lookup::Good(_)), "asked for long, renewed early");
        assert!(matches!(cache.lookup(&id, 45 * 60, later(12 * 60)), Lookup::Aging(_)));
        assert!(matches!(cache.lookup(&id, 3_601, NOW), Lookup::Missing));
    }

    #[test]
    fn a_short_life_is_not_renewed_all_the_time() {
        let (id, cache) = (scope(1).id(), cache(8));
        assert!(matches!(cache.lookup(&id, 1, later(6)), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&id, 1, later(7)), Lookup::Aging(_)));
        assert!(matches!(cache.lookup(&id, 1, later(8)), Lookup::Missing));
    }

    #[test]
    fn either_clock_ends_a_token() {
        let (id, cache) = (scope(1).id(), cache(3_600));
        let set_back = Now { unix: NOW.unix - 7_200, ..later(3_400) };
        assert!(matches!(cache.lookup(&id, 300, set_back), Lookup::Missing));
        let slept_uncounted = Now { boot: NOW.boot, ..later(3_400) };
        assert!(matches!(cache.lookup(&id, 300, slept_uncounted), Lookup::Missing));
    }

    #[test]
    fn a_token_that_ends_earlier_takes_no_place_and_one_that_was_replaced_is_not_forgotten() {
        let mut cache = cache(3_600);
        cache.keep(scope(1).id(), &token("SHA256:a", 10));
        assert!(matches!(cache.lookup(&scope(1).id(), 300, NOW), Lookup::Good(_)));
        assert_eq!(cache.living(None, None).len(), 1);
        cache.keep(scope(1).id(), &token("SHA256:a", 3_700));
        assert_eq!(cache.living(None, None).len(), 2);
        cache.expire(later(3_650));
        assert_eq!(cache.living(None, None).len(), 1);
    }

    #[test]
    fn no_part_of_a_scope_is_overlooked() {
        let base = scope(1);
        let names = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect::<Vec<_>>();
        let [one, two, joined] = [names(&["hello"]), names(&["hello", "tools"]), names(&["hello-tools"])];
        let other = "ghe.example".parse().expect("a host");
        let [read, write] = ["contents=read", "contents=write"].map(|text| text.parse().expect("permissions"));
        let scopes = [
            base.clone(),
            Scope { key: "SHA256:b", ..base.clone() },
            Scope { number: 2, ..base.clone() },
            Scope { host: &other, ..base.clone() },
            Scope { installation: InstallationId(2), ..base.clone() },
            Scope { repositories: &one, ..base.clone() },
            Scope { repositories: &two, ..base.clone() },
            Scope { repositories: &joined, ..base.clone() },
            Scope { permissions: Some(&read), ..base.clone() },
            Scope { permissions: Some(&write), ..base.clone() },
        ];
        let ids: std::collections::HashSet<_> = scopes.iter().map(Scope::id).collect();
        assert_eq!(ids.len(), scopes.len());
        assert_eq!(base.id(), scope(1).id());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut cache = TokenCache::default();
        for n in 0..=MAX_TOKENS as u64 {
            let minted = Now { boot: Duration::from_secs(n), ..NOW };
            let life = Life::new(minted, 100_000);
            cache.keep(scope(n).id(), &Token { life, ..token("SHA256:a", 1) });
        }
        assert_eq!(cache.tokens.len(), MAX_TOKENS);
        assert_eq!(cache.replaced.len(), 1, "it can still be revoked");
        assert!(matches!(cache.lookup(&scope(0).id(), 1, NOW), Lookup::Missing));
        assert!(matches!(cache.lookup(&scope(1).id(), 1, NOW), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&scope(MAX_TOKENS as u64).id(), 1, NOW), Lookup::Good(_)));
        assert_eq!(cache.oldest(1, 1_000)[0].life.began(), 1);
    }

    #[test]
    fn one_token_can_be_found_and_dropped() {
        let mut cache = cache(3_600);
        cache.keep(scope(2).id(), &token("SHA256:b", 36));
        let text = Secret::from("ghs_36");
        let found = cache.living(Some(&text), None);
        assert_eq!(found.iter().map(|token| &*token.key).collect::<Vec<_>>(), ["SHA256:b"]);
        assert_eq!(found[0].text().map(|found| found.expose().to_owned()).as_deref(), Some("ghs_36"));
        assert!(cache.living(Some(&text), Some("SHA256:a")).is_empty());
        assert!(cache.drop_token(&text));
        assert!(!cache.drop_token(&text));
        assert!(matches!(cache.lookup(&scope(2).id(), 1, NOW), Lookup::Missing));
        assert_eq!(cache.living(Some(&text), None).len(), 1, "it is alive, and can be revoked");
        cache.forget_token(&text);
        assert_eq!(cache.living(None, None).len(), 1);
    }

    #[test]
    fn long_lines_push_the_oldest_out() {
        let mut cache = TokenCache::default();
        for n in 0..40 {
            let megabyte = Arc::new(Secret::from(vec![b'x'; 1024 * 1024]));
            let life = Life::new(Now { boot: Duration::from_secs(n), ..NOW }, 100_000);
            cache.keep(scope(n).id(), &Token { line: megabyte, life, ..token("SHA256:a", 1) });
        }
        assert!(cache.living(None, None).len() <= 16);
        assert!(matches!(cache.lookup(&scope(39).id(), 1, NOW), Lookup::Good(_)));
    }

    #[test]
    fn a_removed_key_takes_its_tokens_along_and_expired_ones_go() {
        let mut cache = cache(100);
        cache.keep(scope(2).id(), &token("SHA256:b", 10));
        cache.expire(later(10));
        assert_eq!(cache.tokens.len(), 1);
        cache.forget_key("SHA256:a");
        assert!(cache.tokens.is_empty());
    }

    #[test]
    fn the_next_expiry_is_known_without_a_look_at_every_token() {
        let mut cache = TokenCache::default();
        assert_eq!(cache.next_expiry(NOW), None);
        cache.keep(scope(1).id(), &token("SHA256:a", 100));
        cache.keep(scope(2).id(), &token("SHA256:b", 10));
        assert_eq!(cache.next_expiry(later(4)), Some(Duration::from_secs(6)));
        // Either clock ends a token.
        let set_ahead = Now { unix: NOW.unix + 8, ..later(4) };
        assert_eq!(cache.next_expiry(set_ahead), Some(Duration::from_secs(2)));
        cache.expire(later(9));
        assert_eq!(cache.tokens.len(), 2);
        cache.expire(later(10));
        assert_eq!((cache.tokens.len(), cache.next_expiry(later(10))), (1, Some(Duration::from_secs(90))));
        cache.forget_key("SHA256:a");
        assert_eq!(cache.next_expiry(later(10)), None);
    }

    #[test]
    fn a_level_includes_those_below_it() {
        let granted = BTreeMap::from([("contents".to_owned(), "write".to_owned())]);
        for (asked, covered) in
            [("contents=read", true), ("contents=write", true), ("contents=admin", false), ("issues=read", false)]
        {
            assert_eq!(covers(&granted, &asked.parse().expect("permissions")), covered, "{asked}");
        }
    }

    #[test]
    fn nothing_beyond_what_was_asked_passes() {
        let granted = |all: &[(&str, &str)]| all.iter().map(|(n, l)| ((*n).to_owned(), (*l).to_owned())).collect();
        let asked: Permissions = "contents=write".parse().expect("permissions");
        for (all, fits) in [
            (&[("contents", "write"), ("metadata", "read")][..], true),
            (&[("contents", "read")], true),
            (&[("contents", "admin")], false),
            (&[("contents", "write"), ("issues", "read")], false),
            (&[("metadata", "write")], false),
        ] {
            assert_eq!(within(&granted(all), &asked), fits, "{all:?}");
        }
    }
}
