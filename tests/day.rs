//! Whoever asks all day never waits for the network but at the start, and never gets a token that is about to die, whatever
//! the clocks do.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::github::{App, Fault, GitHub, Installation, IssuedToken};
use crate::support::inprocess::{InProcess, add_key, set_wall_clock, true_time};
use crate::support::{APP_ID, INSTALLATION_ID, KEY, SLUG};

#[test]
fn in_a_day_of_asking_every_five_seconds_only_the_first_token_is_waited_for() {
    for (min_ttl, least) in [(None, 300), (Some(5), 5), (Some(1800), 1800)] {
        let mut client = Client::new(min_ttl, least);
        client.asks_and_waits();
        client.asks_on(DAY, 5);
        assert_eq!(client.mints(), 1 + DAY / renewed_after(HOUR, least, 5), "{least}");
        // The way to the installation is looked up when it is old and a token is minted, and at no other time.
        assert!(client.w.github.count("GET /**") as u64 <= 1 + client.mints(), "{least}");
    }
}

#[test]
fn tokens_of_a_few_seconds_are_renewed_in_time_as_well() {
    for (life, least) in [(8, 2), (20, 12), (60, 1)] {
        let mut client = Client::new(Some(least), least);
        client.w.github.token_lifetime(Duration::from_secs(life));
        client.asks_and_waits();
        client.asks_on(300, 1);
        assert_eq!(client.mints(), 1 + 300 / renewed_after(life, least, 1), "{life}");
    }
}

#[test]
fn a_question_for_nearly_the_whole_hour_is_answered_at_once_as_well() {
    let mut client = Client::new(Some(3540), 3540);
    client.asks_and_waits();
    client.asks_on(600, 5);
    assert_eq!(client.mints(), 1 + 600 / renewed_after(HOUR, 3540, 5));
}

/// An outage that begins when the token should be renewed, and ends before the first who would have to wait asks.
#[test]
fn nobody_notices_that_github_answers_nothing_usable_for_ten_minutes() {
    let mut client = Client::new(None, 300);
    client.asks_and_waits();
    client.asks_on(45 * 60 - 5, 5);
    assert_eq!(client.mints(), 1);
    client.w.github.always("* /**", Fault::Html(200));
    client.asks_on(10 * 60 - 5, 5);
    assert_eq!(client.mints(), 1, "an outage it was");
    client.w.github.clear_faults();
    client.asks_on(HOUR / 2, 5);
    assert_eq!(client.mints(), 2);
}

/// Nothing of the agent runs while a renewal is on its way, as when packets are lost.
#[test]
fn nobody_waits_for_a_renewal_that_takes_ten_minutes() {
    let mut client = Client::new(None, 300);
    client.asks_and_waits();
    client.asks_on(45 * 60 - 5, 5);
    for _ in (5..=600).step_by(5) {
        client.w.pass(5);
        client.asks();
    }
    assert_eq!(client.mints(), 1);
    client.w.settle();
    client.asks_on(HOUR / 2, 5);
    assert_eq!(client.mints(), 2, "all who asked meanwhile cost one");
}

#[test]
fn after_a_night_asleep_the_first_who_asks_waits_and_gets_a_token_that_is_good() {
    for sleep in [InProcess::pass, InProcess::sleep_uncounted] {
        let mut client = Client::new(None, 300);
        client.asks_and_waits();
        client.asks_on(4 * HOUR, 5);
        sleep(&client.w, 8 * HOUR);
        client.asks_and_waits();
        client.asks_on(4 * HOUR, 5);
    }
}

