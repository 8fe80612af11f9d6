//! The installation tokens at hand: what makes two requests the same, and how long an answer stays good.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::clock::Now;
use crate::ids::{Host, InstallationId, Level, Permissions, RepoName};
use crate::secret::Secret;

/// Tokens by what they are good for.
#[derive(Default)]
pub struct TokenCache {
    tokens: HashMap<ScopeId, Arc<Token>>,
    /// Those that newer ones took the place of. They are not handed out, but they are alive, and can be revoked.
    replaced: VecDeque<Arc<Token>>,
}

/// What a token is good for. Two requests are the same when all of this is: a narrow question must never be answered with
/// a wide token, nor one App's with another's.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The key's fingerprint.
    pub key: Arc<str>,
    /// The host the key's App lives on.
    pub host: Host,
    /// The installation.
    pub installation: InstallationId,
    /// The repositories it is narrowed to, sorted; none: all that the installation sees.
    pub repositories: Vec<RepoName>,
    /// The permissions it is narrowed to; none: all that the installation has.
    pub permissions: Option<Permissions>,
}

/// A scope in 32 bytes: its SHA-256. Thousands of them are kept.
pub type ScopeId = [u8; 32];

/// A minted installation token, in the form in which it is handed out.
pub struct Token {
    /// The whole answer, as a line; so that handing it out again is a copy, and keeping it one allocation.
    pub line: Arc<Secret<[u8]>>,
    /// The key it was minted with.
    pub key: Arc<str>,
    /// When it was minted.
    pub minted: Now,
    /// Seconds that it lives from then on.
    pub life: i64,
}

/// What the cache has for a question.
pub enum Lookup {
    /// A token with enough life left.
    Good(Arc<Token>),
    /// The same, but it is time to renew it in the background.
    Aging(Arc<Token>),
    /// None.
    Missing,
}

impl TokenCache {
    /// Finds a token for this scope that lives at least `min_ttl` seconds more.
    pub fn lookup(&self, scope: &ScopeId, min_ttl: i64, now: Now) -> Lookup {
        match self.tokens.get(scope) {
            Some(token) if token.lives(min_ttl + token.renewal_margin(min_ttl), now) => Lookup::Good(Arc::clone(token)),
            Some(token) if token.lives(min_ttl, now) => Lookup::Aging(Arc::clone(token)),
            _ => Lookup::Missing,
        }
    }

    /// Keeps a token, in place of one for the same scope that ends earlier, or, when there are too many, of the oldest of all.
    pub fn keep(&mut self, scope: ScopeId, token: Arc<Token>) {
        let now = token.minted;
        if self.tokens.get(&scope).is_some_and(|other| other.left(now) > token.left(now)) {
            return;
        }
        let room = self.tokens.len() < MAX_TOKENS || self.tokens.contains_key(&scope);
        let oldest = || self.tokens.iter().min_by_key(|(_, token)| token.minted.boot).map(|(scope, _)| *scope);
        let evicted = if room { None } else { oldest().and_then(|oldest| self.tokens.remove(&oldest)) };
        for out in self.tokens.insert(scope, token).into_iter().chain(evicted) {
            if self.replaced.len() >= MAX_REPLACED {
                self.replaced.pop_front();
            }
            self.replaced.push_back(out);
        }
    }

    /// Forgets the tokens of one key.
    pub fn forget_key(&mut self, fingerprint: &str) {
        self.forget(|token| *token.key == *fingerprint);
    }

    /// Forgets the tokens that have expired.
    pub fn expire(&mut self, now: Now) {
        self.forget(|token| !token.lives(1, now));
    }

    /// Forgets one token, whether it is handed out or replaced; returns whether it was there.
    pub fn drop_token(&mut self, token: &Token) -> bool {
        self.forget(|other| std::ptr::eq(other, token))
    }

    fn forget(&mut self, wanted: impl Fn(&Token) -> bool) -> bool {
        let before = self.tokens.len() + self.replaced.len();
        self.tokens.retain(|_, token| !wanted(token));
        self.replaced.retain(|token| !wanted(token));
        self.tokens.len() + self.replaced.len() < before
    }

    /// Every token that is alive as far as is known, the replaced ones as well.
    pub fn living(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values().chain(&self.replaced)
    }

    /// The `most` oldest tokens.
    pub fn oldest(&self, most: usize) -> Vec<&Token> {
        let mut tokens: Vec<_> = self.tokens.values().map(|token| &**token).collect();
        tokens.sort_by_key(|token| token.minted.boot);
        tokens.truncate(most);
        tokens
    }
}

impl Token {
    /// Whether it lives at least `seconds` more.
    pub fn lives(&self, seconds: i64, now: Now) -> bool {
        self.left(now) >= seconds
    }

    /// Seconds that it lives from now on, by the clock that is further along: one stops in some kinds of sleep, the other
    /// can be set back.
    fn left(&self, now: Now) -> i64 {
        self.life - self.age(now).max(now.unix.saturating_sub(self.minted.unix))
    }

