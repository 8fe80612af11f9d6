//! GitHub's REST API, as far as an App needs it: who am I, where am I installed, give me a token.
//!
//! Every request has a `User-Agent` and an API version; redirects are followed on the same host only. How often and how
//! long it is tried is decided in `api.rs`, what an answer means in `reply.rs`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::pin::Pin;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, Proxy, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::api::{Apis, Tries};
use super::clock::{self, Clock, Life, Now};
use super::network::Reason;
use super::reply::{GitHubError, Reply};
use crate::env::PROXIES;
use crate::ids::{AppId, AppNames, Host, InstallationId, KeyName, Level, Owner, Permissions, Repo, RepoName};
use crate::protocol::Installation;
use crate::secret::Secret;

/// A client for any number of hosts. Connections and certificates are readied at the first use of each kind.
pub struct GitHub {
    clock: Clock,
    apis: Apis,
    secure: OnceCell<Client>,
    loopback: OnceCell<Client>,
}

/// Who asks, at one API: an App with its key, or somebody with a token of it.
pub trait Caller: Send + Sync {
    /// The API's base, without a slash at its end.
    fn api_url(&self) -> &str;
    /// The App, which is who GitHub counts requests by.
    fn app_id(&self) -> &AppId;
    /// What goes after `Bearer`: a token, or a JWT as of `now`, in seconds since 1970.
    fn credential(&self, now: i64) -> Credential<'_>;
}

/// What a caller shows, once it is made.
pub type Credential<'a> = Pin<Box<dyn Future<Output = Result<Secret<str>, GitHubError>> + Send + 'a>>;

/// What one question told.
pub struct Probe {
    /// How many seconds GitHub's clock is ahead of ours, from the last answer that told the time.
    pub ahead: Option<i64>,
    /// The App.
    pub app: Result<AppNames, GitHubError>,
}

/// A token as GitHub grants it.
pub struct Granted {
    /// The token.
    pub token: Secret<str>,
    /// When it ends, in seconds since 1970 by GitHub's clock.
    pub expires: i64,
    /// How long it lives, from when it was asked for: the machine may have slept since.
    pub life: Life,
    /// What it may do; empty when GitHub did not say.
    pub permissions: BTreeMap<String, String>,
    /// The repositories it is narrowed to, as `OWNER/NAME`.
    pub repositories: Option<Vec<String>>,
}

