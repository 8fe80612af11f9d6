//! Installation tokens: their two shapes, and what GitHub remembers of each.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use super::clock::Timestamp;
use super::permissions::Permissions;

/// A token that was handed out, as [`GitHub::tokens`](super::GitHub::tokens) tells it.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The secret itself.
    pub value: String,
    /// The App that asked for it.
    pub app: u64,
    /// The installation that it acts for.
    pub installation: u64,
    /// The names of the repositories it was narrowed to; `None` if it reaches all that the installation does.
    pub repositories: Option<Vec<String>>,
    /// What it may do.
    pub permissions: Permissions,
    /// When it was minted, on GitHub's clock.
    pub issued: Timestamp,
    /// When it dies, on GitHub's clock, whatever the answer to the client said.
    pub expires: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// The same from GitHub's side.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub issued: IssuedToken,
    /// The repositories it was narrowed to, by number, so that renaming one does not widen or break it.
    pub narrowed_to: Option<BTreeSet<u64>>,
    /// How many more requests will be refused before all of GitHub has heard of this token.
    pub lag: u32,
}

/// What tokens look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFormat {
    /// `ghs_` and 36 letters and digits.
    Classic,
    /// The format of 2026: `ghs_`, the App's number, `_` and a JWT; 520 characters.
    Stateless,
    /// `ghs_` and as many characters as make this length, for limits that nobody should have.
    Long(usize),
}

/// How an answer states when its token expires. The token's real life does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Truthfully, as GitHub does: `2026-11-22T14:30:00Z`.
    Truthful,
    /// Not at all.
    Missing,
    /// As a minute ago.
    Past,
    /// As local time with an offset: `2026-11-22T16:30:00+02:00`.
    WithOffset,
    /// With milliseconds: `2026-11-22T14:30:00.000Z`.
    WithMillis,
    /// As so far from now.
    In(Duration),
}

impl TokenFormat {
    /// Generates a token of this format.
    pub(super) fn generate(self, app: u64) -> String {
        match self {
            Self::Classic => format!("ghs_{}", random(36, BASE62)),
            Self::Stateless => stateless(app),
            Self::Long(length) => format!("ghs_{}", random(length - "ghs_".len(), WHOLE_CLASS)),
        }
    }
}

/// A JWT under a key of GitHub's own, so its signature is as good as random.
///
/// The dash and the underscore are forced: both occur in most tokens, and what chokes on them should do so always.
fn stateless(app: u64) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let head = format!("ghs_{app}_{header}.");
    let tail = format!("._-{}", random(RS256_SIGNATURE - 2, BASE64_URL));
    let payload = random(STATELESS_LENGTH - head.len() - tail.len(), BASE62);
    format!("{head}{payload}{tail}")
}

fn random(length: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

/// The length that GitHub announced for the stateless format.
const STATELESS_LENGTH: usize = 520;
/// 256 bytes in base64url.
const RS256_SIGNATURE: usize = 342;

const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE64_URL: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const WHOLE_CLASS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateless_token_has_the_announced_length_and_every_awkward_character() {
        for app in [1, 123_456, u64::from(u32::MAX)] {
            let token = TokenFormat::Stateless.generate(app);
            assert_eq!(token.len(), 520, "{token}");
            let jwt = token.strip_prefix(&format!("ghs_{app}_")).expect("the App's number");
            assert_eq!(jwt.matches('.').count(), 2, "{token}");
            assert!(jwt.contains('-') && jwt.contains('_'), "{token}");
        }
    }

    #[test]
    fn a_classic_token_has_forty_characters_and_a_long_one_as_many_as_asked() {
        assert_eq!(TokenFormat::Classic.generate(1).len(), 40);
        assert_eq!(TokenFormat::Long(2000).generate(1).len(), 2000);
    }
}
