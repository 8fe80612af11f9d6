//! What each answer must be like, and what the answers were like.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use apptoken::agent::clock::rfc3339;

use crate::support::github::{GitHub, IssuedToken, Level, Permissions};
use crate::support::{INSTALLATION_ID, SLUG};

/// A request that honest clients send.
pub(super) struct Question {
    pub(super) request: Value,
    /// The same for `apptoken`; empty when it is not asked this.
    pub(super) arguments: &'static [&'static str],
    pub(super) wanted: Wanted,
}

/// Which questions a client asks, and how often.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// All that are answered quickly.
    Usual,
    /// The same, and keys to open.
    WithKeys,
    /// Those that `apptoken` has arguments for.
    Command,
}

/// What it must be answered with.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Pong,
    Status,
    Keys,
    /// The properties of a key that was sent.
    KeyCheck,
    Token(Scope),
}

/// The token that a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    /// Its permissions; none for all that the installation has.
    pub(super) permissions: &'static [(&'static str, Level)],
    /// The names of its repositories; none for all that the installation has.
    pub(super) repositories: &'static [&'static str],
    /// The life that it must have left, in seconds.
    pub(super) min_ttl: i64,
}

/// A time during which the agent was locked, in seconds on the monotonic clock: when the requests were sent and answered.
#[derive(Clone, Copy)]
pub(super) struct Period {
    pub(super) lock_sent: f64,
    pub(super) locked: f64,
    pub(super) unlock_sent: f64,
    pub(super) unlocked: f64,
}

/// When a request was sent and answered, in seconds on the monotonic clock.
#[derive(Clone, Copy)]
struct Exchange {
    sent: f64,
    received: f64,
}

/// Holds every answer against what was asked, and counts.
pub(super) struct Judge<'a> {
    github: &'a GitHub,
    agent: i32,
    /// What the deadlines are multiplied by.
    patience: f64,
    questions: Vec<Question>,
    /// The last of these may go on: then its unlock is at infinity.
    periods: Vec<Period>,
    pub(super) findings: Vec<String>,
    answers: BTreeMap<&'static str, Figures>,
    refusals: BTreeMap<String, usize>,
    by_client: BTreeMap<String, usize>,
    /// Tokens that had to be granted or refused for a reason of GitHub's, and those that were granted.
    pub(super) due: usize,
    pub(super) granted: usize,
}

/// How many answers of a kind there were, and how long the slowest took.
#[derive(Default)]
struct Figures {
    count: usize,
    slowest: f64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(github: &'a GitHub, agent: i32, patience: f64, questions: Vec<Question>) -> Self {
        Self {
            github,
            agent,
            patience,
            questions,
            periods: Vec::new(),
            findings: Vec::new(),
            answers: BTreeMap::new(),
            refusals: BTreeMap::new(),
            by_client: BTreeMap::new(),
            due: 0,
            granted: 0,
        }
    }

    /// What a client is told to ask.
    pub(super) fn plan(&self, share: Share) -> Value {
        let weighed = self.questions.iter().enumerate().map(|(index, question)| {
            let weight = match (share, question.wanted) {
                (Share::Command, _) => u32::from(!question.arguments.is_empty()),
                (Share::Usual, Wanted::KeyCheck) => 0,
                (Share::Usual | Share::WithKeys, Wanted::KeyCheck | Wanted::Status | Wanted::Keys) => 1,
                (Share::Usual | Share::WithKeys, Wanted::Pong | Wanted::Token(_)) => 3,
            };
            json!({
                "index": index, "weight": weight, "request": question.request, "arguments": question.arguments,
            })
        });
        weighed.collect()
    }

