//! The shells complete the words of both programs, with names from a live agent and none from a dead one.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::generated::{commit, committed, files};
use crate::support::github::Installation;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, SLUG, World, need};

#[test]
fn completions_manuals_and_readme_are_what_the_command_lines_say() {
    for (name, text) in files() {
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            commit(name, &text);
        }
        assert!(committed(name) == text, "{name} is not up to date: UPDATE_GENERATED=1 cargo test completions");
    }
}

#[test]
fn the_program_prints_the_files_of_both_programs() {
    let w = World::new();
    for (shell, ours, agents) in [
        ("bash", "apptoken.bash", "apptoken-agent.bash"),
        ("zsh", "_apptoken", "_apptoken-agent"),
        ("fish", "apptoken.fish", "apptoken-agent.fish"),
    ] {
        let both = [ours, agents].map(|name| committed(&format!("completions/{name}"))).concat();
        w.apptoken(["completions", shell]).stdout(both).ok();
    }
    w.apptoken(["completions", "tcsh"]).fails(64, ["bash", "zsh", "fish"]);
}

/// Words before the cursor, the last one perhaps half, and what is offered for that in every shell.
const LINES: [(&[&str], &[&str]); 21] = [
    (&["apptoken", "re"], &["remove", "revoke"]),
    (&["apptoken", "stat"], &["status"]),
    (&["apptoken", "--app", "x", "stat"], &["status"]),
    (&["apptoken", "--inst"], &["--installation-id"]),
    (&["apptoken", "token", "--inst"], &["--installation-id"]),
    (&["apptoken", "token", "--j"], &["--json"]),
    (&["apptoken", "list", "--inst"], &[]),
    (&["apptoken", "list", "re"], &[]),
    (&["apptoken", "add", "ke"], &["key.pem"]),
    (&["apptoken", "completions", ""], &["bash", "fish", "zsh"]),
    (&["apptoken", "help", "pro"], &["protocol"]),
    (&["apptoken", "help", "inst"], &["installations"]),
    (&["apptoken", "run", "setsi"], &["setsid"]),
    (&["apptoken", "run", "--env", "x", "cat", "ke"], &["key.pem"]),
    (&["apptoken", "run", "cat", "--inst"], &[]),
    (&["apptoken", "token", "--permissions", ""], &[]),
    (&["apptoken-agent", "--au"], &["--audit-log"]),
    (&["apptoken-agent", "--shell", ""], &["csh", "fish", "sh"]),
    (&["apptoken-agent", "--audit-log", "ke"], &["key.pem"]),
    (&["apptoken-agent", "cat", "ke"], &["key.pem"]),
    (&["apptoken-agent", "--stay"], &[]),
];

/// The same for names that an agent knows.
const NAMES: [(&[&str], &[&str]); 6] = [
    (&["apptoken", "--app", ""], &[SLUG]),
    (&["apptoken", "remove", "acme"], &[SLUG]),
    (&["apptoken", "token", "--host", ""], &[HOST]),
    (&["apptoken", "--owner", ""], &["octo"]),
    (&["apptoken", "--repo", "octo/"], &["octo/hello"]),
    (&["apptoken", "token", "--repo", "o"], &["octo/hello"]),
];

#[test]
fn bash_completes_commands_options_and_names() {
    assert_completes(bash);
}

#[test]
fn zsh_completes_commands_options_and_names() {
    if need("zsh") {
        assert_completes(zsh);
    }
}

/// As the package has it.
#[test]
fn zsh_finds_the_files_in_a_directory_of_its_own() {
    if !need("zsh") {
        return;
    }
    let w = World::with_key();
    let completions = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");
    let setup = format!("fpath=('{completions}' $fpath); {COMPINIT}; : >TMP/said");
    for (line, words) in [
        (&["apptoken", "stat"][..], "status"),
        (&["apptoken", "--app", ""], SLUG),
        (&["apptoken-agent", "--au"], "--audit-log"),
    ] {
        assert_eq!(zsh_with(&w, &setup, line), [words], "{line:?}");
    }
}

