//! GitHub's REST API, as far as an App needs it: who am I, where am I installed, give me a token.
//!
//! Every request has a `User-Agent` and an API version; redirects are followed on the same host only. How often and how
//! long it is tried is decided in `api.rs`, what an answer means in `reply.rs`, on which thread all of it runs in `http.rs`.
//!
//! An answer is compared with the request: it must be about the App, the installation and the account that were asked about.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, Proxy, StatusCode, Url, redirect};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::api::{Api, Apis, TRY_DEADLINE, Tries, Turn};
use super::clock::{self, Clock, Life, Now};
use super::fair::Waiters;
use super::http::Http;
use super::network::Reason;
use super::reply::{GitHubError, Reply};
use super::unclaimed::{Discard, Entry, Minted};
use crate::env::PROXIES;
use crate::ids::{
    AppId, AppNames, Host, InstallationId, KeyName, Level, MAX_PERMISSIONS, MAX_REPOSITORIES, Owner, Permissions, Repo,
    RepoName,
};
use crate::protocol::Installation;
use crate::secret::{Secret, on_wiped_stack};

/// A client for any number of hosts.
pub struct GitHub {
    clock: Clock,
    http: Http,
    apis: Apis,
    clients: Arc<Clients>,
}

/// The HTTP clients. Connections and certificates are readied at the first use of each kind.
#[derive(Default)]
struct Clients {
    secure: OnceCell<Client>,
    loopback: OnceCell<Client>,
}

/// Who asks, at one API: an App with its key, or somebody with a token of it.
pub trait Caller: Send + Sync {
    /// The API's base, without a slash at its end.
    fn api_url(&self) -> &str;
    /// The App, which is who GitHub counts requests by.
    fn app_id(&self) -> &AppId;
    /// The peers that wait for the answer, whose turns it may use.
    fn waiters(&self) -> &Waiters;
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
    pub token: Minted,
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
    pub fn new(clock: Clock, http: Http) -> Self {
        Self { clock, http, apis: Apis::new(clock), clients: Arc::default() }
    }

    /// The App itself: <https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app>
    pub async fn app(&self, app: &dyn Caller) -> Result<AppNames, GitHubError> {
        self.get(app, "/app", app_of(app)).await
    }

    /// The same, and what is to be learnt from the asking.
    pub async fn probe(&self, app: &dyn Caller) -> Probe {
        let mut ahead = None;
        let read = app_of(app);
        let app = self.send_watching(app, Method::GET, "/app", None, &mut ahead, || read.clone()).await;
        Probe { ahead, app }
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
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        let mut next = Some(format!("/app/installations?per_page={PAGE}"));
        for _ in 0..MAX_PAGES {
            let Some(path) = next else { return Ok(found) };
            let api_url = app.api_url().to_owned();
            let read = move |reply: &Reply| Ok((installations(reply)?, reply.next_page(&api_url)));
            let (page, following) = self.get(app, &path, read).await?;
            // Pages shift while they are read, and one may come twice.
            found.extend(page.into_iter().filter(|installation: &Installation| known.insert(installation.id)));
            next = following;
        }
        Err(GitHubError::Unreadable("a list of installations that does not end"))
    }

    /// One installation: <https://docs.github.com/en/rest/apps/apps#get-an-installation-for-the-authenticated-app>
    pub async fn installation(&self, app: &dyn Caller, id: InstallationId) -> Result<Installation, GitHubError> {
        let installation = self.one_installation(app, &format!("/app/installations/{id}")).await?;
        if installation.id == id { Ok(installation) } else { Err(GitHubError::OtherInstallation(installation.id)) }
    }

    /// The installation that sees a repository:
    /// <https://docs.github.com/en/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app>
    pub async fn repo_installation(&self, app: &dyn Caller, repo: &Repo) -> Result<Installation, GitHubError> {
        let installation =
            self.one_installation(app, &format!("/repos/{}/{}/installation", repo.owner, repo.name)).await?;
        on_account(installation, &repo.owner)
    }

    /// The installation on an account:
    /// <https://docs.github.com/en/rest/apps/apps#get-a-user-installation-for-the-authenticated-app>
    pub async fn owner_installation(&self, app: &dyn Caller, owner: &Owner) -> Result<Installation, GitHubError> {
        // github.com answers the first for organizations as well; that is not promised, hence the second.
        let installation = match self.one_installation(app, &format!("/users/{owner}/installation")).await {
            Err(GitHubError::NotFound) => self.one_installation(app, &format!("/orgs/{owner}/installation")).await,
            answer => answer,
        };
        on_account(installation?, owner)
    }