impl GitHub {
    /// A client that has contacted nobody yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, apis: Apis::new(clock), secure: OnceCell::new(), loopback: OnceCell::new() }
    }

    /// The App itself: <https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app>
    pub async fn app(&self, app: &dyn Caller) -> Result<AppNames, GitHubError> {
        self.get(app, "/app").await?.read().map(named)
    }

    /// The same, and what is to be learnt from the asking.
    pub async fn probe(&self, app: &dyn Caller) -> Probe {
        let mut ahead = None;
        let reply = self.send_watching(app, Method::GET, "/app", None, &mut ahead).await;
        Probe { ahead, app: reply.and_then(|reply| reply.read()).map(named) }
    }

    /// The proxy that leads to an API, if one does: its host and port, without the login that may stand before them.
    pub fn proxy_to(api_url: &str) -> Option<String> {
        let url = Url::parse(api_url).ok().filter(|url| url.scheme() == "https")?;
        let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
        let (host, port) = (proxy.uri().host()?, proxy.uri().port_u16());
        Some(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }

    /// All installations, page after page:
    /// <https://docs.github.com/en/rest/apps/apps#list-installations-for-the-authenticated-app>
    pub async fn installations(&self, app: &dyn Caller) -> Result<Vec<Installation>, GitHubError> {
        timeout(LIST_DEADLINE, self.pages(app)).await.unwrap_or(Err(GitHubError::Timeout))
    }

    async fn pages(&self, app: &dyn Caller) -> Result<Vec<Installation>, GitHubError> {
        let mut found = Vec::new();
        let mut next = Some("/app/installations?per_page=100".to_owned());
        for _ in 0..MAX_PAGES {
            let Some(path) = next else { return Ok(found) };
            let page = self.get(app, &path).await?;
            next = page.next_page(app.api_url());
            for installation in page.read::<Vec<InstallationBody>>()?.into_iter().map(Installation::from) {
                // Pages shift while they are read, and one may come twice.
                if found.iter().all(|known: &Installation| known.id != installation.id) {
                    found.push(installation);
                }
            }
        }
        Err(GitHubError::Unreadable("a list of installations that does not end"))
    }

    /// One installation: <https://docs.github.com/en/rest/apps/apps#get-an-installation-for-the-authenticated-app>
    pub async fn installation(&self, app: &dyn Caller, id: InstallationId) -> Result<Installation, GitHubError> {
        self.one_installation(app, &format!("/app/installations/{id}")).await
    }

    /// The installation that sees a repository:
    /// <https://docs.github.com/en/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app>
    pub async fn repo_installation(&self, app: &dyn Caller, repo: &Repo) -> Result<Installation, GitHubError> {
        self.one_installation(app, &format!("/repos/{}/{}/installation", repo.owner, repo.name)).await
    }

    /// The installation on an account:
    /// <https://docs.github.com/en/rest/apps/apps#get-a-user-installation-for-the-authenticated-app>
    pub async fn owner_installation(&self, app: &dyn Caller, owner: &Owner) -> Result<Installation, GitHubError> {
        // github.com answers the first for organizations as well; that is not promised, hence the second.
        match self.one_installation(app, &format!("/users/{owner}/installation")).await {
            Err(GitHubError::NotFound) => self.one_installation(app, &format!("/orgs/{owner}/installation")).await,
            answer => answer,
        }
    }

    /// A new token: <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
    /// Without repositories or permissions, for all that the installation has.
    pub async fn mint(
        &self,
        app: &dyn Caller,
        installation: InstallationId,
        repositories: &[RepoName],
        permissions: Option<&Permissions>,
    ) -> Result<Granted, GitHubError> {
        #[derive(Serialize)]
        struct Narrowing<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            repositories: &'a [RepoName],
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            permissions: BTreeMap<&'a str, Level>,
        }

        let permissions = permissions.into_iter().flat_map(Permissions::iter).collect();
        let narrowing = Narrowing { repositories, permissions };
        let body = serde_json::to_vec(&narrowing).expect("a narrowing has only string keys");
        let path = format!("/app/installations/{installation}{MINT}");
        let asked = (self.clock)();
        let reply = self.send(app, Method::POST, &path, Some(body)).await?;
        Granted::read(&reply, asked, || self.apis.of(app.api_url()).now())
    }

    async fn one_installation(&self, app: &dyn Caller, path: &str) -> Result<Installation, GitHubError> {
        self.get(app, path).await?.read::<InstallationBody>().map(Installation::from)
    }

    async fn get(&self, app: &dyn Caller, path: &str) -> Result<Reply, GitHubError> {
        self.send(app, Method::GET, path, None).await
    }

    /// The number of a user: <https://docs.github.com/en/rest/users/users#get-a-user>
    pub async fn user_id(&self, holder: &dyn Caller, login: &str) -> Result<u64, GitHubError> {
        // A bot's login has brackets, which no path may have as they are.
        let login = login.replace('[', "%5B").replace(']', "%5D");
        self.get(holder, &format!("/users/{login}")).await?.read().map(|UserBody { id }| id)
    }

    /// Ends a token: <https://docs.github.com/en/rest/apps/installations#revoke-an-installation-access-token>
    /// One that has ended already is no error.
    pub async fn revoke(&self, holder: &dyn Caller) -> Result<(), GitHubError> {
        match self.send(holder, Method::DELETE, "/installation/token", None).await {
            Ok(_) | Err(GitHubError::WrongKey) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, again and again while what goes wrong may pass.
    async fn send(
        &self,
        caller: &dyn Caller,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Reply, GitHubError> {
        self.send_watching(caller, method, path, body, &mut None).await
    }

    /// The same, with an eye on GitHub's clock.
    async fn send_watching(
        &self,
        caller: &dyn Caller,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        ahead: &mut Option<i64>,
    ) -> Result<Reply, GitHubError> {
        let url = Url::parse(&format!("{}{path}", caller.api_url()))
            .map_err(|_| GitHubError::Unreadable("an API address"))?;
        let (client, api) = (self.client(&url).await?, self.apis.of(caller.api_url()));
        let mut tries = Tries::new();
        loop {
            let turn = api.turn(caller.app_id(), &tries).await?;
            let attempt = async {
                let credential = caller.credential(api.now()).await?;
                let request = client.request(method.clone(), url.clone()).headers(headers());
                let request = request.header(AUTHORIZATION, bearer(&credential)?);
                let request = match &body {
                    Some(body) => request.header(CONTENT_TYPE, HeaderValue::from_static(JSON)).body(body.clone()),
                    None => request,
                };
                let asked = (self.clock)().unix;
                let reply = Reply::to(request, &api.large).await?;
                let now = (self.clock)().unix;
                // It was written somewhen between; a slow way is no difference.
                *ahead = reply.date().map(|there| there - there.clamp(asked, now.max(asked))).or(*ahead);
                reply.judge(now).map(|()| reply)
            };
            let result = tries.within(attempt).await;
            drop(turn);
            match result {
                Ok(reply) => return Ok(reply),
                Err(error) => api.after(error, caller.app_id(), &mut tries).await?,
            }
        }
    }

    /// The client for a URL: https anywhere, by the system's proxies and certificates; http to this machine only, directly.
    async fn client(&self, url: &Url) -> Result<&Client, GitHubError> {
        let secure = url.scheme() == "https";
        let build = move || {
            if let Some(name) = unreadable_proxy().filter(|_| secure) {
                return Err(GitHubError::Barred(Reason::no_proxy(name)));
            }
            let builder = Client::builder();
            let builder = if secure { builder.https_only(true) } else { builder.no_proxy().tls_certs_only([]) };
            let same_host = redirect::Policy::custom(|attempt| {
                let stays = attempt.previous().last().is_some_and(|from| {
                    from.origin() == attempt.url().origin() && asks_the_same(attempt.status(), from)
                });
                if stays && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
            });
            // A connection that is kept keeps its buffers, and a token lies in them.
            Ok(builder.pool_max_idle_per_host(0).redirect(same_host).build()?)
        };
        let slot = if secure { &self.secure } else { &self.loopback };
        // Reading the system's certificates takes a while, and nobody else is to wait for it.
        slot.get_or_try_init(|| async { spawn_blocking(build).await.expect("building a client does not panic") }).await
    }
}

/// A proxy that is named in a way that cannot be understood. It may be there for a reason, and is not to be passed by.
fn unreadable_proxy() -> Option<&'static str> {
    let readable = |value: &OsStr| value.to_str().is_some_and(|url| Proxy::https(url).is_ok());
    PROXIES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && !readable(&value)))
}