    /// Whether enough is wrong for the test to end early.
    pub(super) fn has_seen_enough(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    /// Fails with what was wrong, and the figures.
    pub(super) fn assert_nothing_wrong(&self) {
        let findings = &self.findings;
        assert!(findings.is_empty(), "{} wrong answers:\n{}\n{self}", findings.len(), findings.join("\n"));
    }

    /// How many answers the client with the fewest has had.
    pub(super) fn fewest(&self) -> usize {
        self.by_client.values().copied().min().unwrap_or_default()
    }

    /// The agent was locked, and will be until [`unlocked`](Self::unlocked).
    pub(super) fn locked(&mut self, lock_sent: f64, locked: f64, answer: Option<&Value>) {
        self.periods.push(Period { lock_sent, locked, unlock_sent: f64::INFINITY, unlocked: f64::INFINITY });
        self.judge_own("lock", locked - lock_sent, answer);
    }

    /// The agent was unlocked again.
    pub(super) fn unlocked(&mut self, unlock_sent: f64, unlocked: f64, answer: Option<&Value>) {
        if let Some(period) = self.periods.last_mut() {
            (period.unlock_sent, period.unlocked) = (unlock_sent, unlocked);
        }
        self.judge_own("unlock", unlocked - unlock_sent, answer);
    }

    fn judge_own(&mut self, what: &'static str, took: f64, answer: Option<&Value>) {
        self.count(what, took);
        match answer {
            None => self.findings.push(format!("no answer to {what} after {took:.3} s")),
            Some(answer) if answer["ok"] != true => {
                self.findings.push(format!("{what} was refused after {took:.3} s: {answer}"));
            }
            Some(_) => {
                let late = self.in_time(Exchange { sent: 0.0, received: took }, LOCK_DEADLINE).err();
                self.findings.extend(late.map(|late| format!("{what} was {late}")));
            }
        }
    }

    /// Takes a line of an honest client.
    pub(super) fn hear(&mut self, client: &str, line: &str) {
        *self.by_client.entry(client.to_owned()).or_default() += 1;
        if let Err(what) = self.judge(line) {
            let request = serde_json::from_str::<Value>(line).ok().and_then(|line| line["question"].as_u64());
            let request = request.and_then(|index| self.questions.get(usize::try_from(index).ok()?));
            let request = request.map(|question| {
                let mut text = question.request.to_string();
                text.truncate(MAX_SHOWN);
                text
            });
            self.findings.push(format!("client {client}, {}: {what}", request.unwrap_or_else(|| line.to_owned())));
        }
    }

    fn judge(&mut self, line: &str) -> Result<(), String> {
        let line: Value = serde_json::from_str(line).map_err(|error| format!("not a line of a client: {error}"))?;
        let number = |name: &str| line[name].as_f64().ok_or(format!("a line without `{name}`: {line}"));
        let (exchange, at) = (Exchange { sent: number("sent")?, received: number("received")? }, number("at")?);
        let wanted = line["question"].as_u64().and_then(|index| self.questions.get(usize::try_from(index).ok()?));
        let wanted = wanted.ok_or(format!("a line without a question: {line}"))?.wanted;
        if let Some(error) = line["failed"].as_str() {
            return Err(format!("after {:.3} s: {error}", exchange.took()));
        }
        let answer = if line["exit"].is_null() { line["answer"].clone() } else { answer_of_command(&line)? };
        if answer["ok"] == false {
            return self.judge_refusal(wanted, exchange, &answer);
        }
        match wanted {
            Wanted::Pong => {
                let right = answer["pong"] == true && answer["pid"] == self.agent;
                self.judge_at_hand("ping", exchange, right, &answer)?;
                self.judge_locked(exchange, &answer)
            }
            Wanted::Status => {
                self.judge_at_hand("status", exchange, answer["pid"] == self.agent, &answer)?;
                self.judge_locked(exchange, &answer)
            }
            Wanted::Keys => {
                let names: Vec<_> = answer["keys"].as_array().into_iter().flatten().map(|key| &key["name"]).collect();
                self.judge_at_hand("listKeys", exchange, names == [SLUG], &answer)?;
                self.must_not_be_locked(exchange)
            }
            Wanted::KeyCheck => {
                self.count("checkKey", exchange.took());
                self.in_time(exchange, OPENING_DEADLINE)?;
                if answer["bits"] != 2048 {
                    return Err(format!("a wrong answer: {answer}"));
                }
                self.must_not_be_locked(exchange)
            }
            Wanted::Token(scope) => self.judge_token(scope, exchange, at, &answer),
        }
    }

    /// An answer that needs neither GitHub nor much computation.
    fn judge_at_hand(
        &mut self,
        what: &'static str,
        exchange: Exchange,
        right: bool,
        answer: &Value,
    ) -> Result<(), String> {
        self.count(what, exchange.took());
        self.in_time(exchange, PROMPT_DEADLINE)?;
        if right { Ok(()) } else { Err(format!("a wrong answer: {answer}")) }
    }

    fn judge_locked(&self, exchange: Exchange, answer: &Value) -> Result<(), String> {
        let locked = answer["locked"].as_bool().ok_or(format!("nothing about a lock: {answer}"))?;
        if locked { self.may_be_locked(exchange) } else { self.must_not_be_locked(exchange) }
    }

    fn judge_refusal(&mut self, wanted: Wanted, exchange: Exchange, answer: &Value) -> Result<(), String> {
        let code = answer["code"].as_str().unwrap_or_default().to_owned();
        *self.refusals.entry(code.clone()).or_default() += 1;
        match (wanted, code.as_str()) {
            (Wanted::Token(_) | Wanted::Keys | Wanted::KeyCheck, "locked") => {
                self.may_be_locked(exchange)?;
                let at_hand = self.is_locked_throughout(exchange);
                let deadline = match wanted {
                    Wanted::KeyCheck if !at_hand => OPENING_DEADLINE,
                    Wanted::Token(_) if !at_hand => GITHUB_DEADLINE,
                    _ => PROMPT_DEADLINE,
                };
                self.count("locked", exchange.took());
                self.in_time(exchange, deadline)
            }
            (Wanted::Token(_), "github_unavailable" | "rate_limited" | "timeout") => {
                self.due += 1;
                self.must_not_be_locked(exchange)?;
                self.count("refused by GitHub", exchange.took());
                self.in_time(exchange, GITHUB_DEADLINE)
            }
            // A request that waits for GitHub while the agent is locked and unlocked has lost its key.
            (Wanted::Token(_) | Wanted::KeyCheck, "no_key") => {
                self.may_be_locked(exchange)?;
                self.must_not_be_locked(exchange)?;
                self.count("overtaken by a lock", exchange.took());
                self.in_time(exchange, GITHUB_DEADLINE)
            }
            _ => Err(format!("refused after {:.3} s: {answer}", exchange.took())),
        }
    }

    fn judge_token(&mut self, scope: Scope, exchange: Exchange, at: f64, answer: &Value) -> Result<(), String> {
        self.due += 1;
        let token = answer["token"].as_str().and_then(|token| self.github.token(token));
        let token = token.ok_or_else(|| "a token that GitHub has not granted".to_owned())?;
        // GitHub's time is in whole seconds: a token of the second before may have been granted after the request was sent.
        let was_there = seconds(token.issued) + 2.0 < at;
        let (kind, deadline) =
            if was_there { ("cached token", PROMPT_DEADLINE) } else { ("new token", GITHUB_DEADLINE) };
        self.count(kind, exchange.took());
        self.in_time(exchange, deadline)?;
        self.must_not_be_locked(exchange)?;
        check_token(scope, at, &token)?;
        if answer["expiresAt"].is_string() {
            check_answer(&token, answer)?;
        }
        self.granted += 1;
        Ok(())
    }

    fn is_locked_throughout(&self, Exchange { sent, received }: Exchange) -> bool {
        self.periods.iter().any(|period| period.locked <= sent && received <= period.unlock_sent)
    }

    fn must_not_be_locked(&self, exchange: Exchange) -> Result<(), String> {
        if self.is_locked_throughout(exchange) {
            return Err("the agent was locked the whole time, and did not say so".to_owned());
        }
        Ok(())
    }

    fn may_be_locked(&self, Exchange { sent, received }: Exchange) -> Result<(), String> {
        if self.periods.iter().any(|period| period.lock_sent <= received && sent <= period.unlocked) {
            return Ok(());
        }
        Err("the agent says that it is locked, and was not".to_owned())
    }

    fn in_time(&self, exchange: Exchange, deadline: f64) -> Result<(), String> {
        let (took, deadline) = (exchange.took(), deadline * self.patience);
        if took <= deadline { Ok(()) } else { Err(format!("answered after {took:.3} s, and may take {deadline} s")) }
    }

    fn count(&mut self, kind: &'static str, took: f64) {
        let figures = self.answers.entry(kind).or_default();
        figures.count += 1;
        figures.slowest = figures.slowest.max(took);
    }
}

impl fmt::Display for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, Figures { count, slowest }) in &self.answers {
            write!(f, "{count} × {kind} (slowest {:.0} ms), ", slowest * 1e3)?;
        }
        write!(f, "refusals {:?}", self.refusals)
    }
}