    /// A new token: <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
    /// Without repositories or permissions, for all that the installation has.
    ///
    /// GitHub may grant a token whose answer nobody waits for any more. So a request that was sent is carried to its end, and
    /// its token is discarded unless somebody claims it. `begin` registers it.
    pub async fn mint(
        &self,
        app: &dyn Caller,
        installation: InstallationId,
        repositories: &[RepoName],
        permissions: Option<&Permissions>,
        begin: &(dyn Fn() -> Entry + Sync),
        discard: &Discard,
    ) -> Result<Granted, GitHubError> {
        let permissions = permissions.into_iter().flat_map(Permissions::iter).collect();
        let narrowing = Narrowing { repositories, permissions };
        let path = format!("/app/installations/{installation}{MINT}");
        let asked = (self.clock)();
        let read = || {
            let (entry, discard) = (begin(), Arc::clone(discard));
            move |reply: &Reply| TokenReply::read(reply, entry, discard)
        };
        let reply = self.send_watching(app, Method::POST, &path, Some(&narrowing), &mut None, read).await?;
        reply.granted(asked, || self.apis.of(app.api_url()).now())
    }

    async fn one_installation(&self, app: &dyn Caller, path: &str) -> Result<Installation, GitHubError> {
        self.get(app, path, |reply: &Reply| reply.read::<InstallationBody>().map(Installation::from)).await
    }

    async fn get<T: Send + 'static>(
        &self,
        app: &dyn Caller,
        path: &str,
        read: impl FnOnce(&Reply) -> Result<T, GitHubError> + Clone + Send + Sync + 'static,
    ) -> Result<T, GitHubError> {
        self.send_watching(app, Method::GET, path, None, &mut None, || read.clone()).await
    }

    /// The number of a user: <https://docs.github.com/en/rest/users/users#get-a-user>
    pub async fn user_id(&self, holder: &dyn Caller, login: &str) -> Result<u64, GitHubError> {
        // A bot's login has brackets, which no path may have as they are.
        let login = login.replace('[', "%5B").replace(']', "%5D");
        self.get(holder, &format!("/users/{login}"), |reply: &Reply| reply.read().map(|UserBody { id }| id)).await
    }

    /// Ends a token: <https://docs.github.com/en/rest/apps/installations#revoke-an-installation-access-token>
    /// One that has ended already is no error.
    pub async fn revoke(&self, holder: &dyn Caller) -> Result<(), GitHubError> {
        match self.send_watching(holder, Method::DELETE, "/installation/token", None, &mut None, || |_| Ok(())).await {
            Ok(()) | Err(GitHubError::WrongKey) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, again and again while what goes wrong may pass, and reads the answer with what `reader` makes for each
    /// try. It keeps an eye on GitHub's clock.
    async fn send_watching<T, R>(
        &self,
        caller: &dyn Caller,
        method: Method,
        path: &str,
        body: Option<&Narrowing<'_>>,
        ahead: &mut Option<i64>,
        reader: impl Fn() -> R + Send + Sync,
    ) -> Result<T, GitHubError>
    where
        T: Send + 'static,
        R: FnOnce(&Reply) -> Result<T, GitHubError> + Send + 'static,
    {
        let url = Url::parse(&format!("{}{path}", caller.api_url()))
            .map_err(|_| GitHubError::Unreadable("an API address"))?;
        let api = self.apis.of(caller.api_url());
        let mut tries = Tries::new();
        loop {
            let turn = api.turn(caller.app_id(), caller.waiters(), &tries).await?;
            let attempt = async {
                let credential = caller.credential(api.now()).await?;
                let thread = api.thread(self.http)?;
                let asked = (self.clock)().unix;
                let exchange = Exchange {
                    clients: Arc::clone(&self.clients),
                    api: Arc::clone(&api),
                    turn,
                    method: method.clone(),
                    url: url.clone(),
                    bearer: bearer(&credential)?,
                    // Only now: a request that waits for its turn needs no copy of it.
                    body: body.map(|body| serde_json::to_vec(body).expect("a narrowing has only string keys")),
                    asked,
                };
                let read = reader();
                let told = if method == Method::POST {
                    thread.run_to_the_end(exchange.carry_out(read)).await
                } else {
                    thread.run(exchange.carry_out(read)).await
                };
                let told = told.map_err(|error| GitHubError::Unreachable(Reason::no_thread(&error)))??;
                let now = (self.clock)().unix;
                // It was written somewhen between; a slow way is no difference.
                *ahead = told.date.map(|there| there - there.clamp(asked, now.max(asked))).or(*ahead);
                told.result
            };
            match tries.within(attempt).await {
                Ok(result) => return Ok(result),
                Err(error) => api.after(error, caller.app_id(), &mut tries).await?,
            }
        }
    }
}

/// What a token is narrowed to, as GitHub reads it.
#[derive(Serialize)]
struct Narrowing<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    repositories: &'a [RepoName],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    permissions: BTreeMap<&'a str, Level>,
}

