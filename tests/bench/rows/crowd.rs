//! A thousand clients that come at once, while nothing is cached and GitHub takes its time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::conversation::Conversation;
use crate::options::Options;
use crate::process::allow_open_files;
use crate::stage::Stage;
use crate::table::{Amount, Goal, Row};
use crate::turns::timed;

pub(super) fn measure(options: &Options) -> Vec<Row> {
    allow_open_files();
    let stage = Stage::plain(options);
    let apptoken = stage.apptoken();
    stage.github.delay(API_DELAY);

    let (took, answers) = timed(|| {
        let mut clients: Vec<Conversation> = (0..CLIENTS).map(|_| apptoken.connect()).collect();
        for client in &mut clients {
            client.send(&apptoken.question);
        }
        clients.iter_mut().map(|client| client.receive().to_vec()).collect::<BTreeSet<_>>()
    });
    assert_eq!(answers.len(), 1, "all clients have the same answer");

    let (mints, requests) = (stage.github.mints(), stage.github.journal().len());
    vec![
        Row::new(format!("mints for {CLIENTS} clients at once, nothing cached"), Amount::Count(mints))
            .goal(Goal::AtMost(Amount::Count(1)))
            .note(format!(
                "GitHub was asked {requests} times in all, took {API_DELAY:?} each time; all had their answer in {}",
                Amount::Time(took)
            )),
    ]
}

const CLIENTS: usize = 1_000;
/// A slow answer of GitHub's: every client has asked long before it comes.
const API_DELAY: Duration = Duration::from_millis(400);