#[test]
fn fish_completes_commands_options_and_names() {
    if need("fish") {
        assert_completes(fish);
    }
}

#[track_caller]
fn assert_completes(offered: Offered) {
    let w = World::with_key();
    assert!(w.apptoken(["token", "--repo", "octo/hello"]).line().starts_with("ghs_"));
    for (line, words) in LINES.iter().chain(&NAMES) {
        assert_eq!(offered(&w, "", line), *words, "{line:?}");
    }
}

#[test]
fn without_an_agent_no_name_is_offered_and_nothing_is_said() {
    for (shell, offered) in shells() {
        let w = World::new();
        for (line, _) in NAMES {
            assert_eq!(offered(&w, "", line), [""; 0], "{shell}: {line:?}");
        }
    }
}

#[test]
fn an_agent_that_does_not_answer_or_is_locked_is_given_up_in_silence() {
    let w = World::with_key();
    w.signal(Signal::SIGSTOP);
    // Any other command waits for two minutes; the test, for half of one.
    w.apptoken(["words", "keys"]).ok();
    w.signal(Signal::SIGCONT);
    w.apptoken(["words", "keys"]).stdout(format!("{SLUG}\n")).ok();
    w.apptoken(["words", "tokens"]).ok();
    w.request(&json!({"action": "lock", "passphrase": "hunter2"}));
    w.apptoken(["words", "keys"]).ok();
}

#[test]
fn what_another_program_completes_it_completes() {
    let setup = [
        ("bash", "_command_offset() { [[ $1 == 1 && ${COMP_WORDS[$1]} == gh ]] && COMPREPLY=(issue); }"),
        ("zsh", "_gh() { [[ $words == 'gh is' ]] && compadd issue }; compdef _gh gh"),
        ("fish", "complete -c gh -f -a issue"),
    ];
    for ((shell, offered), (_, setup)) in shells().into_iter().zip(setup) {
        let w = World::new();
        assert_eq!(offered(&w, setup, &["apptoken", "gh", "is"]), ["issue"], "{shell}");
    }
}

#[test]
fn only_plain_words_come_from_the_agent() {
    let w = World::with_agent();
    w.github.install(APP_ID, Installation::new(INSTALLATION_ID, "$(touch x)").all(&["hello"]));
    w.add_key(["--installation-id", "1001"]).stderr_contains("Identity added").ok();
    assert!(w.apptoken(["token"]).line().starts_with("ghs_"));
    let status = w.apptoken(["status", "--json"]).json();
    // The agent itself says no name that is none; the client would offer no word that is not plain.
    assert_eq!(status["tokens"][0]["account"], "");
    w.apptoken(["words", "owners"]).ok();
}

