//! The installation tokens at hand: what makes two requests the same, and how long an answer stays good.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::clock::Now;
use crate::ids::{Host, InstallationId, Level, Permissions, RepoName};
use crate::secret::Secret;

/// Tokens by what they are good for.
#[derive(Default)]
pub struct TokenCache {
    tokens: HashMap<Arc<Scope>, Entry>,
    /// The scopes in the order in which their tokens were kept; the oldest goes when there are too many.
    order: BTreeMap<u64, Arc<Scope>>,
    next: u64,
}

/// What a token is good for. Two requests are the same when all of this is: a narrow question must never be answered with
/// a wide token, nor one App's with another's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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

/// A minted installation token.
#[derive(Debug)]
pub struct Token {
    /// The token itself; opaque.
    pub value: Secret<str>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// The same as GitHub writes it.
    pub expires_at: String,
    /// When it was minted.
    pub minted: Now,
    /// The installation it belongs to.
    pub installation: InstallationId,
    /// The account that installation is on.
    pub account: String,
    /// What GitHub granted.
    pub permissions: BTreeMap<String, String>,
    /// The repositories it is narrowed to, as `OWNER/NAME`.
    pub repositories: Option<Vec<String>>,
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

struct Entry {
    token: Arc<Token>,
    order: u64,
}

impl TokenCache {
    /// Finds a token for this scope that lives at least `min_ttl` seconds more.
    pub fn lookup(&self, scope: &Scope, min_ttl: i64, now: Now) -> Lookup {
        match self.tokens.get(scope).map(|entry| &entry.token) {
            Some(token) if !token.lives(min_ttl, now) => Lookup::Missing,
            Some(token) if !token.lives(RENEW_BELOW, now) => Lookup::Aging(Arc::clone(token)),
            Some(token) => Lookup::Good(Arc::clone(token)),
            None => Lookup::Missing,
        }
    }

    /// Keeps a token, in place of an older one for the same scope.
    pub fn keep(&mut self, scope: Scope, token: Arc<Token>) {
        if let Some(older) = self.tokens.remove(&scope) {
            self.order.remove(&older.order);
        }
        if self.tokens.len() >= MAX_TOKENS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.tokens.remove(&oldest);
        }
        let scope = Arc::new(scope);
        self.order.insert(self.next, Arc::clone(&scope));
        self.tokens.insert(scope, Entry { token, order: self.next });
        self.next += 1;
    }

    /// Forgets the tokens of one key.
    pub fn forget_key(&mut self, fingerprint: &str) {
        self.forget(|scope, _| *scope.key == *fingerprint);
    }

    /// Forgets the tokens that have expired.
    pub fn expire(&mut self, now: Now) {
        self.forget(|_, token| !token.lives(1, now));
    }

    /// Every token with its scope, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Token)> {
        self.order.values().filter_map(|scope| Some((&**scope, &*self.tokens.get(scope)?.token)))
    }

    fn forget(&mut self, which: impl Fn(&Scope, &Token) -> bool) {
        let order = &mut self.order;
        self.tokens.retain(|scope, entry| {
            let gone = which(scope, &entry.token);
            if gone {
                order.remove(&entry.order);
            }
            !gone
        });
    }
}

impl Token {
    /// Whether it lives at least `seconds` more.
    pub fn lives(&self, seconds: i64, now: Now) -> bool {
        self.expires.saturating_sub(now.unix) >= seconds
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

/// With less life left than this, in seconds, a token is renewed in the background: a quarter of GitHub's hour.
pub const RENEW_BELOW: i64 = 15 * 60;
/// Tokens kept at once. With 520 characters each and what belongs to it, these take about 10 MB.
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

    fn token(lives: i64) -> Arc<Token> {
        Arc::new(Token {
            value: "ghs_x".into(),
            expires: NOW.unix + lives,
            expires_at: String::new(),
            minted: NOW,
            installation: InstallationId(1),
            account: "octo".into(),
            permissions: BTreeMap::new(),
            repositories: None,
        })
    }

    fn cache(lives: i64) -> TokenCache {
        let mut cache = TokenCache::default();
        cache.keep(scope(1), token(lives));
        cache
    }

    #[test]
    fn a_token_is_served_while_it_has_the_asked_life_left() {
        assert!(matches!(cache(3_600).lookup(&scope(1), 300, NOW), Lookup::Good(_)));
        assert!(matches!(cache(RENEW_BELOW).lookup(&scope(1), 300, NOW), Lookup::Good(_)));
        assert!(matches!(cache(RENEW_BELOW - 1).lookup(&scope(1), 300, NOW), Lookup::Aging(_)));
        assert!(matches!(cache(300).lookup(&scope(1), 300, NOW), Lookup::Aging(_)));
        assert!(matches!(cache(299).lookup(&scope(1), 300, NOW), Lookup::Missing));
        assert!(matches!(cache(3_600).lookup(&scope(1), 3_601, NOW), Lookup::Missing));
    }

    #[test]
    fn no_part_of_a_scope_is_overlooked() {
        let cache = cache(3_600);
        let base = scope(1);
        for other in [
            Scope { key: "SHA256:b".into(), ..base.clone() },
            Scope { host: "ghe.example".parse().expect("a host"), ..base.clone() },
            Scope { installation: InstallationId(2), ..base.clone() },
            Scope { repositories: vec!["hello".parse().expect("a name")], ..base.clone() },
            Scope { permissions: "contents=read".parse().ok(), ..base.clone() },
        ] {
            assert!(matches!(cache.lookup(&other, 1, NOW), Lookup::Missing), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut cache = TokenCache::default();
        for n in 0..=MAX_TOKENS as u64 {
            cache.tokens.insert(Arc::new(scope(n)), Entry { token: token(3_600), order: n });
            cache.order.insert(n, Arc::new(scope(n)));
            cache.next = n + 1;
        }
        cache.keep(scope(u64::MAX), token(3_600));
        assert!(matches!(cache.lookup(&scope(0), 1, NOW), Lookup::Missing));
        assert!(matches!(cache.lookup(&scope(1), 1, NOW), Lookup::Good(_)));
        assert!(matches!(cache.lookup(&scope(u64::MAX), 1, NOW), Lookup::Good(_)));
    }

    #[test]
    fn a_removed_key_takes_its_tokens_along_and_expired_ones_go() {
        let mut cache = cache(100);
        cache.keep(Scope { key: "SHA256:b".into(), ..scope(1) }, token(10));
        cache.expire(Now { unix: NOW.unix + 10, ..NOW });
        assert_eq!(cache.iter().count(), 1);
        cache.forget_key("SHA256:a");
        assert_eq!((cache.iter().count(), cache.order.len()), (0, 0));
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
}
