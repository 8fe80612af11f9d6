//! What an App may ask about itself and its installations.

use super::super::answer::{Answer, Content};
use super::super::clock;
use super::super::installation::{AccountKind, Installed, Repository};
use super::super::page::{Page, linked};
use super::super::render;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;

pub(super) fn get_authenticated(world: &mut World, request: &Request, app: u64) -> Answer {
    Answer::json(200, render::app(world, &world.apps[&app], &world.api(request)))
}

pub(super) fn get_by_slug(world: &mut World, request: &Request, slug: &str) -> Outcome {
    let app =
        world.apps.values().find(|app| app.slug == slug).ok_or_else(|| Answer::not_found("/apps/apps#get-an-app"))?;
    Ok(Answer::json(200, render::app(world, app, &world.api(request))))
}

/// Suspended installations are listed like the others.
pub(super) fn list_installations(world: &mut World, request: &Request, app: u64) -> Answer {
    let api = world.api(request);
    let since = request.parameter("since").and_then(|time| clock::parse(&time));
    let installations = world
        .installations
        .values()
        .filter(|installation| installation.app == app)
        .filter(|installation| since.is_none_or(|since| installation.updated > since))
        .map(|installation| render::installation(world, installation, &api))
        .collect();
    let Page { items, link } = Page::of(installations, request, &format!("{api}/app/installations"));
    linked(Answer::json(200, items.into()), link)
}

pub(super) fn get_installation(world: &mut World, request: &Request, app: u64, id: &str) -> Outcome {
    let id = installation_of(world, app, id)
        .ok_or_else(|| Answer::not_found("/apps/apps#get-an-installation-for-the-authenticated-app"))?;
    Ok(show(world, request, &world.installations[&id]))
}

/// Uninstalls. API version 2026-03-10 says 202 where the one before said 204.
pub(super) fn delete_installation(world: &mut World, request: &Request, app: u64, id: &str) -> Outcome {
    let id = installation_of(world, app, id)
        .ok_or_else(|| Answer::not_found("/apps/apps#delete-an-installation-for-the-authenticated-app"))?;
    world.installations.remove(&id);
    Ok(Answer::empty(if request.header("x-github-api-version") == "2026-03-10" { 202 } else { 204 }))
}

pub(super) fn suspend_installation(world: &mut World, app: u64, id: &str) -> Outcome {
    let id =
        installation_of(world, app, id).ok_or_else(|| Answer::not_found("/apps/apps#suspend-an-app-installation"))?;
    world.suspend(id);
    Ok(Answer::empty(204))
}

pub(super) fn unsuspend_installation(world: &mut World, app: u64, id: &str) -> Outcome {
    let id =
        installation_of(world, app, id).ok_or_else(|| Answer::not_found("/apps/apps#unsuspend-an-app-installation"))?;
    world.unsuspend(id);
    Ok(Answer::empty(204))
}

/// A repository that does not exist and one that the App is not installed on look the same.
pub(super) fn get_repo_installation(
    world: &mut World,
    request: &Request,
    app: u64,
    owner: &str,
    repo: &str,
) -> Outcome {
    if let Some(repository) = world.repository(owner, repo) {
        return on_repository(world, request, app, repository);
    }
    let moved = world.renamed_repository(owner, repo).ok_or_else(no_repo_installation)?;
    Err(moved_permanently(&format!("{}/repositories/{}/installation", world.api(request), moved.id)))
}

pub(super) fn get_repository_id_installation(world: &mut World, request: &Request, app: u64, id: &str) -> Outcome {
    let repository = world.repositories.iter().find(|repository| repository.id.to_string() == id);
    on_repository(world, request, app, repository.ok_or_else(no_repo_installation)?)
}

pub(super) fn get_org_installation(world: &mut World, request: &Request, app: u64, org: &str) -> Outcome {
    on_account(world, app, org)
        .filter(|installation| installation.account.kind == AccountKind::Organization)
        .map(|installation| show(world, request, installation))
        .ok_or_else(|| Answer::not_found("/apps/apps#get-an-organization-installation-for-the-authenticated-app"))
}

/// Works with an organization's login as well, which clients rely on.
pub(super) fn get_user_installation(world: &mut World, request: &Request, app: u64, login: &str) -> Outcome {
    on_account(world, app, login)
        .map(|installation| show(world, request, installation))
        .ok_or_else(|| Answer::not_found("/apps/apps#get-a-user-installation-for-the-authenticated-app"))
}

/// Reads an installation's number from a path; `None` unless it is one of this App's.
pub(super) fn installation_of(world: &World, app: u64, id: &str) -> Option<u64> {
    let installation = world.installations.get(&id.parse().ok()?)?;
    (installation.app == app).then_some(installation.id)
}

/// 301, with the new address in the body as well as in `Location`.
pub(super) fn moved_permanently(to: &str) -> Answer {
    let mut answer =
        Answer::refusal(301, "Moved Permanently", "/guides/best-practices-for-using-the-rest-api#follow-redirects");
    if let Content::Json(body) = &mut answer.content {
        body["url"] = to.into();
    }
    answer.header("Location", to)
}

fn on_account<'a>(world: &'a World, app: u64, login: &str) -> Option<&'a Installed> {
    let account = world.account(login)?;
    world.installations.values().find(|installation| installation.app == app && installation.account.id == account.id)
}

fn on_repository(world: &World, request: &Request, app: u64, repository: &Repository) -> Outcome {
    on_account(world, app, &repository.owner.login)
        .filter(|installation| world.reach(installation).contains(&repository.id))
        .map(|installation| show(world, request, installation))
        .ok_or_else(no_repo_installation)
}

fn no_repo_installation() -> Answer {
    Answer::not_found("/apps/apps#get-a-repository-installation-for-the-authenticated-app")
}

fn show(world: &World, request: &Request, installation: &Installed) -> Answer {
    Answer::json(200, render::installation(world, installation, &world.api(request)))
}
