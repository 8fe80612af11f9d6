//! The JWT by which an App shows GitHub who it is: RS256, good for minutes.
//!
//! <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::ids::AppId;
use crate::secret::Secret;

/// The key cannot sign: its parts do not belong together.
#[derive(Debug)]
pub struct CannotSign;

/// Signs for an App with its PKCS#1 DER key, at `now` in seconds since 1970 by GitHub's clock. Takes about a millisecond.
pub fn sign(app_id: &AppId, pkcs1: &Secret<[u8]>, now: i64) -> Result<Secret<str>, CannotSign> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iat: i64,
        exp: i64,
        iss: &'a AppId,
    }

    let claims = Claims { iat: now - BACK_DATED, exp: now + GOOD_FOR, iss: app_id };
    let key = EncodingKey::from_rsa_der(pkcs1.expose());
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map(Secret::from).map_err(|_| CannotSign)
}

/// Readies the random generator that signing blinds with. Its first use in a process takes about a tenth of a second.
pub fn warm_up() {
    let mut byte = [0];
    // Should it fail, signing will fail as well and say so.
    let _ = aws_lc_rs::rand::fill(&mut byte);
}

/// GitHub refuses an `iat` that is even slightly ahead of its clock.
const BACK_DATED: i64 = 60;
/// GitHub refuses an `exp` more than 600 s ahead of its clock; a minute is left for ours being fast.
const GOOD_FOR: i64 = 540;

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::agent::key::AppKey;
    use crate::pem;

    #[test]
    fn a_number_is_a_number_and_a_client_id_a_string() {
        let key = pem::read(include_bytes!("../../tests/fixtures/UNSAFE-TEST-ONLY-1.pem")).expect("a key");
        let key = AppKey::from_wire(&key.wire).expect("a key");
        for (app_id, iss) in [("12", "12"), ("Iv23abc", "\"Iv23abc\"")] {
            let jwt = sign(&app_id.parse().expect("an App ID"), &key.pkcs1, 1_000).expect("signed");
            let claims = jwt.expose().split('.').nth(1).expect("three parts");
            let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
            assert_eq!(String::from_utf8_lossy(&claims), format!("{{\"iat\":940,\"exp\":1540,\"iss\":{iss}}}"));
        }
    }

    #[test]
    fn a_key_that_is_no_key_cannot_sign() {
        assert!(sign(&AppId::Number(1), &Secret::from(vec![0x30, 0x00]), 1_000).is_err());
    }
}
