//! `apptoken run -- CMD…` is the command, with a token in its environment and nothing of ours around it.

use nix::sys::signal::Signal;

use crate::support::pty::Key;
use crate::support::{APPTOKEN, World};

#[test]
fn the_command_has_the_token_where_programs_look_for_it() {
    let mut w = World::with_key();
    w.env("GH_TOKEN", "ghs_stale");
    w.env("GITHUB_TOKEN", "ghs_stale");
    let said = w.apptoken(["run", "--", "sh", "-c", "echo $GH_TOKEN; echo $GITHUB_TOKEN"]).text();
    let token = &w.github.tokens()[0].value;
    assert_eq!(said, format!("{token}\n{token}\n"));
}

#[test]
fn other_variables_can_be_named() {
    let w = World::with_key();
    let said = w.apptoken(["run", "--env", "NPM_TOKEN", "--env", "OTHER", "--", "sh", "-c", "echo $NPM_TOKEN $OTHER"]);
    let token = w.github.tokens()[0].value.clone();
    said.stdout(format!("{token} {token}\n")).ok();
    w.apptoken(["run", "--env", "A=B", "--", "true"]).stderr_contains("variable").exit(64);
    w.apptoken(["run", "--env", "", "--", "true"]).stderr_contains("variable").exit(64);
}

#[test]
fn the_token_can_be_narrowed() {
    let w = World::with_key();
    w.apptoken(["--repo", "octo/hello", "run", "--", "true"]).ok();
    assert_eq!(w.github.tokens()[0].repositories, Some(vec!["hello".to_owned()]));
}

#[test]
fn its_arguments_input_status_and_signal_are_its_own() {
    let w = World::with_key();
    let args = ["--help", "-x", "a b", "", "*", "--"];
    let printf = w.command(APPTOKEN).args(["run", "--", "printf", "<%s>"]).args(args).run();
    printf.stdout(args.map(|arg| format!("<{arg}>")).concat()).ok();
    w.command(APPTOKEN).args(["run", "--", "cat"]).stdin("typed").run().stdout("typed").ok();
    w.apptoken(["run", "--", "sh", "-c", "echo oops >&2; exit 37"]).stderr("oops\n").exit(37);
    w.apptoken(["run", "--", "sh", "-c", "kill -INT $$"]).ended_by(Signal::SIGINT);
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn it_takes_our_place_and_no_process_of_ours_stays_behind() {
    let w = World::with_key();
    let script = r#"echo "pid $$ parent $PPID"; exec sleep 60"#;
    let running = w.command(APPTOKEN).args(["run", "--", "sh", "-c", script]).start();
    running.expect_stdout(&format!("pid {} parent {}\n", running.pid(), std::process::id()));
}

#[test]
fn what_cannot_be_run_is_126_or_127() {
    let w = World::with_key();
    w.apptoken(["run", "--", "no-such-command"]).fails(127, ["no-such-command"]);
    w.apptoken(["run", "--", "./no/such/command"]).fails(127, ["./no/such/command"]);
    w.apptoken(["run", "--", "./key.pem"]).fails(126, ["./key.pem"]);
    w.apptoken(["run", "--", "/"]).fails(126, []);
}

#[test]
fn without_a_token_it_is_not_run() {
    let w = World::with_agent();
    w.apptoken(["run", "--", "touch", "ran"]).fails(1, ["key"]);
    assert!(!w.path("home/ran").exists());
}

#[test]
fn signals_that_we_were_told_to_ignore_stay_ignored_and_others_work() {
    let w = World::with_key();
    // A writer whose reader goes must end by SIGPIPE, which Rust's runtime ignores for itself.
    w.shell("bash", "apptoken run -- yes | head -n 1; exit ${PIPESTATUS[0]}").stdout("y\n").exit(141);
    w.shell("bash", "trap '' INT; apptoken run -- sh -c 'kill -INT $$; echo still here'").stdout("still here\n").ok();
}

#[test]
fn the_terminal_is_the_commands() {
    let w = World::with_key();
    let script =
        "test -t 0 && test -t 1 && test -t 2 && echo a terminal; read -r line; echo \"read $line\"; exec sleep 60";
    let mut terminal = w.command(APPTOKEN).args(["run", "--", "sh", "-c", script]).on_terminal();
    terminal.expect("a terminal");
    terminal.type_line("a word");
    terminal.expect("read a word");
    terminal.press(Key::CtrlC);
    assert!(!terminal.wait().success());
}

#[test]
fn the_command_does_not_hold_our_connection_to_the_agent() {
    let w = World::with_key();
    let list = ["sh", "-c", "find /proc/self/fd -lname 'socket:*' | wc -l"];
    let without_us = w.command(list[0]).args(&list[1..]).run().line();
    assert_eq!(w.apptoken(["run", "--"].iter().chain(&list)).line(), without_us);
}
