//! The order in which GitHub looks at a request, and what all its replies have in common.

use std::time::{Duration, Instant};

use super::answer::{Answer, Content, DOCUMENTATION};
use super::clock;
use super::fault::Fault;
use super::journal::{Auth, Entry, sha256};
use super::jwt;
use super::mischief::{self, Delivery};
use super::request::{Credential, Request};
use super::routes;
use super::world::World;

/// A request that has been noted down and is now worked on.
#[derive(Debug)]
pub(super) struct Admission {
    /// Its place in the journal.
    entry: usize,
    /// What will go wrong with it.
    fault: Fault,
    /// How long the answer takes.
    pub delay: Duration,
}

/// What goes on the wire, and how.
#[derive(Debug)]
pub(super) struct Reply {
    pub answer: Answer,
    pub delivery: Delivery,
}

/// Notes a request down and draws its fault.
pub(super) fn admit(world: &mut World, request: &Request) -> Admission {
    let path = world.edition.api_path(&request.path).unwrap_or(&request.path).to_owned();
    let entry = Entry {
        method: request.method.clone(),
        path: path.clone(),
        query: request.query.clone(),
        status: None,
        authorization: authorization(world, request.credential()),
        user_agent: request.header("user-agent").to_owned(),
        accept: request.header("accept").to_owned(),
        api_version: request.header("x-github-api-version").to_owned(),
        body: serde_json::from_slice(&request.body).ok(),
        at: Instant::now(),
    };
    world.journal.push(entry);
    // The edge turns a nameless client away before anything behind it can fail.
    let fault = if is_nameless(request) { Fault::Pass } else { world.faults.take(&request.method, &path) };
    let delay = world.delay + if let Fault::Delay(more) = fault { more } else { Duration::ZERO };
    Admission { entry: world.journal.len() - 1, fault, delay }
}

/// Answers a request that was admitted: edge, fault, API version, then the endpoint.
pub(super) fn respond(world: &mut World, request: &Request, admission: &Admission) -> Reply {
    let fault = &admission.fault;
    let answer = if is_nameless(request) {
        forbidden_at_the_edge()
    } else if let Some(answer) = mischief::instead(fault, world, request) {
        answer
    } else if let Err(refusal) = check_version(request) {
        refusal
    } else {
        mischief::before(fault, world, request, routes::answer)
    };
    let mut answer = with_common_headers(world, request, admission.entry, conditional(request, answer));
    mischief::spoil(fault, &mut answer);
    let delivery = mischief::delivery(fault);
    if delivery.is_an_answer() {
        world.journal[admission.entry].status = Some(answer.status);
    }
    Reply { answer, delivery }
}

/// The versions in service, the newest last. A request that names none gets the first.
pub(super) const API_VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];

/// 400 for a version that GitHub does not serve; its `errors` is a string, unlike anywhere else.
pub(super) fn unsupported_version(version: &str) -> Answer {
    let [oldest, newest] = API_VERSIONS;
    let mut answer = Answer::refusal(400, "Bad Request", "/about-the-rest-api/api-versions");
    if let Content::Json(body) = &mut answer.content {
        body["errors"] = format!(
            "The version you specified in the \"X-GitHub-API-Version\" request header, \"{version}\", is not a \
             supported version. The following versions are currently supported: \"{newest}\" (most recent) and \
             \"{oldest}\"."
        )
        .into();
    }
    answer
}

fn check_version(request: &Request) -> Result<(), Answer> {
    let version = request.header("x-github-api-version");
    let known = version.is_empty() || API_VERSIONS.contains(&version);
    known.then_some(()).ok_or_else(|| unsupported_version(version))
}

fn is_nameless(request: &Request) -> bool {
    request.header("user-agent").is_empty()
}

/// See <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#user-agent-required>.
fn forbidden_at_the_edge() -> Answer {
    Answer::raw(
        403,
        "text/plain; charset=utf-8",
        "\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header \
         (https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#user-agent-required). \
         Check https://developer.github.com for other possible causes.\r\n",
    )
}

/// 304 for a `GET` whose answer the client has already. The tag depends on who asks, as GitHub's does.
fn conditional(request: &Request, answer: Answer) -> Answer {
    let (200, "GET", Content::Json(body)) = (answer.status, request.method.as_str(), &answer.content) else {
        return answer;
    };
    let tag = format!("W/\"{}\"", sha256(&format!("{} {body}", request.header("authorization"))));
    let known = request.header("if-none-match") == tag;
    let answer = if known { Answer { status: 304, content: Content::Empty, ..answer } } else { answer };
    answer.header("ETag", tag)
}

fn with_common_headers(world: &World, request: &Request, serial: usize, mut answer: Answer) -> Answer {
    if let Content::Json(body) = &mut answer.content {
        // Errors of an Enterprise Server point to the documentation of its release.
        if let Some(page) = body["documentation_url"].as_str() {
            body["documentation_url"] = page.replace(DOCUMENTATION, &world.edition.documentation()).into();
        }
    }
    let content_type = match &answer.content {
        Content::Empty => None,
        Content::Json(_) => Some(JSON.to_owned()),
        Content::Raw(content_type, _) => Some(content_type.clone()),
    };
    let version = match request.header("x-github-api-version") {
        "" => API_VERSIONS[0],
        version => version,
    };
    let audience =
        if answer.headers.iter().any(|(name, _)| name == "x-ratelimit-limit") { "private" } else { "public" };
    let mut common = vec![
        ("Date", clock::http_date(world.now())),
        ("Cache-Control", format!("{audience}, max-age=60, s-maxage=60")),
        ("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP".to_owned()),
        ("X-GitHub-Media-Type", "github.v3; format=json".to_owned()),
        ("X-GitHub-Api-Version-Selected", version.to_owned()),
        ("X-GitHub-Request-Id", format!("D236:47C4:1909E17E:1DD010FD:{serial:08X}")),
    ];
    common.extend(content_type.map(|content_type| ("Content-Type", content_type)));
    common.extend(world.edition.version().map(|version| ("X-GitHub-Enterprise-Version", version.to_owned())));
    for (name, value) in common {
        // An endpoint's own header wins.
        if !answer.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name)) {
            answer.headers.push((name.to_owned(), value));
        }
    }
    answer
}

fn authorization(world: &World, credential: Option<Credential>) -> Auth {
    let Some(Credential { scheme, value }) = credential else { return Auth::Anonymous };
    let sha256 = sha256(&value);
    if let Some(token) = world.token(&value) {
        return Auth::Token { app: token.issued.app, installation: token.issued.installation, sha256 };
    }
    match jwt::claimed_issuer(&value) {
        Some(iss) => Auth::Jwt { iss, sha256 },
        None => Auth::Unknown { scheme, sha256 },
    }
}

const JSON: &str = "application/json; charset=utf-8";
