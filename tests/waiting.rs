//! Who sits at a terminal is told what a wait is for, and the words are gone when it is over; elsewhere nothing is said.

use std::time::Duration;

use crate::support::{APPTOKEN, World};

const NOTICE: &str = "waiting for a token from GitHub";

#[test]
fn a_long_wait_is_explained_on_a_terminal_and_the_words_are_wiped() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(800));
    let terminal = w.command(APPTOKEN).arg("token").on_terminal();
    terminal.expect(NOTICE);
    let token = terminal_token(&terminal);
    let shown = terminal.transcript();
    let (notice, after) = shown.split_once('\r').expect("the cursor goes back to the start of the line");
    assert!(after.trim_start_matches(' ').starts_with('\r'), "{shown:?}");
    let wiped = after.chars().take_while(|letter| *letter == ' ').count();
    assert_eq!(wiped, notice.chars().count(), "every letter is wiped: {shown:?}");
    assert!(shown.ends_with(&format!("\r{token}\r\n")), "{shown:?}");
    assert!(terminal.wait().success());
}

#[test]
fn a_short_wait_and_one_that_no_terminal_sees_say_nothing() {
    let w = World::with_key();
    let terminal = w.command(APPTOKEN).arg("token").on_terminal();
    let token = terminal_token(&terminal);
    assert_eq!(terminal.transcript(), format!("{token}\r\n"));
    assert!(terminal.wait().success());

    w.github.delay(Duration::from_millis(800));
    w.apptoken(["token", "--repo", "octo/hello"]).line();
}

#[test]
fn a_refusal_stands_on_a_line_of_its_own() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(800));
    let terminal = w.command(APPTOKEN).args(["token", "--owner", "nobody"]).on_terminal();
    terminal.expect(NOTICE);
    terminal.expect("hint:");
    assert!(terminal.transcript().contains("\rapptoken: App"), "{:?}", terminal.transcript());
}

#[test]
fn the_words_are_gone_before_another_program_takes_our_place() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(800));
    let terminal = w.command(APPTOKEN).args(["run", "--", "echo", "it runs"]).on_terminal();
    terminal.expect(NOTICE);
    terminal.expect("\rit runs\r\n");
}

/// The token that the terminal shows in the end.
fn terminal_token(terminal: &crate::support::pty::Terminal) -> String {
    terminal.expect("ghs_");
    terminal.expect("\r\n");
    let shown = terminal.transcript();
    let line = shown.trim_end().rsplit('\r').next().expect("there is a line");
    line.to_owned()
}
