//! No secret is left lying in the agent's memory: not while it is idle, and none at all once it was told to forget, even
//! while the connections are open that the secrets came and went by.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use pkcs1::RsaPrivateKeyRef;
use pkcs1::der::Decode as _;
use serde_json::{Value, json};

use crate::support::encrypting::{WAYS, can_encrypt, encrypt, wire};
use crate::support::github::{Entry, TokenFormat};
use crate::support::memory::Needles;
use crate::support::peer::Peer;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, HOST, KEY, NO_OPTIONS, OTHER_KEY, SLUG, World, need_root};

/// A world with an agent, and connections to it that stay open: each secret goes over one of them.
struct Watched {
    world: World,
    adder: Peer,
    asker: Peer,
    locker: Peer,
}

#[test]
fn the_search_finds_every_form_of_a_secret_where_it_is() {
    if !need_root() {
        return;
    }
    // This process holds what it looks for.
    let secrets = passphrases(key(KEY));
    let found = secrets.traces_in(Pid::this());
    for name in ["DER", "base64", "d", "p", "q", "dP", "dQ", "qInv", "passphrase", "escaped passphrase"] {
        assert!(found.iter().any(|trace| trace.secret == name), "not found: {name}");
    }
}

#[test]
fn the_search_finds_in_the_agent_what_it_cannot_have_wiped_yet() {
    for format in FORMATS {
        let Some(mut w) = Watched::with_key(format) else { return };
        w.get_token();
        w.tokens().assert_found_in(w.pid(), "token");
        let (mut with_passphrase, seal) = (w.add_request(), seal_request(&wire(KEY), LONG));
        with_passphrase["passphrase"] = json!(LONG);
        for (request, name) in [
            (w.add_request(), "base64"),
            (with_passphrase, "passphrase"),
            (seal, "passphrase"),
            (lock_request(LONG), "passphrase"),
        ] {
            let request = request.to_string();
            let (all_but_its_end, end) = request.split_at(request.len() - 1);
            w.locker.send(all_but_its_end);
            wait_until("the agent has read it", DEADLINE, || {
                w.secrets().traces_in(w.pid()).iter().any(|trace| trace.secret == name)
            });
            w.locker.send(end);
            assert_eq!(w.locker.answer()["ok"], true);
        }
        w.assert_no_secret();
    }
}

#[test]
fn an_idle_key_is_nowhere_in_memory_that_it_could_be_read() {
    let Some(mut w) = Watched::with_key(TokenFormat::Stateless) else { return };
    key(KEY).assert_absent_from(w.pid());
    w.get_token();
    key(KEY).assert_absent_from(w.pid());
    let narrow = w.asker.request(&json!({"action": "getToken", "permissions": {"contents": "read"}}));
    assert!(narrow["token"].is_string(), "{narrow}");
    key(KEY).assert_absent_from(w.pid());
    // Looked for in each of its forms, as it was by the others.
    w.tokens().assert_found_in(w.pid(), "token");
}

#[test]
fn a_key_that_comes_in_small_pieces_behind_other_requests_leaves_none_of_them() {
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    let stream = format!("{PING}{}{PING}", w.add_request());
    for piece in stream.as_bytes().chunks(97) {
        w.adder.send(piece);
    }
    let answers: Vec<_> = (0..3).map(|_| w.adder.answer()["ok"] == true).collect();
    assert_eq!(answers, [true; 3]);
    key(KEY).assert_absent_from(w.pid());
}

#[test]
fn a_key_with_escapes_and_among_blanks_is_wiped_as_well() {
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    let escaped = w.add_request().to_string().replace('/', "\\/");
    w.adder.send(" \n".repeat(5_000) + &escaped);
    assert_eq!(w.adder.answer()["ok"], true);
    key(KEY).assert_absent_from(w.pid());
}

#[test]
fn a_locked_agent_has_no_secret() {
    for (format, passphrase) in FORMATS.into_iter().zip([LONG, AWKWARD]) {
        let Some(mut w) = Watched::with_key(format) else { return };
        w.get_token();
        w.lock(passphrase);
        w.assert_no_secret();
    }
}

