//! One request at a time: a cached token, beside a list of keys and beside the bare way there and back.

use std::time::Duration;

use crate::affinity::OneCore;
use crate::conversation::Conversation;
use crate::options::Options;
use crate::server::Server;
use crate::stage::Stage;
use crate::table::{Goal, Row};
use crate::turns::{Samples, take_turns, timed};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    let mut rows = measure_on(options, "", &CORES_FREE);
    let _shared = OneCore::enter();
    rows.extend(measure_on(options, ", on one core", &ONE_CORE));
    rows
}

/// How many times ssh-agent's list of keys, and the bare echo, a cached token may take.
struct Limits {
    new_connection: [Option<f64>; 2],
    open_connection: [Option<f64>; 2],
}

fn measure_on(options: &Options, place: &str, limits: &Limits) -> Vec<Row> {
    let stage = Stage::plain(options);
    let (apptoken, ssh_agent) = (stage.apptoken(), stage.ssh_agent());
    let echo = stage.echo(&apptoken);
    let servers = [&apptoken, &ssh_agent, &echo];
    let rounds = options.rounds(ROUNDS);

    let on_new = take_turns(rounds, IN_A_ROW, servers, |server| timed(|| server.ask()).0);
    let on_open = take_turns(rounds, IN_A_ROW, servers.map(Asker::new), Asker::ask);
    let new = rows(&format!("connect + cached token{place}"), &on_new, limits.new_connection);
    new.into_iter()
        .chain(rows(&format!("cached token, open connection{place}"), &on_open, limits.open_connection))
        .collect()
}

fn rows(what: &str, [ours, ssh_agent, echo]: &[Samples; 3], limits: [Option<f64>; 2]) -> Vec<Row> {
    let [ssh_agent_goal, echo_goal] = limits.map(|limit| limit.map(Goal::TimesAtMost));
    let [median, p99] = Row::of_samples(what, ours, (LIST_KEYS, ssh_agent), ssh_agent_goal);
    let [beside_echo, _] = Row::of_samples(what, ours, ("bare echo", echo), echo_goal);
    vec![median, beside_echo, p99]
}

/// Someone who asks a server its question again and again on one connection.
struct Asker<'a> {
    conversation: Conversation,
    question: &'a [u8],
}

impl<'a> Asker<'a> {
    fn new(server: &'a Server) -> Self {
        Self { conversation: server.connect(), question: &server.question }
    }

    fn ask(&mut self) -> Duration {
        let exchange = || {
            self.conversation.send(self.question);
            self.conversation.receive();
        };
        timed(exchange).0
    }
}

/// What ssh-agent is asked.
const LIST_KEYS: &str = "ssh-agent, list keys";
const ROUNDS: usize = 500;
/// As a script asks: the first request wakes everybody up, those after it find them awake.
const IN_A_ROW: usize = 20;
const CORES_FREE: Limits = Limits { new_connection: [Some(1.0), Some(1.25)], open_connection: [Some(1.0), None] };
const ONE_CORE: Limits = Limits { new_connection: [Some(0.95), Some(1.15)], open_connection: [Some(0.75), Some(1.75)] };