/// One try of one request, with all that it needs on the API's own thread.
struct Exchange {
    clients: Arc<Clients>,
    api: Arc<Api>,
    turn: Turn,
    method: Method,
    url: Url,
    bearer: HeaderValue,
    body: Option<Vec<u8>>,
    /// When it was made, in seconds since 1970.
    asked: i64,
}

/// What came of a try that was answered.
struct Told<T> {
    /// GitHub's time.
    date: Option<i64>,
    result: Result<T, GitHubError>,
}

impl Exchange {
    /// Sends the request, and reads the answer: as long as one try may take, wherever the caller is by then.
    async fn carry_out<T>(self, read: impl FnOnce(&Reply) -> Result<T, GitHubError>) -> Result<Told<T>, GitHubError> {
        timeout(TRY_DEADLINE, self.answer(read)).await.unwrap_or(Err(GitHubError::Timeout))
    }

    async fn answer<T>(self, read: impl FnOnce(&Reply) -> Result<T, GitHubError>) -> Result<Told<T>, GitHubError> {
        let began = Instant::now();
        let client = self.clients.of(&self.url).await?;
        let request = client.request(self.method, self.url).headers(headers()).header(AUTHORIZATION, self.bearer);
        let request = match self.body {
            Some(body) => request.header(CONTENT_TYPE, HeaderValue::from_static(JSON)).body(body),
            None => request,
        };
        let reply = Reply::to(request, &self.api.large).await?;
        let took = i64::try_from(began.elapsed().as_secs()).unwrap_or_default();
        let read = || reply.judge(self.asked + took).and_then(|()| read(&reply));
        let told = Told { date: reply.date(), result: on_wiped_stack(read) };
        drop(self.turn);
        Ok(told)
    }
}

impl Clients {
    /// The client for a URL: https anywhere, by the system's proxies and certificates; http to this machine only, directly.
    async fn of(&self, url: &Url) -> Result<&Client, GitHubError> {
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
        // Reading the system's certificates takes a while, for which nobody waits on this API's own thread.
        slot.get_or_try_init(|| async { build() }).await
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

/// What GitHub says of a token that it grants.
struct TokenReply {
    token: Minted,
    expires: i64,
    /// GitHub's time.
    date: Option<i64>,
    permissions: BTreeMap<String, String>,
    repositories: Option<Vec<String>>,
}

impl TokenReply {
    fn read(reply: &Reply, entry: Entry, discard: Discard) -> Result<Self, GitHubError> {
        #[derive(Deserialize)]
        struct Body {
            token: Secret<str>,
            expires_at: String,
            #[serde(default)]
            permissions: BoundedPermissions,
            repositories: Option<Bounded<RepositoryBody, MAX_REPOSITORIES>>,
        }
        #[derive(Deserialize)]
        struct RepositoryBody {
            full_name: String,
        }

        let body: Body = reply.read()?;
        // It becomes a line of git's, a header and a variable; what it means is nobody's business.
        if body.token.expose().is_empty() || !body.token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(GitHubError::Unreadable("something in the place of a token"));
        }
        if body.token.expose().len() > MAX_TOKEN {
            return Err(GitHubError::Unreadable("a token that is larger than 4 KiB"));
        }
        // From here on it is discarded if it turns out to be no good.
        let token = Minted::new(body.token, entry, discard);
        let expires =
            clock::parse_rfc3339(&body.expires_at).ok_or(GitHubError::Unreadable("a token without a readable end"))?;
        let permissions = body.permissions.0;
        if permissions.len() > MAX_PERMISSIONS {
            return Err(GitHubError::Unreadable("a token with more than 100 permissions"));
        }
        if permissions.iter().any(|(name, level)| name.len().max(level.len()) > MAX_PERMISSION) {
            return Err(GitHubError::Unreadable("a token with a permission whose name is too long"));
        }
        let repositories =
            body.repositories.map(|all| all.all("a token for more than 500 repositories")).transpose()?;
        Ok(Self {
            token,
            expires,
            date: reply.date(),
            permissions,
            repositories: repositories.map(|all| all.into_iter().map(|one| one.full_name).collect()),
        })
    }

    /// What was granted to one who asked at the moment `asked`; `there` tells GitHub's time if the reply did not.
    fn granted(self, asked: Now, there: impl FnOnce() -> i64) -> Result<Granted, GitHubError> {
        let Self { token, expires, date, permissions, repositories } = self;
        // By GitHub's clock, however far it is from ours; and a second less, since clocks are read in whole seconds.
        let there = date.unwrap_or_else(there);
        let seconds = expires.saturating_sub(there.saturating_add(1));
        if seconds > MAX_LIFE {
            return Err(GitHubError::LongLived(seconds));
        }
        Ok(Granted { token, expires, life: Life::new(asked, seconds), permissions, repositories })
    }
}

/// The entries of a list, and at most one more than `MOST`: an answer with any number of them takes little memory.
struct Bounded<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Bounded<T, MOST> {
    /// All entries; if there were more than are kept, the error says `what` that is.
    fn all(self, what: &'static str) -> Result<Vec<T>, GitHubError> {
        if self.0.len() > MOST { Err(GitHubError::Unreadable(what)) } else { Ok(self.0) }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> de::Visitor<'de> for Visitor<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() <= MOST {
                    let Some(entry) = list.next_element()? else { return Ok(kept) };
                    kept.push(entry);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(kept)
            }
        }
        deserializer.deserialize_seq(Visitor::<T, MOST>(PhantomData)).map(Self)
    }
}

