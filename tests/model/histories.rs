//! What can happen, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;

use super::reference::{Due, Event, Installed, Model, Place, Question, Target, Trouble};
use crate::support::github::{Expiry, Fault};

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Self> {
        let numbers = BTreeMap::from([(1, PLACES[0]), (2, PLACES[1])]);
        let installed = |(number, place): (&u64, &Place)| (*place, Installed::new(*number));
        Just(Self {
            now: 0,
            locked: false,
            keys: BTreeMap::new(),
            tokens: BTreeMap::new(),
            installed: numbers.iter().map(installed).collect(),
            numbers,
            moved: BTreeSet::new(),
            excused_until: 0,
            last: Question { app: None, target: Target::Sole, repositories: &[], contents: None, min_ttl: None },
            left: Vec::new(),
            due: Due::Done,
            mints: 0,
        })
        .boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Event> {
        let (app, place) = (|| select(&[11, 11, 22][..]), || select(&[PLACES[0], PLACES[0], PLACES[1], PLACES[2]][..]));
        let add = (app(), option::weighted(0.3, select(&[600, 4000][..])), any::<bool>());
        // Each lock takes a tenth of a second, and little happens to an agent that lacks the key, or is locked.
        let (without_key, locked) = (u32::from(!model.keys.contains_key(&11)), u32::from(model.locked));
        prop_oneof![
            6 + 200 * without_key => add.prop_map(|(app, lifetime, offline)| Event::Add { app, lifetime, offline }),
            3 => app().prop_map(Event::Remove),
            1 => Just(Event::RemoveAll),
            1 => Just(Event::Lock),
            1 + 40 * locked => Just(Event::Unlock),
            1 + 4 * locked => Just(Event::UnlockWrongly),
            40 => select(&[3, 3, 3, 3, 60, 300, 700, 2000, 4000][..]).prop_map(Event::Pass),
            100 => question(model).prop_map(Event::Ask),
            40 => Just(Event::AskAgain),
            10 => question(model).prop_map(Event::AskAndLeave),
            5 => (trouble(), question(model)).prop_map(|(trouble, question)| Event::AskDespite(trouble, question)),
            3 => place().prop_map(Event::Install),
            5 => place().prop_map(Event::InstallAnew),
            4 => place().prop_map(Event::Suspend),
            4 => place().prop_map(Event::Permit),
        ]
        .boxed()
    }

    fn apply(mut model: Self, event: &Event) -> Self {
        model.meet(event);
        model
    }
}

/// Few enough that many are the same, and mostly of keys that are held.
fn question(model: &Model) -> impl Strategy<Value = Question> + use<> {
    let held = model.keys.keys().flat_map(|app| [Some(*app); 6]);
    let app = select(held.chain([None, Some(11), Some(22)]).collect::<Vec<_>>());
    let target = prop_oneof![
        6 => Just(Target::Sole),
        6 => select(&["octo", "octo", "octo", "octo", "octo", "acme", "nobody"][..]).prop_map(Target::Owner),
        4 => Just(Target::Repo("octo", "hello")),
        1 => select(&[("octo", "tools"), ("octo", "secret"), ("acme", "web")][..])
            .prop_map(|(owner, name)| Target::Repo(owner, name)),
    ];
    let repositories = prop_oneof![6 => Just(&[][..]), 1 => select(NARROWINGS)];
    let contents = option::weighted(0.2, select(&["read", "write"][..]));
    let min_ttl = option::weighted(0.3, select(&[1, 60, 1800, 3000, 3540, 3541][..]));
    (app, target, repositories, contents, min_ttl).prop_map(|(app, target, repositories, contents, min_ttl)| Question {
        app,
        target,
        repositories,
        contents,
        min_ttl,
    })
}

fn trouble() -> impl Strategy<Value = Trouble> {
    // A pause that is too long to be waited for; and of what is tried again little, because that takes time.
    let unwaited = [
        Fault::RetryAfter { status: 429, seconds: 100 },
        Fault::Status(404),
        Fault::Status(422),
        Fault::Html(200),
        Fault::Html(404),
        Fault::EmptyBody,
        Fault::NarrowerPermissions,
        Fault::MissingPermissions,
    ];
    let waited = [Fault::Status(502), Fault::Truncate, Fault::Reset];
    let expiry = [Expiry::Missing, Expiry::Past, Expiry::In(Duration::from_mins(1))];
    prop_oneof![
        5 => select(unwaited.to_vec()).prop_map(Trouble::Fault),
        1 => select(waited.to_vec()).prop_map(Trouble::Fault),
        3 => select(expiry.to_vec()).prop_map(Trouble::Expiry),
    ]
}

/// Where an App may be installed; on the first two it is at the start.
const PLACES: [Place; 3] = [(11, "octo"), (22, "octo"), (11, "acme")];
const NARROWINGS: &[&[&str]] = &[&["hello"], &["tools", "hello"], &["web"]];
