//! Stored keys are loaded when they are wanted: by `add`, by `daemon start`, and by the command that misses them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::init::{PASSPHRASE, init, shell, stored, with_passphrase, world};
use crate::support::github::{App, Installation};
use crate::support::pty::Key;
use crate::support::run::Run;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, HOST, NO_OPTIONS, OTHER_KEY, SLUG, World, need};

#[test]
fn add_without_a_file_loads_what_is_stored() {
    let w = with_stored_key();
    let w = with_agent(w);
    let added = with_passphrase(&w, PASSPHRASE, &["add", "-t", "1h"]).run();
    added.stderr(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\nLifetime set to 1h\n")).ok();
    w.apptoken(["token"]).line();
}

#[test]
fn add_without_a_file_and_nothing_stored_says_what_to_do() {
    let w = World::with_agent();
    w.apptoken(["add"]).stderr_contains("no key is stored").stderr_contains("apptoken init").exit(1);
}

#[test]
fn a_wrong_passphrase_is_asked_for_again_three_times_in_all() {
    let w = with_agent(with_stored_key());
    let mut shell = shell(&w);
    shell.type_line("apptoken add; echo \"status $?\"");
    for _ in 0..2 {
        shell.expect_next(&format!("Passphrase for {SLUG}: "));
        shell.type_hidden("hunter2");
        shell.expect_next(&format!("apptoken: {SLUG}: "));
        shell.expect_next("; try again");
    }
    shell.expect_next(&format!("Passphrase for {SLUG}: "));
    shell.type_hidden("hunter2");
    shell.expect_next("status 1");
    shell.type_line("apptoken add; echo \"status $?\"");
    shell.expect_next("Passphrase for");
    shell.type_hidden("hunter2");
    shell.expect_next("try again");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("Identity added: ");
    shell.expect_next("status 0");
    assert!(!shell.transcript().contains("hunter2"), "{}", shell.transcript());
    let wrong = with_passphrase(&w, "hunter2", &["add"]).run();
    wrong.stderr_contains(format!("apptoken: {SLUG}: ")).exit(1);
}

#[test]
fn one_passphrase_is_tried_on_each_key_and_others_are_asked_for() {
    let w = with_second_app(with_stored_key());
    w.file("other.pem", OTHER_KEY);
    let store = |name: &str, passphrase: &str| {
        let args = ["init", "other.pem", "--app-id", "777", "--name", name];
        with_passphrase(&w, passphrase, &args).run().stderr_contains("Stored").ok();
    };
    store("same", PASSPHRASE);
    let w = with_agent(w);
    let mut terminal = shell(&w);
    terminal.type_line("apptoken add; echo \"status $?\"");
    terminal.expect_next(&format!("Passphrase for {SLUG}: "));
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next(&format!("Identity added: {SLUG}"));
    terminal.expect_next("Identity added: same");
    terminal.expect_next("status 0");
    drop(terminal);

    fs::remove_file(stored(&w, "same")).expect("it is stored");
    with_passphrase(&w, "another", &["init", "other.pem", "--app-id", "777", "--name", "other"])
        .run()
        .stderr_contains("Stored")
        .ok();
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    let mut terminal = shell(&w);
    terminal.type_line("apptoken add; echo \"status $?\"");
    terminal.expect_next(&format!("Passphrase for {SLUG}: "));
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next(&format!("Identity added: {SLUG}"));
    terminal.expect_next("Passphrase for other: ");
    terminal.type_hidden("another");
    terminal.expect_next("Identity added: other");
    terminal.expect_next("status 0");
    // From a script one is all that there is; what it opens is loaded.
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    let run = with_passphrase(&w, "another", &["add"]).run();
    run.stderr_contains("Identity added: other").stderr_contains(format!("apptoken: {SLUG}: ")).exit(1);
}

#[test]
fn the_daemon_is_started_told_of_and_stopped() {
    let w = with_stored_key();
    w.apptoken(["daemon", "status"]).stderr_contains("no agent can be reached").exit(2);
    w.apptoken(["daemon", "stop"]).stderr_contains("no agent can be reached").exit(2);
    w.apptoken(["daemon", "dance"]).stderr_contains("start, stop or status").exit(64);
    let started = with_passphrase(&w, PASSPHRASE, &["daemon", "start"]).run();
    started.stderr_contains("Agent pid ").stderr_contains(format!("Identity added: {SLUG}")).ok();
    let agents = w.sockets();
    assert_eq!(agents.len(), 1, "{agents:?}");
    // What is loaded already is not asked for.
    w.apptoken(["daemon", "start"]).stderr_contains("Agent pid ").ok();
    assert_eq!(w.sockets(), agents);
    assert!(w.apptoken(["daemon", "status"]).line().ends_with(", 1 key"));
    w.apptoken(["token"]).line();
    with_passphrase(&w, "hunter2", &["lock"]).run().stderr_contains("Agent locked.").ok();
    assert!(w.apptoken(["daemon", "status"]).line().ends_with(", locked"));
    w.apptoken(["daemon", "start"]).stderr_contains("the agent is locked").exit(1);
    w.apptoken(["daemon", "stop"]).stderr_contains(" ended.").ok();
    assert!(w.sockets().is_empty());
    w.apptoken(["daemon", "status"]).stderr_contains("no agent can be reached").exit(2);
}

#[test]
fn the_agent_that_the_environment_names_is_the_one_that_is_stopped() {
    let w = with_agent(world());
    let named = w.pid().to_string();
    let other = w.agent(["--new", "-s"]).text();
    assert!(!other.contains(&named), "{other}");
    w.apptoken(["daemon", "stop"]).stderr(format!("Agent pid {named} ended.\n")).ok();
}

#[test]
fn a_command_at_a_terminal_starts_the_agent_and_loads_the_key() {
    if !need("git") {
        return;
    }
    for (command, shows) in [
        ("apptoken token | wc -c", "\n41\r\n"),
        ("apptoken token --json", "\"account\": \"octo\""),
        ("apptoken run -- sh -c 'echo ${#GH_TOKEN}'", "\n40\r\n"),
        ("apptoken run --as-bot -- sh -c 'echo $GIT_AUTHOR_NAME'", "acme-deployer[bot]"),
        ("apptoken git --version", "git version"),
    ] {
        let w = with_stored_key();
        let mut shell = shell(&w);
        shell.type_line(command);
        shell.expect_next(&format!("Passphrase for {SLUG}: "));
        shell.type_hidden(PASSPHRASE);
        shell.expect_next("Identity added");
        shell.expect_next(shows);
        shell.type_line(&format!("{command}; echo \"status $?\""));
        shell.expect_next(shows);
        shell.expect_next("status 0");
        assert_eq!(shell.transcript().matches("Passphrase").count(), 1, "{}", shell.transcript());
        w.apptoken(["daemon", "stop"]).stderr_contains("ended").ok();
    }
}

#[test]
fn an_agent_without_the_key_is_given_it() {
    let w = with_agent(with_stored_key());
    let mut shell = shell(&w);
    shell.type_line("apptoken token | wc -c");
    shell.expect_next(&format!("Passphrase for {SLUG}: "));
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("\n41\r\n");
}

#[test]
fn nothing_is_started_without_a_terminal_or_a_stored_key_or_against_a_no() {
    let w = with_stored_key();
    w.apptoken(["token"]).stderr_contains("no agent can be reached").exit(2);
    let mut terminal = shell(&w);
    for command in ["apptoken token --no-start", "apptoken --no-start run -- true", "apptoken --no-start git status"] {
        terminal.type_line(&format!("{command}; echo \"status $?\""));
        terminal.expect_next("apptoken: no agent can be reached");
        terminal.expect_next("status 2");
    }
    for command in ["apptoken list", "apptoken status", "apptoken installations", "apptoken lock"] {
        terminal.type_line(&format!("{command}; echo \"status $?\""));
        terminal.expect_next("status 2");
    }
    assert!(w.sockets().is_empty());

    let w = world();
    let mut terminal = shell(&w);
    terminal.type_line("apptoken token; echo \"status $?\"");
    terminal.expect_next("apptoken: no agent can be reached");
    terminal.expect_next("status 2");
    assert!(w.sockets().is_empty());
}

#[test]
fn who_does_not_know_the_passphrase_gets_no_token_and_hears_it_once() {
    let w = with_stored_key();
    let mut shell = shell(&w);
    shell.type_line("apptoken run -- touch ran; echo \"status $?\"");
    for _ in 0..3 {
        shell.expect_next("Passphrase for");
        shell.type_hidden("hunter2");
    }
    shell.expect_next("status 1");
    assert!(!w.path("home/ran").exists());
    assert!(!shell.transcript().contains("no agent"), "{}", shell.transcript());
}

#[test]
fn what_is_remembered_of_a_key_need_not_be_said_again() {
    let w = with_stored_key();
    let mut w = with_agent(w);
    for name in ["APPTOKEN_HOST", "APPTOKEN_API_URL"] {
        w.env_remove(name);
    }
    let added = w.apptoken(["add", "key.pem"]);
    added.stderr(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\n")).ok();
    // What the command line says comes first, and the environment last.
    let said = w.apptoken(["add", "key.pem", "--app-id", "1", "--offline"]);
    said.stderr_contains(format!("(App 1 on {HOST})")).ok();
    w.env("APPTOKEN_APP_ID", "999");
    w.apptoken(["add", "key.pem"]).stderr_contains(format!("(App {APP_ID} on {HOST})")).ok();
    w.env_remove("APPTOKEN_APP_ID");
    w.apptoken(["add", "key.pem", "--host", HOST]).stderr_contains(format!("(App {APP_ID} on {HOST})")).ok();
    // Nothing is remembered of another, and there is nobody to ask.
    w.file("other.pem", OTHER_KEY);
    w.apptoken(["add", "other.pem"]).stderr_contains("the App ID is not known").exit(64);
}

#[test]
fn a_stored_file_that_cannot_be_used_keeps_no_other_from_being_loaded() {
    let w = with_agent(with_stored_key());
    nix::unistd::mkfifo(&stored(&w, "a-pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a new pipe");
    fs::write(stored(&w, "b-nonsense"), "nonsense").expect("it can be written");
    let run = with_passphrase(&w, PASSPHRASE, &["add"]).run();
    run.stderr_contains("a-pipe").stderr_contains("b-nonsense").stderr_contains("Identity added").exit(1);
    w.apptoken(["token"]).line();
}

#[test]
fn an_agent_that_nobody_would_find_is_not_started() {
    let w = with_stored_key();
    fs::write(w.path("run/apptoken"), "in the way").expect("nothing is there");
    let started = with_passphrase(&w, PASSPHRASE, &["daemon", "start"]).run();
    started.stderr_contains("no command would find the agent").stderr_contains("hint: ").exit(1);
    assert!(w.sockets().is_empty());
}

#[test]
fn a_job_in_the_background_is_not_stopped_by_a_question() {
    let w = with_stored_key();
    let mut shell = shell(&w);
    shell.type_line("apptoken token >token 2>said & wait $!; echo \"status $?\"");
    shell.expect_next("status 2");
    assert!(w.sockets().is_empty());
}

#[test]
fn control_c_at_the_question_ends_the_command_that_made_it() {
    let w = with_stored_key();
    let script = "trap : INT; apptoken run -- touch ran; echo \"ended with $?\"; read -r line";
    let mut terminal = w.command("bash").args(["-c", script]).on_terminal();
    terminal.expect_next("Passphrase for");
    wait_until("it is not shown", DEADLINE, || !terminal.echoes());
    terminal.press(Key::CtrlC);
    terminal.expect_next("ended with 130");
    assert!(terminal.echoes() && !w.path("home/ran").exists());
}

#[test]
fn keys_that_are_held_decide_and_stored_ones_are_not_asked_for() {
    let w = with_agent(with_stored_key());
    with_passphrase(&w, PASSPHRASE, &["add"]).run().stderr_contains("Identity added").ok();
    let mut shell = shell(&w);
    shell.type_line("apptoken --app typo token; echo \"status $?\"");
    shell.expect_next("apptoken: no key for that App or host is loaded");
    shell.expect_next("status 1");
}

#[test]
fn what_others_can_read_is_warned_about_with_the_command_that_mends_it() {
    let w = with_agent(with_stored_key());
    let file = stored(&w, SLUG);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let run = with_passphrase(&w, PASSPHRASE, &["add"]).run();
    let warned = run.stderr_contains("others can read").stderr_contains(format!("hint: chmod 600 {}", file.display()));
    warned.stderr_contains("Identity added").ok();
}

#[test]
fn a_sealed_file_is_added_like_any_other() {
    let w = with_agent(with_stored_key());
    let copy = w.file("copy.key", fs::read(stored(&w, SLUG)).expect("it is stored"));
    fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let run = with_passphrase(&w, PASSPHRASE, &["add", "copy.key"]).run();
    run.stderr(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\n")).ok();
}

#[test]
fn a_damaged_config_is_told_with_its_place_and_nothing_is_asked() {
    let w = with_agent(with_stored_key());
    let config = w.path("config/apptoken/config.toml");
    let text = fs::read_to_string(&config).expect("it is there");
    fs::write(&config, text.replace("app-id = ", "app-id = = ")).expect("it is ours");
    let told: Run = with_passphrase(&w, PASSPHRASE, &["add"]).run();
    told.stderr_contains("config.toml, line 3, column 10").stderr_contains("hint: ").exit(1);
    fs::write(&config, format!("color = 1\n{text}")).expect("it is ours");
    let warned = with_passphrase(&w, PASSPHRASE, &["add"]).run();
    warned.stderr_contains("config.toml, line 1: `color` is not known").stderr_contains("Identity added").ok();
}

fn with_stored_key() -> World {
    let w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    wait_until("the agent of init has ended", DEADLINE, || w.sockets().is_empty());
    w
}

fn with_agent(mut w: World) -> World {
    w.start_agent(NO_OPTIONS);
    w
}

/// Another App, 777, whose key is the other one.
fn with_second_app(w: World) -> World {
    w.github.add_app(App::new(777, "second").owner("octo").key_pem(OTHER_KEY));
    w.github.install(777, Installation::new(7001, "octo").user());
    w
}
