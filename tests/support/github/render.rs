//! The JSON objects that GitHub shows of its state.

use serde_json::{Map, Value, json};

use super::app::App;
use super::clock;
use super::installation::{Account, AccountKind, Installed, Repository};
use super::permissions;
use super::world::World;

/// `integration`: an App as it sees itself.
pub(super) fn app(world: &World, app: &App, api: &str) -> Value {
    let installations = world.installations.values().filter(|installation| installation.app == app.id).count();
    json!({
        "id": app.id,
        "slug": app.slug,
        "node_id": node_id("A", app.id),
        "client_id": app.client_id,
        "owner": match world.account(&app.owner) {
            Some(owner) => account(owner, api),
            // An App may belong to an account that has nothing else on this GitHub.
            None => account(&Account { id: 1, login: app.owner.clone(), kind: AccountKind::Organization }, api),
        },
        "name": app.slug,
        "description": "",
        "external_url": "https://acme.example",
        "html_url": format!("https://github.com/apps/{}", app.slug),
        "created_at": BEGINNING,
        "updated_at": BEGINNING,
        "permissions": permissions::to_json(&app.permissions),
        "events": ["push"],
        "installations_count": installations,
    })
}

/// `installation`: an App on an account.
pub(super) fn installation(world: &World, installation: &Installed, api: &str) -> Value {
    let Installed { id, account: on, suspended_at, .. } = installation;
    let app = &world.apps[&installation.app];
    json!({
        "id": id,
        "client_id": app.client_id,
        "account": account(on, api),
        "repository_selection": installation.selection.word(),
        "access_tokens_url": format!("{api}/app/installations/{id}/access_tokens"),
        "repositories_url": format!("{api}/installation/repositories"),
        "html_url": match on.kind {
            AccountKind::Organization => format!("https://github.com/organizations/{}/settings/installations/{id}", on.login),
            AccountKind::User => format!("https://github.com/settings/installations/{id}"),
        },
        "app_id": app.id,
        "app_slug": app.slug,
        "target_id": on.id,
        "target_type": on.kind.word(),
        "permissions": permissions::to_json(&installation.permissions),
        "events": ["push"],
        "created_at": BEGINNING.replace('Z', ".000Z"),
        "updated_at": clock::rfc3339_millis(installation.updated),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": suspended_at.map(|_| account(on, api)),
        "suspended_at": suspended_at.map(clock::rfc3339),
    })
}

/// `simple-user`: an organization or a user.
pub(super) fn account(account: &Account, api: &str) -> Value {
    user(account.id, &account.login, account.kind.word(), api)
}

/// `simple-user`: the user that an App acts as.
pub(super) fn bot(app: &App, api: &str) -> Value {
    user(bot_id(app), &format!("{}[bot]", app.slug), "Bot", api)
}

/// The bot's number, which is not the App's: commits of the bot carry it in their e-mail address.
pub(super) fn bot_id(app: &App) -> u64 {
    40_000_000 + app.id
}

fn user(id: u64, login: &str, kind: &str, api: &str) -> Value {
    let escaped = login.replace('[', "%5B").replace(']', "%5D");
    let url = format!("{api}/users/{escaped}");
    let html_url = match login.strip_suffix("[bot]") {
        Some(slug) => format!("https://github.com/apps/{slug}"),
        None => format!("https://github.com/{login}"),
    };
    let mut user = json!({
        "login": login,
        "id": id,
        "node_id": node_id("U", id),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "gravatar_id": "",
        "html_url": html_url,
        "type": kind,
        "user_view_type": "public",
        "site_admin": false,
    });
    add_urls(user.as_object_mut().expect("just built as one"), &url, USER_URLS);
    user
}

/// `repository`: with all the keys that the schema requires.
pub(super) fn repository(repository: &Repository, api: &str) -> Value {
    let full_name = repository.full_name();
    let mut object = json!({
        "id": repository.id,
        "node_id": node_id("R", repository.id),
        "name": repository.name,
        "full_name": full_name,
        "private": true,
        "owner": account(&repository.owner, api),
        "html_url": format!("https://github.com/{full_name}"),
        "description": null,
        "fork": false,
        "clone_url": format!("https://github.com/{full_name}.git"),
        "git_url": format!("git://github.com/{full_name}.git"),
        "ssh_url": format!("git@github.com:{full_name}.git"),
        "svn_url": format!("https://github.com/{full_name}"),
        "mirror_url": null,
        "homepage": null,
        "language": null,
        "license": null,
        "default_branch": "main",
        "visibility": "private",
        "archived": false,
        "disabled": false,
        "has_issues": true,
        "has_projects": true,
        "has_wiki": false,
        "has_pages": false,
        "has_downloads": true,
        "has_discussions": false,
        "forks": 0,
        "forks_count": 0,
        "stargazers_count": 0,
        "watchers": 0,
        "watchers_count": 0,
        "open_issues": 0,
        "open_issues_count": 0,
        "size": 0,
        "topics": [],
        "created_at": BEGINNING,
        "updated_at": BEGINNING,
        "pushed_at": BEGINNING,
    });
    add_urls(object.as_object_mut().expect("just built as one"), &format!("{api}/repos/{full_name}"), REPOSITORY_URLS);
    object
}

fn add_urls(object: &mut Map<String, Value>, base: &str, suffixes: &[(&str, &str)]) {
    for (key, suffix) in suffixes {
        object.insert((*key).to_owned(), format!("{base}{suffix}").into());
    }
}

fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kgDO{id:08X}")
}

/// When everything that a test sets up was made.
const BEGINNING: &str = "2026-01-05T09:00:00Z";

const USER_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
];

const REPOSITORY_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];