#[test]
fn no_shell_evaluates_a_word_that_is_offered() {
    for (shell, offered) in shells() {
        let mut w = World::new();
        w.script("apptoken", &format!(r#"test "$1" = words && exec cat "$HOME/names"; exec {APPTOKEN} "$@""#));
        w.file("names", HOSTILE);
        let ours_first = std::env::join_paths([w.path("home")].into_iter().chain(std::env::split_paths(&path(&w))));
        w.env("PATH", ours_first.expect("no directory has a colon"));
        let words = offered(&w, "", &["apptoken", "--app", ""]);
        assert!(words.iter().any(|word| word == "plain"), "{shell}: {words:?}");
        assert!(!w.path("home/pwned").exists(), "{shell}: {words:?}");
    }
}

const HOSTILE: &str =
    "plain\n$(touch pwned)\n`touch pwned`\n;touch pwned\n${x:=$(touch pwned)}\n'$(touch pwned)\n*\n-x\n";

fn path(w: &World) -> std::ffi::OsString {
    w.shell("sh", r#"printf %s "$PATH""#).text().into()
}

/// Where readline splits a line, and what a person sees.
#[test]
fn a_tab_in_bash_completes_what_is_typed() {
    let mut w = World::with_key();
    w.env("PS1", "ready> ");
    let mut terminal = w.command("bash").args(["--norc", "--noprofile", "-i"]).on_terminal();
    terminal.expect("ready> ");
    terminal.type_line("eval \"$(apptoken completions bash)\"");
    terminal.type_line("apptoken installat\t--help");
    terminal.expect("Usage: apptoken installations");
    terminal.type_line("apptoken --app=acme\tlist");
    terminal.expect(&format!("(App {APP_ID} on {HOST})"));
    terminal.expect(&format!("--app={SLUG} list"));
}

/// What a shell offers at the end of a line, sorted; it must not say a word on stderr. `setup` runs before.
type Offered = fn(w: &World, setup: &str, line: &[&str]) -> Vec<String>;

/// Those that are there.
fn shells() -> Vec<(&'static str, Offered)> {
    let all: [(_, Offered); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];
    all.into_iter().filter(|(shell, _)| need(shell)).collect()
}

fn bash(w: &World, setup: &str, line: &[&str]) -> Vec<String> {
    let script = format!(
        r#"set -u
        {setup}
        eval "$(apptoken completions bash)"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        read -r _ _ function _ < <(complete -p "$1")
        $function "$1"
        printf '%s\n' "${{COMPREPLY[@]}}""#
    );
    sorted(&w.command("bash").args(["-c", &script, "bash"]).args(line).run().text())
}

fn fish(w: &World, setup: &str, line: &[&str]) -> Vec<String> {
    let script = format!("{setup}; apptoken completions fish | source; complete -C \"$argv\"");
    let offered = w.command("fish").args(["--no-config", "-c", &script, "--"]).args(line).run().text();
    // A word and what it is for stand on a line.
    sorted(&offered.lines().map(|line| line.split('\t').next().unwrap_or(line)).collect::<Vec<_>>().join("\n"))
}

fn zsh(w: &World, setup: &str, line: &[&str]) -> Vec<String> {
    zsh_with(w, &format!("{COMPINIT}\n{{ eval \"$(apptoken completions zsh)\"; }} 2>TMP/said\n{setup}"), line)
}

/// On a terminal, as zsh completes nowhere else: what is added to the matches is written down.
fn zsh_with(w: &World, setup: &str, line: &[&str]) -> Vec<String> {
    let (words, ready, done) = (w.path("tmp/words"), w.path("tmp/ready"), w.path("tmp/done"));
    for file in [&words, &ready, &done] {
        let _ = fs::remove_file(file);
    }
    w.file("setup.zsh", ZSH.replace("SETUP", setup).replace("TMP", &w.path("tmp").display().to_string()));
    let mut terminal = w.command("zsh").args(["-f", "-i"]).on_terminal();
    terminal.type_line("source setup.zsh");
    wait_until("zsh is ready", DEADLINE, || ready.exists());
    terminal.type_line(&format!("{}\t", line.join(" ")));
    wait_until("zsh has completed", DEADLINE, || done.exists());
    let said = fs::read_to_string(ready).expect("it is there");
    assert_eq!(said, "", "zsh is silent");
    sorted(&fs::read_to_string(words).unwrap_or_default())
}

const COMPINIT: &str = "autoload -Uz compinit; compinit -u -C -d TMP/dump";

const ZSH: &str = r#"
PROMPT=
SETUP
compadd() {
  # A look, which adds nothing.
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  local -a added
  builtin compadd -O added "$@"
  print -rl -- $added >>TMP/words
  builtin compadd "$@"
}
finish() { : >TMP/done; exit }
comppostfuncs=(finish)
mv TMP/said TMP/ready
"#;

fn sorted(lines: &str) -> Vec<String> {
    let mut words: Vec<_> = lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words
}
