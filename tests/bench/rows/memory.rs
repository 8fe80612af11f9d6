//! Resident memory, of an agent that has nothing to do just now.

use std::array;
use std::time::{Duration, Instant};

use crate::github::Installation;
use crate::options::Options;
use crate::process::{self, Resident};
use crate::server::Server;
use crate::stage::{INSTALLATION_ID, Stage};
use crate::table::{Amount, Goal, Row};
use crate::wait::{DEADLINE, wait_until};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    let repositories: Vec<String> = (0..REPOSITORIES).map(|number| format!("repository-{number:02}")).collect();
    let names: Vec<&str> = repositories.iter().map(String::as_str).collect();
    let granted = PERMISSIONS.map(|name| (name, "write"));
    let installation = Installation::new(INSTALLATION_ID, "octo").repositories(&names).permissions(&granted);
    let stage = Stage::over_tls(options, installation);
    let (apptoken, ssh_agent) = (stage.apptoken(), stage.ssh_agent());

    let (idle, theirs) = (at_rest(&apptoken), at_rest(&ssh_agent));
    apptoken.ask();
    let minted = at_rest(&apptoken);
    fill(&apptoken, &narrowings(&repositories));
    let full = at_rest(&apptoken);

    let idle_note = format!(
        "each holds one RSA key; taken once the agent's threads for short work have ended, its random generator being \
         warm; of it, not mapped from files but the process's own: {} beside {}",
        Amount::Bytes(idle.anonymous),
        Amount::Bytes(theirs.anonymous)
    );
    vec![
        row("resident, one key, idle", idle)
            .beside("ssh-agent", Amount::Bytes(theirs.whole))
            .goal(Goal::TimesAtMost(0.95))
            .note(idle_note),
        row("resident, after minting over TLS", minted)
            .goal(Goal::AtMost(Amount::Bytes(7_500_000)))
            .note("the agent trusts the CA certificates of this machine and one more"),
        Row::new(format!("{TOKENS} more tokens, resident"), Amount::Bytes(full.whole.saturating_sub(minted.whole)))
            .goal(Goal::AtMost(Amount::Bytes(25_000_000))),
    ]
}

fn row(what: &str, resident: Resident) -> Row {
    Row::new(what, Amount::Bytes(resident.whole))
}

/// What a server occupies once the threads that it had work for are gone, and only those are left that stay.
fn at_rest(server: &Server) -> Resident {
    let pid = server.pid();
    let (mut threads, mut since) = (process::threads(pid), Instant::now());
    wait_until("a server keeps its number of threads", DEADLINE, || {
        let now = process::threads(pid);
        if now != threads {
            (threads, since) = (now, Instant::now());
        }
        now == 1 || since.elapsed() > THREAD_LIFE
    });
    process::resident(pid)
}

/// Questions that each need a token of their own: one repository, two permissions.
fn narrowings(repositories: &[String]) -> Vec<String> {
    let pairs = (0..PERMISSIONS.len()).flat_map(|second| (0..second).map(move |first| [first, second]));
    let pairs: Vec<[&str; 2]> = pairs.map(|pair| pair.map(|at| PERMISSIONS[at])).collect();
    let questions = repositories.iter().flat_map(|repository| {
        pairs.iter().map(move |[one, other]| {
            let permissions = format!(r#"{{"{one}":"read","{other}":"read"}}"#);
            format!(r#"{{"action":"getToken","repositories":["{repository}"],"permissions":{permissions}}}"#)
        })
    });
    let questions: Vec<String> = questions.take(TOKENS).collect();
    assert_eq!(questions.len(), TOKENS, "repositories and permissions make enough questions");
    questions
}

/// Has a token minted for each question, a few at once.
fn fill(server: &Server, questions: &[String]) {
    let mut conversations: [_; AT_ONCE] = array::from_fn(|_| server.connect());
    for questions in questions.chunks(AT_ONCE) {
        for (conversation, question) in conversations.iter_mut().zip(questions) {
            conversation.send(question.as_bytes());
        }
        for conversation in &mut conversations[..questions.len()] {
            let answer = conversation.receive();
            assert!(answer.starts_with(br#"{"ok":true"#), "{}", String::from_utf8_lossy(answer));
        }
    }
}

/// An idle thread of tokio's for blocking work ends after ten seconds.
const THREAD_LIFE: Duration = Duration::from_secs(11);
/// As many as the agent keeps at the most.
const TOKENS: usize = 10_000;
/// How many are asked for at the same time: as a busy machine might.
const AT_ONCE: usize = 8;
/// With the pairs of [`PERMISSIONS`], enough for [`TOKENS`].
const REPOSITORIES: usize = 100;
const PERMISSIONS: [&str; 15] = [
    "actions",
    "administration",
    "checks",
    "contents",
    "deployments",
    "environments",
    "issues",
    "packages",
    "pages",
    "pull_requests",
    "repository_hooks",
    "secrets",
    "security_events",
    "statuses",
    "vulnerability_alerts",
];
