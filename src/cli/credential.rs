//! `credential`: git's credential helper. It answers for the hosts of held keys, and for the rest is not there.
//!
//! Git's side is described in git-credential(1) and gitcredentials(7).

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use zeroize::Zeroizing;

use super::args::ScopeArgs;
use super::error::CliError;
use super::scope::Scope;
use super::{gitconfig, json, token};
use crate::client::{Agent, CallError};
use crate::ids::{Host, Owner};
use crate::output::say;
use crate::protocol::{DropToken, Request};
use crate::secret::Secret;

/// Does what git asks for.
pub(super) fn credential(options: ScopeArgs, operation: &str) -> Result<(), CliError> {
    // Git may come to know others, and asks that they be passed over.
    if !["get", "store", "erase"].contains(&operation) {
        return Ok(());
    }
    let text = read(stdin()?)?;
    let asked = Asked::parse(&text);
    let Some(host) = asked.host.parse::<Host>().ok() else { return Ok(()) };
    match operation {
        "get" => get(options, &asked, host),
        "erase" => erase(&asked, &host),
        _ => Ok(()),
    }
}

/// Answers with a token, with nothing when the host is not ours, or so that git gives up when there is no token.
fn get(options: ScopeArgs, asked: &Asked<'_>, host: Host) -> Result<(), CliError> {
    let only = options.host.clone();
    let mut scope = match Scope::read(options) {
        Ok(scope) => scope,
        Err(error) => {
            let ours = match only.map(|only| only.parse::<Host>()) {
                Some(only) => only.is_ok_and(|only| only == host),
                None => matches!(serving(asked, Some(&host)), Ok(Some(_))),
            };
            return if ours { give_up(&error) } else { Ok(()) };
        }
    };
    if scope.host.as_ref().is_some_and(|only| *only != host) {
        return Ok(());
    }
    // Who was configured for this host need not ask a locked agent whether it is ours.
    let configured =
        scope.host.is_some() && (asked.protocol == "https" || asked.protocol == "http" && host.is_this_machine());
    // Git asks before the server does only where we told it to.
    let early = configured && asked.is_early();
    scope.host = Some(host);
    let mut agent = match serving(asked, scope.host.as_ref()) {
        Ok(Some(agent)) => agent,
        _ if early => return without_token(),
        Ok(None) => return Ok(()),
        Err(error) if configured => return give_up(&error.into()),
        Err(error) => {
            CliError::from(error).report();
            return Ok(());
        }
    };
    let answer = match token_for(&mut agent, scope, asked) {
        Ok(answer) => answer,
        // A person who said no is not asked once more.
        Err(CallError::Refused(refusal)) if early && refusal.code != "denied" => return without_token(),
        Err(error) => return give_up(&error.into()),
    };
    match reply(&answer, asked) {
        Ok(reply) => {
            if answer["permissions"]["contents"].is_null() {
                say(format_args!("apptoken: warning: this token has no permission for contents, which git needs"));
            }
            super::print_data(reply.as_bytes())
        }
        Err(error) => give_up(&error),
    }
}

/// The agent, if it holds a key of this host.
fn serving(asked: &Asked<'_>, host: Option<&Host>) -> Result<Option<Agent>, CallError> {
    let mut agent = Agent::find()?;
    let sites = gitconfig::held(&mut agent)?;
    let ours = host.is_some_and(|host| sites.iter().any(|site| site.serves(asked.protocol, host)));
    Ok(ours.then_some(agent))
}

/// Nothing was had, for this reason: git is to ask nobody else, not even the person.
fn give_up(why: &CliError) -> Result<(), CliError> {
    why.report();
    super::print_data(b"quit=1\n")
}

/// Has git try as nobody first: what everybody may read needs no token. It asks again when the server insists. A header
/// with nothing in it is what keeps a login of the person's own, such as that of ~/.netrc, from being sent.
fn without_token() -> Result<(), CliError> {
    let answer = format!(
        "capability[]=authtype\ncapability[]=state\nauthtype=\ncredential=\nephemeral=1\nstate[]={AS_NOBODY}\ncontinue=1\n"
    );
    super::print_data(answer.as_bytes())
}

fn token_for(agent: &mut Agent, mut scope: Scope, asked: &Asked<'_>) -> Result<Value, CallError> {
    if !scope.chooses_installation() {
        scope.owner = asked.owner();
    }
    token::ask(agent, scope)
}

