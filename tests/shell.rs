//! A person's session, typed into real shells: start, add, list, token, gh, end, with the exit status of each.

use nix::sys::signal::Signal;

use crate::support::agent::is_alive;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APP_ID, APPTOKEN, HOST, NO_OPTIONS, SLUG, World, need};

#[test]
fn a_whole_session_works_in_bash() {
    assert_a_session_works_in("bash");
}

#[test]
fn a_whole_session_works_in_dash() {
    assert_a_session_works_in("dash");
}

fn assert_a_session_works_in(shell: &str) {
    if !need(shell) || !need("gh") {
        return;
    }
    let mut w = World::new().with_gh();
    w.env("API", w.github.url());
    // What eval printed goes to its own file: the process has another number each time.
    let script = r#"
        set -u
        eval "$(apptoken-agent -s)" >agent
        agent=$APPTOKEN_AGENT_PID
        apptoken list;                                                  echo "empty list: $?"
        apptoken add key.pem --app-id 123456 --host github.localhost --api-url "$API" 2>&1; echo "add: $?"
        apptoken list | cut -d' ' -f1,3-;                               echo "list: $?"
        token=$(apptoken token);                                        echo "token: $? ${#token}"
        apptoken gh api rate_limit --jq .resources.core.used >/dev/null; echo "gh: $?"
        apptoken gh api no/such/route >/dev/null 2>&1;                  echo "gh's own failure: $?"
        apptoken run -- sh -c 'exit 37';                                echo "a command's own status: $?"
        apptoken run -- /no/such/command 2>/dev/null;                   echo "a missing command: $?"
        apptoken run -- /dev/null 2>/dev/null;                          echo "no command: $?"
        apptoken no-such-verb 2>/dev/null;                              echo "usage: $?"
        apptoken remove "$agent" 2>/dev/null;                           echo "no such key: $?"
        apptoken remove --all 2>&1;                                     echo "remove: $?"
        apptoken token 2>/dev/null;                                     echo "no key: $?"
        eval "$(apptoken-agent -k -s)" >killed;                         echo "end: $?"
        echo "${APPTOKEN_AUTH_SOCK-unset} ${APPTOKEN_AGENT_PID-unset}"
        apptoken token 2>/dev/null;                                     echo "no agent: $?"
        test "$(cat agent killed)" = "Agent pid $agent
Agent pid $agent killed" && echo "the same agent"
    "#;
    let expected = format!(
        "The agent has no identities.\n\
         empty list: 1\n\
         Identity added: {SLUG} (App {APP_ID} on {HOST})\n\
         add: 0\n\
         2048 {SLUG} (App {APP_ID} on {HOST})\n\
         list: 0\n\
         token: 0 40\n\
         gh: 0\n\
         gh's own failure: 1\n\
         a command's own status: 37\n\
         a missing command: 127\n\
         no command: 126\n\
         usage: 64\n\
         no such key: 1\n\
         All identities removed.\n\
         remove: 0\n\
         no key: 1\n\
         end: 0\n\
         unset unset\n\
         no agent: 2\n\
         the same agent\n"
    );
    w.shell(shell, script).stdout(expected).ok();
}

/// The rule of the README's first line: `.bashrc` stops at the first failure of nothing.
#[test]
fn the_lines_run_under_the_strictest_settings_and_print_only_the_echo() {
    for (shell, options) in [("bash", "-euo pipefail"), ("dash", "-eu"), ("zsh", "-eu")] {
        if !need(shell) {
            continue;
        }
        let w = World::new();
        let script = format!("set {options}; eval \"$(apptoken-agent -s)\"; echo \"$APPTOKEN_AGENT_PID\"");
        let said = w.shell(shell, &script).text();
        let [echo, pid] = said.lines().collect::<Vec<_>>()[..] else { panic!("{shell}: {said}") };
        assert_eq!(echo, format!("Agent pid {pid}"), "{shell}");
    }
}

#[test]
fn tcsh_can_eval_the_lines_for_c_shells() {
    if !need("tcsh") {
        return;
    }
    let w = World::new();
    let script = "eval `apptoken-agent -c`; apptoken list; echo $status; eval `apptoken-agent -k -c`";
    let said = w.command("tcsh").args(["-f", "-c", script]).run().text();
    let lines: Vec<_> = said.lines().collect();
    let [started, list, status, killed] = lines[..] else { panic!("{said}") };
    assert_eq!((list, status), ("The agent has no identities.", "1"));
    assert_eq!(killed, format!("{started} killed"));
}

#[test]
fn everything_that_needs_an_agent_says_that_there_is_none_and_exits_2() {
    let mut w = World::new();
    for verb in [&["list"][..], &["token"], &["remove", "--all"], &["installations"], &["status"]] {
        w.apptoken(verb).fails(2, ["agent", "apptoken-agent"]);
    }
    w.add_key(NO_OPTIONS).fails(2, ["agent"]);
    w.apptoken(["gh", "api", "user"]).fails(2, ["agent"]);
    w.apptoken(["run", "--", "touch", "ran"]).fails(2, ["agent"]);
    assert!(!w.path("home/ran").exists(), "without a token the command is not run");

    w.env("APPTOKEN_AUTH_SOCK", w.path("no/such/socket"));
    w.apptoken(["list"]).fails(2, ["agent"]);
    w.env("APPTOKEN_AUTH_SOCK", w.file("a-file", ""));
    w.apptoken(["list"]).fails(2, ["agent"]);
}

#[test]
fn a_dead_agent_is_no_agent() {
    let w = World::with_agent();
    w.signal(Signal::SIGKILL);
    let pid = w.pid();
    wait_until("it is dead", DEADLINE, || !is_alive(pid));
    w.apptoken(["list"]).fails(2, ["agent"]);
}

#[test]
fn usage_errors_exit_64_and_help_and_version_exit_0() {
    let w = World::new();
    for wrong in
        [&["--no-such-option"][..], &["no-such-verb"], &["token", "--repo", "not a repo"], &["remove"], &["run"], &[]]
    {
        w.apptoken(wrong).stderr_contains("apptoken").exit(64);
    }
    w.apptoken(["token", "--permissions", "contents=sideways"]).stderr_contains("--permissions").exit(64);
    w.apptoken(["add", "--app-id", "an App", "key.pem"]).stderr_contains("app-id").exit(64);
    for program in [APPTOKEN, AGENT] {
        assert!(w.command(program).arg("--help").run().text().contains("Usage"));
        assert!(w.command(program).arg("--version").run().line().ends_with(env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let w = World::with_key();
    w.shell("bash", "set -o pipefail; (apptoken list; echo $? >status) | true").ok();
    let status = std::fs::read_to_string(w.path("home/status")).expect("the shell wrote it");
    assert_eq!(status, "0\n");
    w.shell("bash", "apptoken list >/dev/full").stderr_contains("apptoken: ").exit(1);
}

#[test]
fn a_token_for_a_closed_stdout_is_an_error() {
    let w = World::with_key();
    for closed in ["apptoken token >&-", "apptoken token --json >&-", "apptoken token >&- <&-"] {
        w.shell("bash", closed).fails(1, ["standard output is closed", ">/dev/null"]);
    }
    assert_eq!(w.github.mints(), 0, "no token is minted to be lost");
    for discarded in ["apptoken token >/dev/null", "apptoken token >>/dev/null", "apptoken token <&- >/dev/null"] {
        w.shell("bash", discarded).ok();
    }
    // A daemon's streams.
    w.shell("bash", "apptoken token 1<>/dev/null 2>&1").ok();
}
