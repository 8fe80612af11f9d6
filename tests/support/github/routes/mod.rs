//! The endpoints, in one table. Names in the comments are GitHub's operation ids.

mod apps;
mod graphql;
mod installation;
mod mint;
mod repos;
mod site;
mod users;

use super::access::{Access, charge};
use super::answer::Answer;
use super::jwt;
use super::request::Request;
use super::world::World;

/// What a handler makes of a request; a refusal is an answer, too.
type Outcome = Result<Answer, Answer>;

/// Finds the endpoint and lets it answer.
pub(super) fn answer(world: &mut World, request: &Request) -> Answer {
    if let Some(git) = world.git.clone().filter(|_| is_gits(&request.path)) {
        return git(world, request);
    }
    let Some(path) = world.edition.api_path(&request.path).map(str::to_owned) else {
        return Answer::not_found("");
    };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method.as_str(), segments.as_slice()) {
        // Signed by an App. https://docs.github.com/en/rest/apps/apps

        // apps/get-authenticated
        ("GET", ["app"]) => as_app(world, request, |w, r, app| Ok(apps::get_authenticated(w, r, app))),
        // apps/list-installations
        ("GET", ["app", "installations"]) => {
            as_app(world, request, |w, r, app| Ok(apps::list_installations(w, r, app)))
        }
        // apps/get-installation
        ("GET", ["app", "installations", id]) => {
            as_app(world, request, |w, r, app| apps::get_installation(w, r, app, id))
        }
        // apps/delete-installation
        ("DELETE", ["app", "installations", id]) => {
            as_app(world, request, |w, r, app| apps::delete_installation(w, r, app, id))
        }
        // apps/suspend-installation
        ("PUT", ["app", "installations", id, "suspended"]) => {
            as_app(world, request, |w, _, app| apps::suspend_installation(w, app, id))
        }
        // apps/unsuspend-installation
        ("DELETE", ["app", "installations", id, "suspended"]) => {
            as_app(world, request, |w, _, app| apps::unsuspend_installation(w, app, id))
        }
        // apps/create-installation-access-token
        ("POST", ["app", "installations", id, "access_tokens"]) => {
            as_app(world, request, |w, r, app| mint::create_installation_access_token(w, r, app, id))
        }
        // apps/get-repo-installation
        ("GET", ["repos", owner, repo, "installation"]) => {
            as_app(world, request, |w, r, app| apps::get_repo_installation(w, r, app, owner, repo))
        }
        // The address that renamed repositories redirect to; it has no operation id.
        ("GET", ["repositories", id, "installation"]) => {
            as_app(world, request, |w, r, app| apps::get_repository_id_installation(w, r, app, id))
        }
        // apps/get-org-installation
        ("GET", ["orgs", org, "installation"]) => {
            as_app(world, request, |w, r, app| apps::get_org_installation(w, r, app, org))
        }
        // apps/get-user-installation
        ("GET", ["users", login, "installation"]) => {
            as_app(world, request, |w, r, app| apps::get_user_installation(w, r, app, login))
        }
        // apps/get-enterprise-installation: no App here is installed on an enterprise.
        ("GET", ["enterprises", _, "installation"]) => as_app(world, request, |_, _, _| {
            Err(Answer::not_found("/apps/apps#get-an-enterprise-installation-for-the-authenticated-app"))
        }),

        // With an installation token. https://docs.github.com/en/rest/apps/installations

        // apps/revoke-installation-access-token
        ("DELETE", ["installation", "token"]) => counted(world, request, installation::revoke_access_token),
        // apps/list-repos-accessible-to-installation
        ("GET", ["installation", "repositories"]) => counted(world, request, installation::list_repositories),

        // With a token or without.

        // rate-limit/get. https://docs.github.com/en/rest/rate-limit/rate-limit
        ("GET", ["rate_limit"]) => site::rate_limit(world, request).unwrap_or_else(|refusal| refusal),
        // users/get-authenticated. https://docs.github.com/en/rest/users/users
        ("GET", ["user"]) => counted(world, request, users::get_authenticated),
        // users/get-by-username
        ("GET", ["users", login]) => counted(world, request, |w, r, _| users::get_by_username(w, r, login)),
        // apps/get-by-slug
        ("GET", ["apps", slug]) => counted(world, request, |w, r, _| apps::get_by_slug(w, r, slug)),
        // repos/get. https://docs.github.com/en/rest/repos/repos
        ("GET", ["repos", owner, repo]) => {
            counted(world, request, |w, r, access| repos::get(w, r, access, owner, repo))
        }
        // pulls/list. https://docs.github.com/en/rest/pulls/pulls
        ("GET", ["repos", owner, repo, "pulls"]) => {
            counted(world, request, |w, r, access| repos::list_pulls(w, r, access, owner, repo))
        }
        // https://docs.github.com/en/graphql
        ("POST", ["graphql"]) => counted(world, request, graphql::query),
        // meta/root. https://docs.github.com/en/rest/meta/meta
        ("GET", [""] | []) => counted(world, request, |w, r, _| Ok(site::root(w, r))),
        // meta/get
        ("GET", ["meta"]) => counted(world, request, |w, _, _| Ok(site::meta(w))),
        // meta/get-all-versions
        ("GET", ["versions"]) => counted(world, request, |_, _, _| Ok(site::versions())),

        // A known path with another method is 404 as well: GitHub does not use 405.
        _ => Answer::not_found(""),
    }
}

/// Answers an endpoint that only an App's JWT opens. These cost no budget and tell of none.
fn as_app(world: &mut World, request: &Request, handler: impl FnOnce(&mut World, &Request, u64) -> Outcome) -> Answer {
    jwt::authenticate(world, request).and_then(|app| handler(world, request, app)).unwrap_or_else(|refusal| refusal)
}

/// Answers an endpoint for tokens and passers-by, at the expense of their budget.
fn counted(
    world: &mut World,
    request: &Request,
    handler: impl FnOnce(&mut World, &Request, Option<&Access>) -> Outcome,
) -> Answer {
    match Access::of(world, request) {
        Ok(access) => charge(world, access.as_ref(), |world| handler(world, request, access.as_ref())),
        Err(refusal) => refusal,
    }
}

/// Tells whether a path is one that git asks for, as in `/acme-inc/web.git/info/refs`, where `.git` may be missing.
fn is_gits(path: &str) -> bool {
    path.split('/').nth(2).is_some_and(|repository| repository.strip_suffix(".git").is_some())
        || ["/info/refs", "/git-upload-pack", "/git-receive-pack"].iter().any(|end| path.ends_with(end))
}