/// The permissions of a token, and at most one more than [`MAX_PERMISSIONS`].
#[derive(Default)]
struct BoundedPermissions(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for BoundedPermissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = BoundedPermissions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("permissions and their levels")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut kept = BTreeMap::new();
                while kept.len() <= MAX_PERMISSIONS {
                    let Some((name, level)) = map.next_entry()? else { return Ok(BoundedPermissions(kept)) };
                    kept.insert(name, level);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(BoundedPermissions(kept))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Reads the App, which must be the one that asked.
fn app_of(caller: &dyn Caller) -> impl FnOnce(&Reply) -> Result<AppNames, GitHubError> + Clone + Send + Sync + 'static {
    let asked = caller.app_id().clone();
    move |reply: &Reply| {
        let app = named(reply.read()?);
        let is_it = match &asked {
            AppId::Number(number) => app.id == *number,
            // Old servers do not say it.
            AppId::Client(id) => app.client_id.as_ref().is_none_or(|told| told == id),
        };
        if is_it { Ok(app) } else { Err(GitHubError::OtherApp) }
    }
}

/// An App whose names can be kept and shown: the slug becomes the name of a key and of a bot. Any other is left out.
fn named(app: AppNames) -> AppNames {
    let is_client_id = |id: &String| matches!(id.parse(), Ok(AppId::Client(_)));
    AppNames {
        id: app.id,
        client_id: app.client_id.filter(is_client_id),
        slug: app.slug.filter(|slug| slug.parse::<KeyName>().is_ok()),
    }
}

/// An installation, if it is on the account that was asked about. GitHub compares logins without case.
fn on_account(installation: Installation, owner: &Owner) -> Result<Installation, GitHubError> {
    if installation.account.parse().as_ref() == Ok(owner) { Ok(installation) } else { Err(GitHubError::OtherAccount) }
}

/// One page of them.
fn installations(reply: &Reply) -> Result<Vec<Installation>, GitHubError> {
    let page: Bounded<InstallationBody, PAGE> = reply.read()?;
    let page = page.all("a page of more than 100 installations")?;
    Ok(page.into_iter().map(Installation::from).collect())
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
    let url = Some(text).filter(|text| text.len() <= MAX_API_URL).and_then(|text| Url::parse(text).ok())?;
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
            installations: installations(&reply),
            granted: TokenReply::read(&reply, Entry::default(), Arc::new(|_, _| ()))
                .and_then(|reply| reply.granted(now, || now.unix)),
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
/// Pages of installations read at the most.
const MAX_PAGES: usize = 100;
/// Installations on a page, the most that GitHub gives.
const PAGE: usize = 100;
/// Bytes of a permission's name, and of its level.
const MAX_PERMISSION: usize = 100;
/// Bytes of a token. GitHub's have 40 or about 520, and headers and git's lines have limits.
const MAX_TOKEN: usize = 4 * 1024;
/// Seconds that a token lives: GitHub's hour, and as much as our clock may be behind when the answer does not tell the time.
/// A clock that is further behind makes JWTs that GitHub refuses.
const MAX_LIFE: i64 = 60 * 60 + 10 * 60;
/// Bytes of the address of an API: it is kept as long as its key.
const MAX_API_URL: usize = 2 * 1024;

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