#[test]
fn an_agent_that_was_unlocked_has_neither_the_passphrase_nor_a_key_in_the_clear_nor_the_old_tokens() {
    for passphrase in [LONG, AWKWARD] {
        let Some(mut w) = Watched::with_key(TokenFormat::Stateless) else { return };
        w.get_token();
        w.lock(passphrase);
        w.unlock(passphrase);
        w.assert_no_secret();
        let old = w.tokens();
        w.get_token();
        old.assert_absent_from(w.pid());
        passphrases(key(KEY)).assert_absent_from(w.pid());
    }
}

#[test]
fn a_wrong_passphrase_is_wiped_like_a_right_one() {
    let Some(mut w) = Watched::with_key(TokenFormat::Classic) else { return };
    w.lock("another");
    for wrong in [LONG, AWKWARD] {
        let answer = w.locker.request(&json!({"action": "unlock", "passphrase": wrong}));
        assert_eq!(answer["code"], "denied", "{answer}");
    }
    w.assert_no_secret();
    w.unlock("another");
    let answer = w.locker.request(&json!({"action": "unlock", "passphrase": LONG}));
    assert_eq!(answer["code"], "bad_request", "{answer}");
    w.assert_no_secret();
}

#[test]
fn a_removed_key_leaves_nothing_however_it_was_named() {
    for named in [SLUG, &wire(KEY)] {
        let Some(mut w) = Watched::with_key(TokenFormat::Stateless) else { return };
        w.get_token();
        let answer = w.locker.request(&json!({"action": "removeKey", "key": named}));
        assert_eq!(answer["removed"], json!([SLUG]));
        w.assert_no_secret();
    }
}

