//! Users, of whom only bots matter here.

use super::super::access::Access;
use super::super::answer::Answer;
use super::super::render;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;

/// Closed to Apps: an installation is nobody.
pub(super) fn get_authenticated(_: &mut World, _: &Request, access: Option<&Access>) -> Outcome {
    let page = "/users/users#get-the-authenticated-user";
    Err(match access {
        Some(_) => Answer::not_accessible(page),
        None => Answer::requires_authentication(page),
    })
}

/// Finds accounts, and the bots that Apps act as: `acme-deployer[bot]`.
pub(super) fn get_by_username(world: &mut World, request: &Request, login: &str) -> Outcome {
    let api = world.api(request);
    let user = match login.strip_suffix("[bot]") {
        Some(slug) => world.apps.values().find(|app| app.slug == slug).map(|app| render::bot(app, &api)),
        None => world.account(login).map(|account| render::account(account, &api)),
    };
    user.map(|user| Answer::json(200, user)).ok_or_else(|| Answer::not_found("/users/users#get-a-user"))
}
