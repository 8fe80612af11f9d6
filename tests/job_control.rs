//! On a terminal, `apptoken gh` is stopped, continued and ended as gh is, because it is gh by then; and a pipe that is closed
//! is no news to anybody.

use std::time::Duration;

use crate::support::pty::{Key, Terminal};
use crate::support::{World, need};

#[test]
fn control_z_fg_and_control_c_are_ghs() {
    if !need("bash") {
        return;
    }
    let mut w = World::with_key();
    // Each line is said when it is true, so that nothing is typed too early.
    let gh = w.script("gh", "trap 'echo interrupted; exit 130' INT\necho ready\nwhile :; do read -r line; done");
    w.env("APPTOKEN_GH", gh);
    let mut terminal = interactive_bash(&w);
    for program in ["apptoken gh pr list", "./gh pr list"] {
        terminal.type_line(&format!("{program}; echo \"status $?\""));
        terminal.expect_next("ready\r\n");
        terminal.press(Key::CtrlZ);
        terminal.expect_next("Stopped");
        terminal.expect_next("status 148");
        terminal.type_line("fg; echo \"in the end $?\"");
        terminal.expect_next("gh pr list");
        terminal.press(Key::CtrlC);
        terminal.expect_next("interrupted\r\n");
        terminal.expect_next("in the end 130");
    }
}

#[test]
fn control_c_while_a_token_is_waited_for_ends_the_command_and_runs_nothing() {
    let mut w = World::with_key();
    w.github.delay(Duration::from_secs(20));
    let gh = w.script("gh", "touch ran");
    w.env("APPTOKEN_GH", gh);
    let mut terminal = interactive_bash(&w);
    terminal.type_line("apptoken gh pr list");
    terminal.expect_next("waiting for a token");
    terminal.press(Key::CtrlC);
    terminal.expect_next("READY$ ");
    terminal.type_line("echo \"status $?\"");
    terminal.expect_next("status 130");
    assert!(!w.path("home/ran").exists());
}

#[test]
fn a_pipe_that_is_closed_early_is_no_news() {
    let w = World::with_key();
    for command in
        ["token", "token --json", "list", "list --json", "status", "status --json", "installations", "whoami", "--help"]
    {
        let script = format!("apptoken {command} | head -c 4 >/dev/null; apptoken {command} | exec true");
        w.shell("sh", &script).ok();
    }
    w.shell("sh", "apptoken-agent -s --help | exec true").ok();
    w.shell("sh", "apptoken token 2>&1 >/dev/full").stdout_contains("cannot write to standard output").exit(1);
}

fn interactive_bash(w: &World) -> Terminal {
    let terminal = w.command("bash").args(["--norc", "--noprofile", "-i"]).env("PS1", "READY$ ").on_terminal();
    terminal.expect("READY$ ");
    terminal
}