    fn age(&self, now: Now) -> i64 {
        i64::try_from(now.boot.saturating_sub(self.minted.boot).as_secs()).unwrap_or(i64::MAX)
    }

    /// Seconds before the end of its use for who asks for `min_ttl` that it is renewed, in the background.
    fn renewal_margin(&self, min_ttl: i64) -> i64 {
        RENEW_AHEAD.min((self.life - min_ttl) / 4)
    }

    /// Whether this is the token.
    pub fn is(&self, text: &Secret<str>) -> bool {
        self.text().is_some_and(|token| token.expose() == text.expose())
    }

    /// The token itself, out of the line.
    pub fn text(&self) -> Option<Secret<str>> {
        #[derive(Deserialize)]
        struct Line {
            token: Secret<str>,
        }
        serde_json::from_slice(self.line.expose()).ok().map(|Line { token }| token)
    }
}

impl Scope {
    /// The same for the same scope, and for no other: every part is written down, between newlines that none can contain.
    pub fn id(&self) -> ScopeId {
        let mut text = String::with_capacity(256);
        let written = write!(text, "{}\n{}\n{}\n", self.key, self.host, self.installation);
        written.expect("a String takes all that is written");
        for repository in &self.repositories {
            let _ = write!(text, "{repository}/");
        }
        text.push('\n');
        for (name, level) in self.permissions.iter().flat_map(Permissions::iter) {
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

/// Seconds before nobody could use it any more that a token is renewed, so that nobody waits; for tokens of an hour and
/// who asks for nothing else, with a quarter of the hour left. Of shorter lives, a quarter.
const RENEW_AHEAD: i64 = 10 * 60;
/// Replaced tokens remembered at the most: they live for a quarter of an hour more.
const MAX_REPLACED: usize = 1000;
/// Tokens kept at once. With 520 characters each, these take about 10 MB.
pub const MAX_TOKENS: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Now = Now { unix: 1_000_000, boot: Duration::from_secs(10) };

    fn scope(installation: u64) -> Scope {
        Scope {
            key: "SHA256:a".into(),
            host: Host::github(),
            installation: InstallationId(installation),
            repositories: Vec::new(),
            permissions: None,
        }
    }

    fn token(key: &str, lives: i64) -> Arc<Token> {
        let line = Arc::new(Secret::from(b"{}".to_vec()));
        Arc::new(Token { line, key: key.into(), minted: NOW, life: lives })
    }

    fn cache(lives: i64) -> TokenCache {
        let mut cache = TokenCache::default();
        cache.keep(scope(1).id(), token("SHA256:a", lives));
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
        cache.keep(scope(1).id(), token("SHA256:a", 10));
        assert!(matches!(cache.lookup(&scope(1).id(), 300, NOW), Lookup::Good(_)));
        assert_eq!(cache.living().count(), 1);
        cache.keep(scope(1).id(), token("SHA256:a", 3_700));
        assert_eq!(cache.living().count(), 2);
        cache.expire(later(3_650));
        assert_eq!(cache.living().count(), 1);
    }

    #[test]
    fn no_part_of_a_scope_is_overlooked() {
        let base = scope(1);
        let names = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect();
        let scopes = [
            base.clone(),
            Scope { key: "SHA256:b".into(), ..base.clone() },
            Scope { host: "ghe.example".parse().expect("a host"), ..base.clone() },
            Scope { installation: InstallationId(2), ..base.clone() },
            Scope { repositories: names(&["hello"]), ..base.clone() },
            Scope { repositories: names(&["hello", "tools"]), ..base.clone() },
            Scope { repositories: names(&["hello-tools"]), ..base.clone() },
            Scope { permissions: "contents=read".parse().ok(), ..base.clone() },
            Scope { permissions: "contents=write".parse().ok(), ..base.clone() },
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
            let line = Arc::new(Secret::from(Vec::new()));
            let token = Token { line, key: "SHA256:a".into(), minted, life: 100_000 };
            cache.keep(scope(n).id(), Arc::new(token));
        }
        assert_eq!(cache.tokens.len(), MAX_TOKENS);
        assert_eq!(cache.replaced.len(), 1, "it can still be revoked");
        assert!(matches!(cache.lookup(&scope(0).id(), 1, NOW), Lookup::Missing));
        assert!(matches!(cache.lookup(&scope(1).id(), 1, NOW), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&scope(MAX_TOKENS as u64).id(), 1, NOW), Lookup::Good(_)));
        assert_eq!(cache.oldest(1)[0].minted.boot, Duration::from_secs(1));
    }

    #[test]
    fn a_removed_key_takes_its_tokens_along_and_expired_ones_go() {
        let mut cache = cache(100);
        cache.keep(scope(2).id(), token("SHA256:b", 10));
        cache.expire(later(10));
        assert_eq!(cache.tokens.len(), 1);
        cache.forget_key("SHA256:a");
        assert!(cache.tokens.is_empty());
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
