//! Many connections at once: how many requests a second.

use std::time::Duration;

use crate::conversation::Conversation;
use crate::options::Options;
use crate::server::Server;
use crate::stage::Stage;
use crate::table::{Amount, Goal, Row};
use crate::turns::{Samples, take_turns, timed};

pub(super) fn measure(options: &Options) -> Vec<Row> {
    let stage = Stage::plain(options);
    let (apptoken, ssh_agent) = (stage.apptoken(), stage.ssh_agent());
    let echo = stage.echo(&apptoken);
    let crowds = [&apptoken, &ssh_agent, &echo].map(Crowd::new);
    let [ours, ssh_agent, echo] = take_turns(options.rounds(ROUNDS), 1, crowds, Crowd::ask).map(|took| rate(&took));

    let what = format!("requests a second, {CONNECTIONS} connections");
    vec![
        Row::new(&what, ours).beside("ssh-agent, list keys", ssh_agent).goal(Goal::TimesAtLeast(1.3)),
        Row::new(&what, ours).beside("bare echo", echo),
    ]
}

/// Connections that all ask before the first of them hears its answer.
struct Crowd<'a> {
    conversations: Vec<Conversation>,
    question: &'a [u8],
}

impl<'a> Crowd<'a> {
    fn new(server: &'a Server) -> Self {
        Self { conversations: (0..CONNECTIONS).map(|_| server.connect()).collect(), question: &server.question }
    }

    fn ask(&mut self) -> Duration {
        let exchange = || {
            for one in &mut self.conversations {
                one.send(self.question);
            }
            for one in &mut self.conversations {
                one.receive();
            }
        };
        timed(exchange).0
    }
}

/// By the median of the rounds, in each of which every connection has one answer.
fn rate(rounds: &Samples) -> Amount {
    Amount::PerSecond(f64::from(CONNECTIONS) / rounds.median().as_secs_f64())
}

const ROUNDS: usize = 1_000;
const CONNECTIONS: u32 = 64;
