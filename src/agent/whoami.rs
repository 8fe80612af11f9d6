//! Who an App is when it commits: its bot's name, number and address.

use std::sync::Arc;

use super::fair::ShareKey;
use super::handler::Agent;
use super::keyring::HeldKey;
use super::peer::Peer;
use super::question::Question;
use super::refuse::{Asked, install_hint, refuse};
use super::reply::GitHubError;
use super::revoke::Living;
use super::signing::Signing;
use crate::protocol::{Code, KeyChoice, Refusal, TokenRequest, Whoami};

impl Agent {
    /// The bot of the chosen key's App. It never changes, so that GitHub is asked once.
    pub(super) async fn whoami(self: &Arc<Self>, choice: KeyChoice, peer: Peer) -> Result<Whoami, Refusal> {
        let key = self.choose(choice.app.as_deref(), choice.host.as_ref())?;
        self.confirm(&key, || "the name of its bot".to_owned(), &peer).await?;
        if let Some(bot) = self.held(|held, _| held.bots.get(&key.fingerprint).cloned())? {
            return Ok(bot);
        }
        let bot = self.ask_who(&key, ShareKey::of_process(peer.pid)).await?;
        self.still_held(&key)?;
        self.held(|held, _| held.bots.insert(Arc::clone(&key.fingerprint), bot.clone()))?;
        Ok(bot)
    }

    async fn ask_who(self: &Arc<Self>, key: &Arc<HeldKey>, share: ShareKey) -> Result<Whoami, Refusal> {
        let refused = |error: GitHubError| refuse(&error, key, Asked::App);
        let app = self.github.app(&Signing::of(key, share)).await.map_err(refused)?;
        let slug = app.slug.ok_or_else(|| refused(GitHubError::Unreadable("an App that has no name in URLs")))?;
        // Users are told of to anybody on github.com, and on other hosts to those who show a token; any of the App's will do.
        let installations = self.installations(key, share).await?;
        let installation = installations.iter().find(|installation| !installation.suspended).ok_or_else(|| {
            Refusal::new(Code::NotInstalled, format!("App {} is not installed anywhere", key.app_id))
                .hint(install_hint(key))
        })?;
        let asked = TokenRequest {
            installation_id: Some(installation.id),
            permissions: Some("metadata=read".parse().expect("these are permissions")),
            ..TokenRequest::default()
        };
        let token = self.obtain(&Arc::new(Question::read(asked, Arc::clone(key))?), share).await?;
        let holder = Living { key: Arc::clone(key), token, waiters: share.into() };
        let name = format!("{slug}[bot]");
        let id = self.github.user_id(&holder, &name).await.map_err(refused)?;
        let domain = key.host.without_port();
        Ok(Whoami {
            email: format!("{id}+{name}@users.noreply.{domain}"),
            name,
            id,
            app_id: key.app_id.clone(),
            slug,
            host: key.host.clone(),
        })
    }
}