impl Exchange {
    fn took(self) -> f64 {
        self.received - self.sent
    }
}

/// A token must be alive, for as long as was asked, and have the scope that was asked.
fn check_token(scope: Scope, at: f64, token: &IssuedToken) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: granted {:?} on {:?}", token.permissions, token.repositories));
    if token.revoked {
        return wrong("a revoked token");
    }
    // What is left is counted from when the request was sent, and GitHub's time is in whole seconds.
    let left = seconds(token.expires) - at;
    if left < seconds(scope.min_ttl) - 1.0 {
        return Err(format!("a token with {left:.1} s left, and not {}", scope.min_ttl));
    }
    let mut permissions: Permissions =
        scope.permissions.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
    // GitHub adds this one to every token.
    permissions.entry("metadata".to_owned()).or_insert(Level::Read);
    if token.installation != INSTALLATION_ID || !scope.permissions.is_empty() && token.permissions != permissions {
        return wrong("a token with other permissions");
    }
    let repositories = token.repositories.as_deref().unwrap_or_default();
    if repositories != scope.repositories {
        return wrong("a token for other repositories");
    }
    Ok(())
}

/// What the answer says of the token must be what GitHub says of it.
fn check_answer(token: &IssuedToken, answer: &Value) -> Result<(), String> {
    let permissions: BTreeMap<_, _> = token
        .permissions
        .iter()
        .map(|(name, level)| (name, if *level == Level::Read { "read" } else { "write" }))
        .collect();
    let repositories = token.repositories.iter().flatten().map(|name| format!("octo/{name}"));
    let right = answer["expiresAt"] == rfc3339(token.expires)
        && answer["installationId"] == INSTALLATION_ID
        && answer["account"] == "octo"
        && answer["permissions"] == json!(permissions)
        && answer["repositories"].as_array().into_iter().flatten().cloned().eq(repositories.map(Value::from));
    if right { Ok(()) } else { Err("an answer that does not fit its token".to_owned()) }
}