/// GitHub's answer was on its way when the lid was closed, and is read when it is opened: that token is long dead.
#[test]
fn a_token_that_arrived_while_the_machine_slept_is_not_handed_out() {
    let mut client = Client::new(None, 300);
    client.asks_and_waits();
    client.asks_on(45 * 60 - 5, 5);
    let github = &client.w.github;
    // Long enough for the agent to be stopped before the answer is there.
    github.delay(Duration::from_millis(200));
    client.w.pass(5);
    assert!(client.w.at_once(&client.question).is_some(), "the renewal is in the background");
    client.w.go_on_until("the renewal has been asked for", || github.mints() == 2);
    github.wait_for(|journal| journal.iter().all(|request| request.status.is_some()));
    assert_eq!(client.mints(), 2, "and granted");
    github.delay(Duration::ZERO);

    client.w.pass(8 * HOUR);
    client.w.settle();
    client.asks_and_waits();
    client.asks_on(2 * HOUR, 5);
}

#[test]
fn a_wall_clock_that_is_set_makes_no_token_live_longer() {
    for hours in [-2, -1, 1, 2] {
        let mut client = Client::new(None, 300);
        client.asks_and_waits();
        client.asks_on(HOUR / 2, 5);
        set_wall_clock(hours * 60 * 60);
        if hours > 0 {
            // The clock says that the token is over, and it is believed.
            client.asks_and_waits();
        }
        client.asks_on(3 * HOUR, 5);
        let mints = client.mints();
        set_wall_clock(0);
        if hours < 0 {
            client.asks_and_waits();
        }
        client.asks_on(3 * HOUR, 5);
        assert!(client.mints() <= mints + 1 + 3 * HOUR / (45 * 60), "{hours}: it settles");
    }
}

/// Who asks one question all day, and the world it is asked in.
struct Client {
    w: InProcess,
    question: Value,
    /// Seconds that a token must live when it is handed out.
    least: i64,
    token: Option<IssuedToken>,
}

impl Client {
    fn new(min_ttl: Option<u64>, least: u64) -> Self {
        let github = GitHub::start();
        github.add_app(App::new(APP_ID, SLUG).key_pem(KEY));
        github.install(APP_ID, Installation::new(INSTALLATION_ID, "octo").user().repositories(&["hello"]));
        let w = InProcess::new(github);
        assert_eq!(w.request(&add_key(&w.github, APP_ID, KEY))["ok"], true);
        let mut question = json!({"action": "getToken"});
        if let Some(min_ttl) = min_ttl {
            question["minTtl"] = min_ttl.into();
        }
        Self { w, question, least: least.cast_signed(), token: None }
    }

    /// Asks every `step` seconds for so many; the network has its turn between.
    #[track_caller]
    fn asks_on(&mut self, seconds: u64, step: usize) {
        for _ in (0..seconds).step_by(step) {
            self.w.pass(step as u64);
            self.asks();
            self.w.settle();
        }
    }

    /// Asks, and waits for nothing.
    #[track_caller]
    fn asks(&mut self) {
        let answer = self.w.at_once(&self.question);
        self.judge(&answer.unwrap_or_else(|| panic!("whoever asks at {} must wait", true_time())));
    }

    /// Asks, and waits for the network if need be.
    #[track_caller]
    fn asks_and_waits(&mut self) {
        let answer = self.w.request(&self.question);
        self.judge(&answer);
        self.w.settle();
    }

    /// A token is good if GitHub regards it as live, for as long as was asked at least.
    #[track_caller]
    fn judge(&mut self, answer: &Value) {
        let value = answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
        if self.token.as_ref().is_none_or(|token| token.value != value) {
            self.token = self.w.github.tokens().into_iter().find(|token| token.value == value);
        }
        let token = self.token.as_ref().expect("GitHub granted it");
        let life = token.expires - true_time();
        assert!(life >= self.least, "a token with {life} seconds left");
    }

    /// Tokens granted so far.
    fn mints(&self) -> u64 {
        self.w.github.tokens().len() as u64
    }
}

/// When a token is renewed: at the first question after which it has less than ten minutes more than it needs, or less than
/// a quarter of what it had. A second of its life is not counted on, because clocks are read in whole seconds.
fn renewed_after(life: u64, least: u64, step: u64) -> u64 {
    let usable = life - 1 - least;
    let spare = usable - (usable / 4).min(600);
    spare / step * step + step
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
