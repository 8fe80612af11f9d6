//! Minting: the checks between an App's wish and a token.
//!
//! See <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::access::suspended;
use super::super::answer::Answer;
use super::super::clock;
use super::super::installation::{Installed, Selection};
use super::super::permissions::{Level, Permissions, allows, to_json};
use super::super::render;
use super::super::request::Request;
use super::super::token::{Expiry, IssuedToken, TokenFormat};
use super::super::world::World;
use super::Outcome;
use super::apps::installation_of;

pub(super) fn create_installation_access_token(world: &mut World, request: &Request, app: u64, id: &str) -> Outcome {
    let wish = Wish::parse(&request.body)?;
    let id = installation_of(world, app, id).ok_or_else(|| Answer::not_found(PAGE))?;
    let installation = &world.installations[&id];
    if installation.suspended_at.is_some() {
        return Err(suspended());
    }
    let permissions = wish.permissions(installation)?;
    let narrowed_to = wish.repositories(world, installation)?;
    let limited = narrowed_to.is_some() || installation.selection == Selection::Selected;
    let selection = if limited { Selection::Selected } else { Selection::All };

    let token = world.issue(id, narrowed_to.clone(), permissions, format_for(world, request));
    let mut body = json!({
        "token": token.value,
        "permissions": to_json(&token.permissions),
        "repository_selection": selection.word(),
    });
    if let Some(expires_at) = expires_at(world, &token) {
        body["expires_at"] = expires_at.into();
    }
    if let Some(ids) = narrowed_to {
        let api = world.api(request);
        let chosen = world.repositories.iter().filter(|repository| ids.contains(&repository.id));
        body["repositories"] = chosen.map(|repository| render::repository(repository, &api)).collect();
    }
    Ok(Answer::json(201, body))
}

/// What the body asks for. Nothing asked is everything granted, and an empty list asks nothing.
#[derive(Debug, Default)]
struct Wish {
    repositories: Vec<String>,
    repository_ids: Vec<u64>,
    permissions: Permissions,
}

impl Wish {
    /// Checks that the body has the types of the schema, whatever it asks.
    fn parse(body: &[u8]) -> Result<Self, Answer> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let body: Value = serde_json::from_slice(body).map_err(|_| problems_parsing())?;
        let Value::Object(body) = body else {
            return Err(Answer::refusal(400, "Body should be a JSON object", PAGE));
        };
        Ok(Self {
            repositories: list(&body, "repositories", "a string", |item| item.as_str().map(str::to_owned))?,
            repository_ids: list(&body, "repository_ids", "an integer", Value::as_u64)?,
            permissions: match body.get("permissions") {
                None => Permissions::default(),
                Some(Value::Object(map)) => levels(map)?,
                Some(_) => return Err(problems_parsing()),
            },
        })
    }

    /// The permissions to grant: a subset of the installation's, and always `metadata: read`.
    fn permissions(&self, installation: &Installed) -> Result<Permissions, Answer> {
        let granted = &installation.permissions;
        if self.permissions.is_empty() {
            return Ok(granted.clone());
        }
        if !self.permissions.iter().all(|(name, &level)| allows(granted, name, level)) {
            return Err(Answer::refusal(422, "The permissions requested are not granted to this installation.", PAGE));
        }
        let mut permissions = self.permissions.clone();
        permissions.entry("metadata".to_owned()).or_insert(Level::Read);
        Ok(permissions)
    }

    /// The repositories to narrow the token to, by number; `None` for all that the installation reaches.
    fn repositories(&self, world: &World, installation: &Installed) -> Result<Option<BTreeSet<u64>>, Answer> {
        let listed = self.repositories.len() + self.repository_ids.len();
        if listed == 0 {
            return Ok(None);
        }
        if listed > MOST_REPOSITORIES {
            return Err(invalid_request(&format!(
                "A token can be limited to at most {MOST_REPOSITORIES} repositories."
            )));
        }
        let reach = world.reach(installation);
        let owner = &installation.account.login;
        let by_name = self.repositories.iter().map(|name| world.repository(owner, name).map(|found| found.id));
        let by_id = self.repository_ids.iter().copied().map(Some);
        by_name
            .chain(by_id)
            .map(|id| id.filter(|id| reach.contains(id)))
            .collect::<Option<_>>()
            .map(Some)
            .ok_or_else(inaccessible_repository)
    }
}

fn list<T>(
    body: &Map<String, Value>,
    field: &str,
    kind: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, Answer> {
    let items = match body.get(field) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => {
            return Err(invalid_request(&format!("For 'properties/{field}', {} is not an array.", ruby(other))));
        }
    };
    items
        .iter()
        .map(|item| read(item).ok_or_else(|| invalid_request(&format!("For 'items', {} is not {kind}.", ruby(item)))))
        .collect()
}

fn levels(map: &Map<String, Value>) -> Result<Permissions, Answer> {
    map.iter()
        .map(|(name, level)| {
            let word = level.as_str().ok_or_else(|| {
                invalid_request(&format!("For 'properties/{name}', {} is not a string.", ruby(level)))
            })?;
            let level = Level::parse(word).ok_or_else(|| {
                invalid_request(&format!("For 'properties/{name}', \"{word}\" is not one of read, write, admin."))
            })?;
            Ok((name.clone(), level))
        })
        .collect()
}

/// GitHub shows values as Ruby does, where JSON's null is nil.
fn ruby(value: &Value) -> String {
    if value.is_null() { "nil".to_owned() } else { value.to_string() }
}

/// The format that the client chose for this one token, else the one the test chose for all.
///
/// GitHub's header for the time of transition; any other value is as good as none.
fn format_for(world: &World, request: &Request) -> TokenFormat {
    match request.header("x-github-stateless-s2s-token") {
        "enabled" => TokenFormat::Stateless,
        "disabled" => TokenFormat::Classic,
        _ => world.token_format,
    }
}

fn expires_at(world: &World, token: &IssuedToken) -> Option<String> {
    let expires = token.expires;
    match world.expiry {
        Expiry::Truthful => Some(clock::rfc3339(expires)),
        Expiry::Missing => None,
        Expiry::Past => Some(clock::rfc3339(world.now() - 60)),
        Expiry::WithOffset => Some(clock::rfc3339(expires + 2 * 3600).replace('Z', "+02:00")),
        Expiry::WithMillis => Some(clock::rfc3339_millis(expires)),
        Expiry::In(duration) => {
            let seconds = i64::try_from(duration.as_secs()).expect("an expiry within the life of a test");
            Some(clock::rfc3339(world.now() + seconds))
        }
    }
}

fn problems_parsing() -> Answer {
    Answer::refusal(400, "Problems parsing JSON", PAGE)
}

fn invalid_request(reason: &str) -> Answer {
    Answer::refusal(422, &format!("Invalid request.\n\n{reason}"), PAGE)
}

/// One sentence for a name unknown, another owner's, or not selected.
fn inaccessible_repository() -> Answer {
    Answer::refusal(
        422,
        "There is at least one repository that does not exist or is not accessible to the parent installation.",
        PAGE,
    )
}

const PAGE: &str = "/apps/apps#create-an-installation-access-token-for-an-app";
/// GitHub's documented limit; its sentence beyond it is not publicly known.
const MOST_REPOSITORIES: usize = 500;
