//! Whom an App's JWT names, and the order in which GitHub finds fault with it.
//!
//! See <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::Value;

use super::answer::Answer;
use super::app::App;
use super::request::{Credential, Request};
use super::world::World;

/// Returns the App that signed this request, or GitHub's refusal.
pub(super) fn authenticate(world: &World, request: &Request) -> Result<u64, Answer> {
    let token = match request.credential() {
        // `token` is for tokens; only `Bearer` may carry a JWT.
        Some(Credential { scheme, value }) if scheme == "bearer" => value,
        _ => return Err(undecodable()),
    };
    let jwt = Jwt::decode(&token).ok_or_else(undecodable)?;
    let app = issuer(world, &jwt.claims)?;
    if app.keys.is_empty() {
        return Err(refusal("Integration must generate a public key"));
    }
    if !app.keys.iter().any(|key| key.verifies(&jwt.signed, &jwt.signature)) {
        return Err(undecodable());
    }
    check_times(&jwt.claims, world.now())?;
    Ok(app.id)
}

/// Reads `iss` for the journal, believing everything.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    match &Jwt::decode(token)?.claims["iss"] {
        Value::String(iss) => Some(iss.clone()),
        iss => Some(iss.to_string()),
    }
}

/// A compact JWS with RS256, taken apart.
struct Jwt {
    /// Header and payload as they were signed.
    signed: String,
    claims: Value,
    signature: Vec<u8>,
}

impl Jwt {
    fn decode(token: &str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = decode_json(header)?;
        let claims = decode_json(payload)?;
        (header["alg"] == "RS256" && claims.is_object()).then_some(())?;
        Some(Self { signed: signed.to_owned(), claims, signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()? })
    }
}

fn decode_json(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A number names an App by its ID and a string by its client ID; a number in quotes counts as a number, though
/// GitHub has been seen to refuse it, which [`strict_issuer`](super::GitHub::strict_issuer) imitates.
fn issuer<'a>(world: &'a World, claims: &Value) -> Result<&'a App, Answer> {
    let by_id = |id: u64| world.apps.get(&id).ok_or_else(|| Answer::refusal(404, "Integration not found", ""));
    match &claims["iss"] {
        Value::Null => Err(refusal("Missing 'issuer' claim ('iss') in assertion")),
        Value::Number(id) if id.is_u64() => by_id(id.as_u64().expect("just asked")),
        Value::String(iss) => match iss.parse() {
            Ok(id) if !world.strict_issuer => by_id(id),
            _ if !world.edition.knows_client_ids() => Err(not_an_integer()),
            _ => world.apps.values().find(|app| app.client_id == *iss).ok_or_else(not_an_integer),
        },
        _ => Err(not_an_integer()),
    }
}

/// GitHub grants no leeway that anybody has measured, so an `iat` of a client's own "now" is a gamble.
fn check_times(claims: &Value, now: i64) -> Result<(), Answer> {
    let (iat, exp) = (&claims["iat"], &claims["exp"]);
    if iat.is_null() || exp.is_null() {
        return Err(undecodable());
    }
    if iat.as_i64().is_none_or(|iat| iat > now) {
        return Err(refusal(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ));
    }
    match exp.as_i64().filter(|&exp| exp > now) {
        None => Err(refusal(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the \
             assertion expires",
        )),
        Some(exp) if exp > now + LONGEST_LIFE => {
            Err(refusal("'Expiration time' claim ('exp') is too far in the future"))
        }
        Some(_) => Ok(()),
    }
}

fn undecodable() -> Answer {
    refusal("A JSON web token could not be decoded")
}

fn not_an_integer() -> Answer {
    refusal("'Issuer' claim ('iss') must be an Integer")
}

fn refusal(message: &str) -> Answer {
    Answer::refusal(401, message, "")
}

/// Ten minutes after GitHub's now, whatever `iat` says.
const LONGEST_LIFE: i64 = 600;