/// Has the agent hand out no more what git says was refused.
fn erase(asked: &Asked<'_>, host: &Host) -> Result<(), CliError> {
    // Without an agent there is nothing to forget.
    if let (Some(token), Ok(Some(mut agent))) = (asked.token(), serving(asked, Some(host))) {
        agent.call(&Request::DropToken(DropToken::new(token)))?;
    }
    Ok(())
}

fn reply(answer: &Value, asked: &Asked<'_>) -> Result<Zeroizing<String>, CliError> {
    let token = token::of(answer)?;
    // Room for all of it, so that it does not grow by copying.
    let mut text = Zeroizing::new(String::with_capacity(2 * token.len() + REPLY_ROOM));
    if asked.takes_authtype {
        let pair = Zeroizing::new(format!("{USERNAME}:{token}"));
        text.push_str("capability[]=authtype\nauthtype=Basic\ncredential=");
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut text);
        // Other helpers are told not to store it.
        text.push_str("\nephemeral=1\n");
    } else {
        let _ = write!(text, "username={USERNAME}\npassword={token}\n");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // By a clock that is far ahead of GitHub's it would be over already, and git would not use it.
    if let Some(expiry) = answer["expiresAt"].as_str().and_then(unix_time).filter(|expiry| *expiry > now) {
        let _ = writeln!(text, "password_expiry_utc={expiry}");
    }
    Ok(text)
}

/// What is made of git's question, and of the agent's answers to `listKeys` and `getToken`: all between the two that is not
/// asking. The fuzz target feeds it, and no program does; the parts are nobody's business outside of this file.
#[doc(hidden)]
pub struct Rehearsal {
    /// What is asked of the agent, if it has a key of that host.
    pub host: Option<Host>,
    pub owner: Option<Owner>,
    pub reply: Option<Zeroizing<String>>,
    /// What `erase` has the agent forget.
    pub token: Option<Secret<str>>,
}

impl Rehearsal {
    /// `None` is a question that is not git's.
    #[doc(hidden)]
    pub fn of(question: &[u8], keys: &Value, answer: &Value) -> Option<Self> {
        let text = read(question).ok()?;
        let asked = Asked::parse(&text);
        let sites = gitconfig::sites(json::list(keys, "keys").iter());
        let host = asked.host.parse().ok().filter(|host| sites.iter().any(|site| site.serves(asked.protocol, host)));
        let reply = host.is_some().then(|| reply(answer, &asked).ok()).flatten();
        Some(Self { host, owner: asked.owner(), reply, token: asked.token() })
    }
}

/// What git says; it asks that attributes nobody knows be passed over.
#[derive(Default)]
struct Asked<'a> {
    protocol: &'a str,
    host: &'a str,
    path: &'a str,
    password: &'a str,
    credential: &'a str,
    /// What the server wants, in the server's words; before it was asked, the name of a scheme that git makes up.
    wanted: &'a str,
    takes_authtype: bool,
    takes_state: bool,
    was_nobody: bool,
}

impl<'a> Asked<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let mut asked = Self::default();
        let lines = text.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
            match line.split_once('=').unwrap_or_default() {
                ("protocol", value) => asked.protocol = value,
                ("host", value) => asked.host = value,
                ("path", value) => asked.path = value,
                ("password", value) => asked.password = value,
                ("credential", value) => asked.credential = value,
                ("wwwauth[]", value) => asked.wanted = value,
                ("state[]", AS_NOBODY) => asked.was_nobody = true,
                ("capability[]", "authtype") => asked.takes_authtype = true,
                ("capability[]", "state") => asked.takes_state = true,
                ("capability[]", "") => (asked.takes_authtype, asked.takes_state) = (false, false),
                _ => {}
            }
        }
        asked
    }

    /// Whether no server has asked yet, and git can try as nobody: `http.proactiveAuth=basic` has it say just that.
    fn is_early(&self) -> bool {
        self.wanted == "Basic" && self.takes_authtype && self.takes_state && !self.was_nobody
    }

    /// Whose repository it is: `octo` of `octo/hello.git/info/lfs`.
    fn owner(&self) -> Option<Owner> {
        self.path.trim_start_matches('/').split('/').next()?.parse().ok()
    }

    /// The token that git was given, in whichever form.
    fn token(&self) -> Option<Secret<str>> {
        if self.credential.is_empty() {
            return Some(self.password).filter(|password| !password.is_empty()).map(Secret::from);
        }
        let pair = Zeroizing::new(BASE64_STANDARD.decode(self.credential).ok()?);
        std::str::from_utf8(&pair).ok()?.split_once(':').map(|(_, token)| token.into())
    }
}

