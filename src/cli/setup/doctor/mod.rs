//! `doctor`: one check after another, from these programs to GitHub and on to git. The first that fails is told again at the
//! end, with what to do about it; those that can be done without it are done all the same.
//!
//! Whatever the agent can look at, from its keys to GitHub, it looks at itself. Words are handed on as arguments of a format:
//! each copy of them would cost the client some bytes, and nobody is in a hurry here.

mod door;
mod here;
mod report;
mod tools;

use serde_json::Value;

use self::door::Door;
use self::report::Report;
use crate::cli::args::Words;
use crate::cli::error::{CliError, start};
use crate::cli::gitconfig::{self, Site};
use crate::cli::json::shown;
use crate::cli::scope::Scope;
use crate::client::{Agent, CallError};
use crate::config::Config;
use crate::ids::Host;
use crate::protocol::Request;

/// Checks everything that a token on its way to gh and git depends on.
pub(super) fn doctor(words: &Words) -> Result<(), CliError> {
    let scope = Scope::read(words.scope())?;
    let host = scope.host.clone();
    let mut report = Report::new(words.flag("json"));
    let door = Door::find();
    here::programs(&mut report, &door);
    let there = here::socket(&mut report, &door);
    here::modes(&mut report, door.socket().filter(|_| there));
    if let Err(error) = Config::load() {
        report.fail_as("config", &error.into());
    }
    if agent_answers(&mut report, door, there) {
        match Agent::find().and_then(|mut agent| agent.call(&Request::Diagnose(scope.request()))) {
            Ok(mut told) => {
                if let Value::Array(checks) = told["checks"].take() {
                    for found in checks {
                        report.take(found);
                    }
                }
            }
            Err(error) => {
                report.fail_as("keys", &error.into());
                report.skip(&BY_THE_AGENT[1..], "no key is chosen");
            }
        }
    }
    tools::gh(&mut report);
    tools::git(&mut report, &sites(host));
    report.end()
}

/// Whether there is an agent that answers and is not locked.
fn agent_answers(report: &mut Report, door: Door, there: bool) -> bool {
    let why = match door.answer {
        Ok(pong) => {
            let (version, pid) = (shown(&pong, "version"), shown(&pong, "pid"));
            report.ok("agent", format_args!("version {version} answers, process {pid}"));
            if pong["locked"] != true {
                report.ok("lock", format_args!("the agent is not locked"));
                return true;
            }
            report.fail("lock", format_args!("the agent is locked"), format_args!("unlock it: apptoken unlock"));
            "the agent is locked"
        }
        Err(error) => {
            match error {
                _ if !there => report.skip(&["agent"], "there is no socket to reach it by"),
                CallError::NoAgent(why) => report.no_agent("agent", format_args!("{why}"), format_args!("{}", start())),
                CallError::Unavailable { what, hint } => {
                    report.no_agent("agent", format_args!("{what}"), format_args!("{hint}"));
                }
                other => report.fail_as("agent", &other.into()),
            }
            report.skip(&["lock"], "no agent answers");
            "no agent answers"
        }
    };
    report.skip(&BY_THE_AGENT, why);
    false
}

/// The hosts that git may ask us about: those of the keys held, else the one that was named, else the usual one.
fn sites(named: Option<Host>) -> Vec<Site> {
    let mut sites = Agent::find().and_then(|mut agent| gitconfig::held(&mut agent)).unwrap_or_default();
    sites.retain(|site| named.as_ref().is_none_or(|host| site.host == *host));
    if sites.is_empty() {
        sites.extend(named.or_else(|| "github.com".parse().ok()).map(Site::secure));
    }
    sites
}

/// What the agent looks at, in its order.
const BY_THE_AGENT: [&str; 6] = ["keys", "clock", "api", "app", "installations", "token"];