/// Whether following a redirect `from` there repeats the request. After the older ones a POST goes on as a GET, and after
/// 303 everything: an answer to that would be taken for one to what was asked.
fn asks_the_same(status: StatusCode, from: &Url) -> bool {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => !from.path().ends_with(MINT),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => false,
    }
}

impl Granted {
    /// Reads what was granted to one who asked at the moment `asked`; `there` tells GitHub's time if the reply does not.
    fn read(reply: &Reply, asked: Now, there: impl FnOnce() -> i64) -> Result<Self, GitHubError> {
        #[derive(Deserialize)]
        struct Body {
            token: Secret<str>,
            expires_at: String,
            #[serde(default)]
            permissions: BTreeMap<String, String>,
            repositories: Option<Vec<RepositoryBody>>,
        }
        #[derive(Deserialize)]
        struct RepositoryBody {
            full_name: String,
        }

        let body: Body = reply.read()?;
        let expires =
            clock::parse_rfc3339(&body.expires_at).ok_or(GitHubError::Unreadable("a token without a readable end"))?;
        // It becomes a line of git's, a header and a variable; what it means is nobody's business.
        if body.token.expose().is_empty() || !body.token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(GitHubError::Unreadable("something in the place of a token"));
        }
        // By GitHub's clock, however far it is from ours; and a second less, since clocks are read in whole seconds.
        let there = reply.date().unwrap_or_else(there);
        let life = Life::new(asked, expires.saturating_sub(there.saturating_add(1)));
        let repositories = body.repositories.map(|all| all.into_iter().map(|one| one.full_name).collect());
        Ok(Self { token: body.token, expires, life, permissions: body.permissions, repositories })
    }
}

/// An App with a slug that can be shown, or none: it becomes the name of a key and of a bot.
fn named(app: AppNames) -> AppNames {
    AppNames { slug: app.slug.filter(|slug| slug.parse::<KeyName>().is_ok()), ..app }
}

/// The parts of GitHub's installation object that matter here.
#[derive(Deserialize)]
struct InstallationBody {
    id: InstallationId,
    account: Option<AccountBody>,
    #[serde(default)]
    target_type: String,
    #[serde(default)]
    repository_selection: String,
    suspended_at: Option<String>,
}