#[test]
fn removing_all_keys_leaves_nothing() {
    let Some(mut w) = Watched::with_key(TokenFormat::Classic) else { return };
    w.get_token();
    assert_eq!(w.locker.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    w.assert_no_secret();
}

#[test]
fn a_key_whose_lifetime_ended_leaves_nothing() {
    let Some(mut w) = Watched::new(TokenFormat::Stateless) else { return };
    let mut request = w.add_request();
    request["lifetime"] = json!(2);
    assert_eq!(w.adder.request(&request)["ok"], true);
    w.get_token();
    // Nobody asks for anything: the agent forgets by itself.
    wait_until("the token is forgotten", DEADLINE, || w.tokens().traces_in(w.pid()).is_empty());
    w.assert_no_secret();
}

#[test]
fn the_signal_to_forget_leaves_nothing() {
    for format in FORMATS {
        let Some(mut w) = Watched::with_key(format) else { return };
        w.get_token();
        w.world.signal(Signal::SIGUSR1);
        wait_until("the agent has forgotten", DEADLINE, || {
            w.locker.request(&json!({"action": "listKeys"}))["keys"].as_array().is_some_and(Vec::is_empty)
        });
        w.assert_no_secret();
    }
}

/// The end of the program that asks is a signal, and what the registers hold at a signal the system writes to the stack.
#[test]
fn a_signal_leaves_nothing_of_a_token_that_has_gone() {
    if !need_root() {
        return;
    }
    let mut world = World::new();
    world.env("APPTOKEN_ASKPASS", world.script("askpass", "exit 0"));
    world.start_agent(NO_OPTIONS);
    let mut w = Watched::over(world, TokenFormat::Stateless);
    let mut request = w.add_request();
    request["confirm"] = json!(true);
    assert_eq!(w.adder.request(&request)["ok"], true);
    for _ in 0..3 {
        w.get_token();
    }
    assert_eq!(w.locker.request(&json!({"action": "removeKey", "key": SLUG}))["ok"], true);
    w.assert_no_secret();
}

#[test]
fn what_was_refused_is_wiped_as_well() {
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    let mut misspelt = w.add_request();
    misspelt["lifetme"] = json!(5);
    let mut of_no_app = w.add_request();
    of_no_app["key"] = json!(wire(OTHER_KEY));
    let mut damaged = w.add_request();
    damaged["key"] = json!(&wire(KEY)[4..]);
    let twice = json!({"action": "lock", "passphrase": [LONG, AWKWARD]});
    for (request, code) in [
        (misspelt, "bad_request"),
        (of_no_app, "app_mismatch"),
        (damaged, "bad_key"),
        (json!({"action": "addKey", "appId": wire(KEY), "key": ""}), "bad_request"),
        (twice, "bad_request"),
        (json!({"action": LONG}), "unknown_action"),
    ] {
        let answer = w.adder.request(&request);
        assert_eq!(answer["code"], code, "{answer}");
    }
    w.assert_no_secret();
    key(OTHER_KEY).assert_absent_from(w.pid());
    // And what is no message at all.
    let mut refused = w.world.connect();
    refused.send(format!("{PING}\"{LONG}{}", wire(KEY)));
    assert_eq!(refused.answer()["pong"], true);
    assert_eq!(refused.answer()["code"], "bad_request");
    w.assert_no_secret();
}

#[test]
fn a_token_that_arrives_after_the_lock_is_not_kept() {
    let Some(mut w) = Watched::with_key(TokenFormat::Stateless) else { return };
    w.get_token();
    w.world.github.delay(Duration::from_secs(4));
    w.asker.send(r#"{"action":"getToken","permissions":{"contents":"read"}}"#);
    let is_mint = |entry: &&Entry| entry.is("POST /app/installations/*/access_tokens");
    w.world.github.wait_for(|journal| journal.iter().filter(is_mint).count() == 2);
    w.lock(LONG);
    // It is kept for as long as it takes to revoke it.
    w.world.github.delay(Duration::ZERO);
    assert_eq!(w.asker.answer()["code"], "locked");
    assert_eq!(w.world.github.tokens().len(), 2);
    w.assert_no_secret();
}

#[test]
fn a_key_that_was_opened_leaves_neither_itself_nor_its_passphrase() {
    if !can_encrypt() {
        return;
    }
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    for (way, passphrase) in WAYS.into_iter().zip([LONG, AWKWARD].into_iter().cycle()) {
        let mut add = w.add_request();
        add["key"] = json!(wire(encrypt(&w.world, way, KEY, passphrase)));
        for (given, code) in [("wrong", json!("wrong_passphrase")), (passphrase, Value::Null)] {
            add["passphrase"] = json!(given);
            let answer = w.adder.request(&add);
            assert_eq!(answer["code"], code, "{way}: {answer}");
            w.assert_no_secret();
        }
        assert_eq!(w.locker.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    }
}

#[test]
fn a_key_that_was_checked_or_sealed_leaves_neither_itself_nor_a_passphrase() {
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    for (passphrase, new) in [(LONG, AWKWARD), (AWKWARD, LONG)] {
        let sealed = w.adder.request(&seal_request(&wire(KEY), passphrase));
        let key = sealed["sealed"].as_str().expect("a sealed file");
        w.assert_no_secret();
        let mut again = seal_request(key, new);
        again["passphrase"] = json!(passphrase);
        assert_eq!(w.adder.request(&again)["fingerprint"], sealed["fingerprint"]);
        w.assert_no_secret();
        let mut check = w.add_request();
        (check["action"], check["key"], check["passphrase"]) = (json!("checkKey"), json!(key), json!(passphrase));
        assert_eq!(w.asker.request(&check)["slug"], SLUG);
        w.assert_no_secret();
        check["passphrase"] = json!(new);
        assert_eq!(w.asker.request(&check)["code"], "wrong_passphrase");
        w.assert_no_secret();
    }
}

#[test]
fn an_opening_that_nobody_waits_for_any_more_leaves_nothing() {
    let Some(mut w) = Watched::new(TokenFormat::Classic) else { return };
    let sealed = w.adder.request(&seal_request(&wire(KEY), LONG));
    let check = json!({"action": "checkKey", "key": sealed["sealed"], "passphrase": LONG});
    let leavers: Vec<_> = (0..10).map(|_| w.world.connect()).collect();
    for mut leaver in leavers {
        leaver.send(check.to_string());
    }
    // Whoever comes after them has to wait for those that were begun.
    assert_eq!(w.asker.request(&check)["bits"], 2048);
    w.assert_no_secret();
}

/// Whoever has one can mint tokens for nine minutes.
#[test]
fn the_proof_that_github_was_shown_is_not_kept() {
    let Some(mut w) = Watched::with_key(TokenFormat::Classic) else { return };
    w.get_token();
    Needles::new().and("JWT", JWT_HEAD).assert_absent_from(w.pid());
}

impl Watched {
    /// None where nobody may look.
    fn new(format: TokenFormat) -> Option<Self> {
        need_root().then(|| Self::over(World::with_agent(), format))
    }

    fn over(world: World, format: TokenFormat) -> Self {
        world.github.token_format(format);
        let [adder, asker, locker] = [(); 3].map(|()| world.connect());
        Self { world, adder, asker, locker }
    }

    fn with_key(format: TokenFormat) -> Option<Self> {
        let mut w = Self::new(format)?;
        let request = w.add_request();
        assert_eq!(w.adder.request(&request)["ok"], true);
        Some(w)
    }

    fn pid(&self) -> Pid {
        self.world.pid()
    }

    fn add_request(&self) -> Value {
        json!({"action": "addKey", "key": wire(KEY), "appId": APP_ID, "host": HOST, "apiUrl": self.world.github.url()})
    }

    #[track_caller]
    fn get_token(&mut self) {
        let answer = self.asker.request(&json!({"action": "getToken"}));
        assert!(answer["token"].is_string(), "{answer}");
    }

    #[track_caller]
    fn lock(&mut self, passphrase: &str) {
        assert_eq!(self.locker.request(&lock_request(passphrase))["ok"], true);
    }

    #[track_caller]
    fn unlock(&mut self, passphrase: &str) {
        let answer = self.locker.request(&json!({"action": "unlock", "passphrase": passphrase}));
        assert_eq!(answer["ok"], true, "{answer}");
    }

    /// All tokens that GitHub handed out.
    fn tokens(&self) -> Needles {
        self.world.github.tokens().iter().fold(Needles::new(), |needles, token| {
            // What comes before the first dot says only that a JWT follows.
            needles.and("token", &token.value[token.value.find('.').unwrap_or(0)..])
        })
    }

    fn secrets(&self) -> Needles {
        passphrases(self.tokens().and_those_of(&key(KEY)))
    }

    #[track_caller]
    fn assert_no_secret(&self) {
        self.secrets().assert_absent_from(self.pid());
    }
}

/// Every form of a key that signing, transport or storage gives it.
fn key(pem: &str) -> Needles {
    let base64 = wire(pem);
    let der = BASE64_STANDARD.decode(&base64).expect("the fixture is a key");
    let key = RsaPrivateKeyRef::from_der(&der).expect("the fixture is PKCS#1");
    let numbers = [
        ("d", key.private_exponent),
        ("p", key.prime1),
        ("q", key.prime2),
        ("dP", key.exponent1),
        ("dQ", key.exponent2),
        ("qInv", key.coefficient),
    ];
    let needles = Needles::new().and("DER", &der).and("base64", &base64);
    // The DER has them with the high byte first; libraries calculate with the low byte first.
    numbers.iter().fold(needles, |needles, (name, number)| {
        needles.and(name, number.as_bytes().iter().rev().copied().collect::<Vec<_>>())
    })
}

fn passphrases(needles: Needles) -> Needles {
    let escaped = json!(AWKWARD).to_string();
    needles.and("passphrase", LONG).and("escaped passphrase", escaped).and("passphrase", AWKWARD)
}

fn seal_request(key: &str, passphrase: &str) -> Value {
    json!({"action": "sealKey", "key": key, "newPassphrase": passphrase})
}

fn lock_request(passphrase: &str) -> Value {
    json!({"action": "lock", "passphrase": passphrase})
}

const FORMATS: [TokenFormat; 2] = [TokenFormat::Classic, TokenFormat::Stateless];
const PING: &str = r#"{"action":"ping"}"#;
const LONG: &str = "correct horse battery staple, and then some more of the same kind of words";
/// JSON writes half of these in another way.
const AWKWARD: &str = "tab\tquote\"backslash\\newline\nbell\u{7}umlaut\u{fc}smile\u{1f600}end, and all that twice: tab\tquote\"backslash\\newline\n";
/// `{"typ":"JWT","alg":"RS256"}` and the beginning of claims, in base64url.
const JWT_HEAD: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJ";