/// What `apptoken token` said, as the agent would have said it.
fn answer_of_command(line: &Value) -> Result<Value, String> {
    if line["exit"] == 0 {
        return Ok(json!({"ok": true, "token": line["stdout"]}));
    }
    let said = line["stderr"].as_str().unwrap_or_default();
    let known = REFUSALS.iter().find(|(words, _)| said.contains(words));
    let (_, code) = known.ok_or(format!("`apptoken` ended with {}: {said}", line["exit"]))?;
    Ok(json!({"ok": false, "code": code, "error": said}))
}

/// Whole seconds, as a client counts them.
#[expect(clippy::cast_precision_loss, reason = "the time of day has far fewer than 53 bits")]
fn seconds(whole: i64) -> f64 {
    whole as f64
}

/// The agent's sentences that the client prints, and the codes that go with them.
const REFUSALS: [(&str, &str); 6] = [
    ("the agent is locked", "locked"),
    ("the key was removed", "no_key"),
    ("did not answer in time", "timeout"),
    ("limits the rate", "rate_limited"),
    ("cannot be reached", "github_unavailable"),
    ("answered with", "github_unavailable"),
];
/// In seconds, for an answer that the agent has. It takes microseconds; the rest is for a machine on which other work stands in
/// the way for seconds.
pub(super) const PROMPT_DEADLINE: f64 = 5.0;
/// In seconds, for an answer that GitHub must give: the agent tries for 25 s.
pub(super) const GITHUB_DEADLINE: f64 = 30.0;
/// In seconds, for opening an encrypted key: those of other processes come first, one of each, and each may take seconds.
const OPENING_DEADLINE: f64 = 30.0;
/// In seconds, for a lock or an unlock. A derivation takes a tenth of a second, and waits for at most a few others.
const LOCK_DEADLINE: f64 = 5.0;
/// Enough to see what is wrong.
const MAX_FINDINGS: usize = 20;
/// Of a request, in bytes; it is ASCII.
const MAX_SHOWN: usize = 120;