/// Reads up to an empty line or the end; refuses what git would not say.
fn read(mut from: impl Read) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut text = Zeroizing::new(Vec::with_capacity(INPUT_ROOM));
    let mut piece = Zeroizing::new([0; 4096]);
    let mut ended = false;
    while !ended {
        match from.read(&mut piece[..]) {
            Ok(0) => ended = true,
            Ok(count) => {
                let seen = text.len().saturating_sub(1);
                text.extend_from_slice(&piece[..count]);
                ended = text.starts_with(b"\n") || text[seen..].windows(2).any(|pair| pair == b"\n\n");
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(not_gits(&format!("cannot be read: {error}"))),
        }
        if text.len() > MAX_INPUT {
            return Err(not_gits("is too long to be git's"));
        }
    }
    if text.contains(&0) { Err(not_gits("has a NUL in it, as git's words have not")) } else { Ok(text) }
}

/// Standard input without a buffer of its own, which nobody would wipe.
fn stdin() -> Result<File, CliError> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    stdin.map(File::from).map_err(|error| not_gits(&format!("cannot be read: {error}")))
}

fn not_gits(why: &str) -> CliError {
    CliError::new(format!("what is asked {why}")).hint("leave this command to git: apptoken setup-git")
}

/// Seconds from 1970 to a time such as `2026-11-22T14:30:00Z`.
fn unix_time(text: &str) -> Option<u64> {
    let number = |at: usize, length: usize| text.get(at..at + length)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = (365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day)
        .checked_sub(DAYS_BEFORE_1970)?;
    text.ends_with('Z').then_some(((days * 24 + number(11, 2)?) * 60 + number(14, 2)?) * 60 + number(17, 2)?)
}

/// What GitHub wants for a name when the password is an installation token.
const USERNAME: &str = "x-access-token";
/// What git is to tell us, when it asks again, of the answer that had it try as nobody.
const AS_NOBODY: &str = "apptoken.as-nobody=1";
/// Most that is read, in bytes: a line of git's has at most 64 KiB, and there are a dozen.
const MAX_INPUT: usize = 1024 * 1024;
/// Room for what git usually says, so that the buffer does not grow by copying a token.
const INPUT_ROOM: usize = 4096;
/// Room for all of an answer but the token, in bytes.
const REPLY_ROOM: usize = 256;
/// Days from the first of March of the year 0 to the first of January 1970, and one: days count from 1.
const DAYS_BEFORE_1970: u64 = 719_469;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("2026-11-22T14:30:00Z", Some(1_795_357_800)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("1969-12-31T23:59:59Z", None),
            ("0000-01-01T00:00:00Z", None),
            ("2026-11-22T14:30:00+02:00", None),
            ("soon", None),
        ] {
            assert_eq!(unix_time(text), seconds, "{text}");
        }
    }

    #[test]
    fn the_owner_is_the_first_part_of_a_path() {
        for (path, owner) in [
            ("octo/hello.git", Some("octo")),
            ("/Octo/hello", Some("octo")),
            ("octo/hello.git/info/lfs", Some("octo")),
            ("", None),
            ("oc to/hello", None),
        ] {
            let asked = Asked { path, ..Asked::default() };
            assert_eq!(asked.owner().map(|owner| owner.to_string()).as_deref(), owner, "{path}");
        }
    }

    #[test]
    fn what_is_unknown_or_malformed_is_passed_over() {
        let text =
            b"capability[]=authtype\nnew=thing\nno equals sign\nhost=\xff\nhost=a\nhost=b\n\nhost=after the end\n";
        let asked = Asked::parse(text);
        assert_eq!((asked.host, asked.takes_authtype), ("b", true));
    }

    #[test]
    fn too_much_and_a_nul_are_no_question_of_gits() {
        assert_eq!(read(&vec![b'a'; MAX_INPUT][..]).expect("as much as may be").len(), MAX_INPUT);
        assert!(read(&vec![b'a'; MAX_INPUT + 1][..]).is_err());
        assert!(read(&b"host=github.com\0.evil.example\n"[..]).is_err());
    }
}