#[derive(Deserialize)]
struct AccountBody {
    // An enterprise has a slug and no login.
    login: Option<String>,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct UserBody {
    id: u64,
}

impl From<InstallationBody> for Installation {
    fn from(body: InstallationBody) -> Self {
        // They are lines of a list and choices in a refusal: what could not be shown is as good as not said.
        let shown = |text: Option<String>| text.filter(|text| text.parse::<KeyName>().is_ok()).unwrap_or_default();
        Self {
            id: body.id,
            account: shown(body.account.and_then(|account| account.login.or(account.slug))),
            account_type: shown(Some(body.target_type)),
            repository_selection: shown(Some(body.repository_selection)),
            suspended: body.suspended_at.is_some(),
        }
    }
}

/// Reads an API's base: https anywhere, http only where the packets cannot leave this machine; without a slash at its end.
pub fn api_base(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let allowed = bare && (url.scheme() == "https" || url.scheme() == "http" && loopback);
    allowed.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// The host whose tokens an API grants: `api.github.com` is github.com's, and a GitHub Enterprise Server's is its own.
pub fn host_of_api(api_url: &str) -> Option<Host> {
    let url = Url::parse(api_url).ok()?;
    let name = url.host_str()?;
    let tenant = name.strip_prefix("api.").filter(|name| *name == "github.com" || name.ends_with(".ghe.com"));
    match (tenant, url.port()) {
        (Some(host), None) => host.parse().ok(),
        (_, Some(port)) => format!("{name}:{port}").parse().ok(),
        (None, None) => name.parse().ok(),
    }
}

/// One reply as the answer to each question. The fuzz targets have no network, and nothing else of this module is theirs to
/// know: hence this one way in, which no program uses.
#[doc(hidden)]
pub struct Reading {
    pub judged: Result<(), GitHubError>,
    pub next_page: Option<String>,
    pub app: Result<AppNames, GitHubError>,
    pub installation: Result<Installation, GitHubError>,
    pub installations: Result<Vec<Installation>, GitHubError>,
    pub granted: Result<Granted, GitHubError>,
    pub user_id: Result<u64, GitHubError>,
}

impl Reading {
    /// Reads what the API at `api_url` is supposed to have answered; headers that could not have come are left out.
    #[doc(hidden)]
    pub fn of(status: u16, headers: &[(&[u8], &[u8])], body: &[u8], api_url: &str, now: Now) -> Option<Self> {
        let headers = headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        let reply = Reply::of(StatusCode::from_u16(status).ok()?, headers.collect(), body.to_vec());
        Some(Self {
            judged: reply.judge(now.unix),
            next_page: reply.next_page(api_url),
            app: reply.read().map(named),
            installation: reply.read::<InstallationBody>().map(Installation::from),
            installations: reply.read::<Vec<_>>().map(|all| all.into_iter().map(InstallationBody::into).collect()),
            granted: Granted::read(&reply, now, || now.unix),
            user_id: reply.read().map(|UserBody { id }| id),
        })
    }
}

fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
        (USER_AGENT, HeaderValue::from_static(concat!("apptoken/", env!("CARGO_PKG_VERSION")))),
        ("x-github-api-version".parse().expect("a header's name"), HeaderValue::from_static(API_VERSION)),
    ])
}

fn bearer(jwt: &Secret<str>) -> Result<HeaderValue, GitHubError> {
    let value = zeroize::Zeroizing::new(format!("Bearer {}", jwt.expose()));
    let mut value = HeaderValue::from_str(&value).map_err(|_| GitHubError::CannotSign)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The API version asked for: the one that every GHES in support knows as well.
const API_VERSION: &str = "2022-11-28";
const JSON: &str = "application/json";
/// How the path ends that is posted to.
const MINT: &str = "/access_tokens";
/// Redirects followed for one request; GitHub uses one, for renamed repositories.
const MAX_REDIRECTS: usize = 5;
/// How long reading all pages may take.
const LIST_DEADLINE: Duration = Duration::from_mins(1);
/// Pages of 100 installations read at the most.
const MAX_PAGES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_never_leaves_this_machine() {
        for (good, base) in [
            ("https://api.github.com", "https://api.github.com"),
            ("https://GHE.example:8443/api/v3/", "https://ghe.example:8443/api/v3"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
            ("https://api.github\n.com", "https://api.github.com"),
        ] {
            assert_eq!(api_base(good).as_deref(), Some(base), "{good}");
        }
        for bad in [
            "http://api.github.com",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "http://localhost.evil.example",
            "http://api.github.localhost",
            "ftp://localhost",
            "https://user:pass@api.github.com",
            "https://",
            "api.github.com",
            "https://a?b",
            "unix:/run/x",
        ] {
            assert_eq!(api_base(bad), None, "{bad}");
        }
    }
}
