//! Whatever bytes a path is made of, `eval` in a real shell yields exactly that path, and runs nothing that is in it.
//!
//! What cannot be had: a C shell takes the output of a command apart at every newline before `eval` sees it, and, unless the
//! backquotes stand in double quotes, at every blank as well; then it looks for files that match. So its line is
//! ``eval "`apptoken-agent -c`"``, and a newline in a path becomes something else, which is not there, and runs nothing.

use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use apptoken::shell::Dialect;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::support::agent::parse_bourne;
use crate::support::{AGENT, World, need};

/// A shell, and how it is told to take in the lines of `$agent`, or of the file `$v`.
struct Shell {
    /// With the strictest settings, under which nothing may go wrong on the way.
    program: &'static [&'static str],
    dialect: Dialect,
    /// What a user types, with and without an agent's options.
    eval: &'static str,
    /// For each `v` of many: forget the variable, take the lines in, and write the variable to `out`, with a NUL after it, or
    /// a newline where a value has none.
    each: &'static str,
}

const BASH: Shell = Shell { program: &["bash", "-eu", "-o", "pipefail"], ..BOURNE };
const DASH: Shell = Shell { program: &["dash", "-eu"], ..BOURNE };
const ZSH: Shell = Shell { program: &["zsh", "-feu"], ..BOURNE };
const BOURNE: Shell = Shell {
    program: &["sh"],
    dialect: Dialect::Bourne,
    eval: r#"eval "$(apptoken-agent -s -q)""#,
    each: r#"for v in v/*; do
        APPTOKEN_AUTH_SOCK=unset; eval "$(cat $v)"; printf '%s\0' "$APPTOKEN_AUTH_SOCK"
    done >out"#,
};
const TCSH: Shell = Shell {
    program: &["tcsh", "-f"],
    dialect: Dialect::Csh,
    eval: r#"eval "`apptoken-agent -c -q`""#,
    each: r#"foreach v (v/*)
        setenv APPTOKEN_AUTH_SOCK unset
        eval "`cat $v`"
        printenv APPTOKEN_AUTH_SOCK >>out
    end"#,
};
const FISH: Shell = Shell {
    program: &["fish", "--no-config"],
    dialect: Dialect::Fish,
    eval: "apptoken-agent --shell fish -q | source",
    each: r"for v in v/*
        set -gx APPTOKEN_AUTH_SOCK unset
        cat $v | source
        printf '%s\0' $APPTOKEN_AUTH_SOCK
    end >out",
};

/// Names of directories that are programs to a shell that does not see that they are quoted.
const HOSTILE: [&str; 20] = [
    "two  blanks and\ta tab",
    " outer blanks ",
    "o'clock",
    "say \"touch x\"",
    "$(touch x)",
    "`touch x`",
    "${HOME} $HOME $$ $?",
    ";touch x;",
    "&touch x&",
    "|touch x|",
    "<x >x",
    "back\\slash\\\\",
    "\\'; touch x; '\\",
    "'$(touch x)'",
    "\"$(touch x)\"",
    "!! !touch !$ ^a^b",
    "*?[a-z]{b,c}~",
    "#comment",
    "(touch x)",
    "\u{e9}\u{2603}\u{1f511}",
];
const NEWLINES: [&str; 3] = ["\n", "a\ntouch x\n", "\\\n'\n!\n"];

#[test]
fn any_path_is_only_a_path_to_bash() {
    assert_agents_are_found(&BASH, HOSTILE.iter().chain(&NEWLINES));
}

#[test]
fn any_path_is_only_a_path_to_dash() {
    assert_agents_are_found(&DASH, HOSTILE.iter().chain(&NEWLINES));
}

#[test]
fn any_path_is_only_a_path_to_zsh() {
    assert_agents_are_found(&ZSH, HOSTILE.iter().chain(&NEWLINES));
}

#[test]
fn any_path_without_a_newline_is_only_a_path_to_tcsh() {
    assert_agents_are_found(&TCSH, &HOSTILE);
}

#[test]
fn any_path_is_only_a_path_to_fish() {
    assert_agents_are_found(&FISH, HOSTILE.iter().chain(&NEWLINES));
    // As fish's own manual has it, and as people used to bash write it.
    let collect = Shell { eval: "eval (apptoken-agent --shell fish -q | string collect)", ..FISH };
    assert_agents_are_found(&collect, HOSTILE.iter().chain(&NEWLINES));
    let plain = Shell { eval: "eval (apptoken-agent --shell fish -q)", ..FISH };
    assert_agents_are_found(&plain, &HOSTILE);
}

#[test]
fn what_a_c_shell_cannot_take_in_is_not_run_either() {
    if !need("tcsh") {
        return;
    }
    for eval in [TCSH.eval, "eval `apptoken-agent -c -q`"] {
        for name in HOSTILE.iter().chain(&NEWLINES) {
            let w = world_named(name);
            let _ = w.command("tcsh").args(["-f", "-c", eval]).run().everything();
            assert_nothing_was_run(&w, name, &["key.pem"]);
        }
    }
}

#[test]
fn any_bytes_are_only_bytes_to_bash() {
    assert_bytes_survive(&BASH);
}

#[test]
fn any_bytes_are_only_bytes_to_dash() {
    assert_bytes_survive(&DASH);
}

#[test]
fn any_bytes_are_only_bytes_to_zsh() {
    assert_bytes_survive(&ZSH);
}

#[test]
fn any_bytes_but_a_newline_are_only_bytes_to_tcsh() {
    assert_bytes_survive(&TCSH);
}

#[test]
fn any_bytes_are_only_bytes_to_fish() {
    assert_bytes_survive(&FISH);
}

#[test]
fn fish_forgets_the_agent_that_it_ends() {
    if !need("fish") {
        return;
    }
    let w = World::new();
    let script = "apptoken-agent | source; apptoken list; echo $status; \
                  apptoken-agent -k | source; set -q APPTOKEN_AUTH_SOCK; or set -q APPTOKEN_AGENT_PID; echo $status";
    let run = w.command("fish").args(["--no-config", "-c", script]).env("SHELL", "/usr/bin/fish").run().text();
    let [started, list, empty, killed, unset] = run.lines().collect::<Vec<_>>()[..] else { panic!("{run}") };
    assert_eq!((list, empty, unset), ("The agent has no identities.", "1", "1"));
    assert_eq!(killed, format!("{started} killed"));
}

#[test]
fn where_the_path_would_be_too_long_the_next_directory_is_taken_and_that_is_said() {
    let w = World::new();
    let (mut fitting, mut too_long) = (0, 0);
    // The length of a process's number is not ours to choose; it decides where between these the limit is.
    for length in 70..=80 {
        let base = directory_of_length(&w.path("run"), length);
        let run = w.command(AGENT).args(["-s", "--new"]).env("XDG_RUNTIME_DIR", &base).run().stderr_contains("");
        let said = run.everything();
        let (warning, lines) = match said.split_once("apptoken-agent: ") {
            Some((lines, warning)) => (Some(warning), lines),
            None => (None, &*said),
        };
        let (socket, pid) = parse_bourne(lines).unwrap_or_else(|| panic!("{said}"));
        let wanted = length + format!("/apptoken-0123456789/agent.{pid}").len();
        if let Some(warning) = warning {
            let tmp = w.path("tmp");
            assert!(socket.starts_with(&tmp), "{said}");
            let why =
                format!("cannot listen below {}: the socket's path would be longer than 107 bytes", base.display());
            assert_eq!(warning, format!("{why}; using {}\n", tmp.display()));
            assert!(wanted > 107, "{said}");
            too_long += 1;
        } else {
            assert!(socket.starts_with(&base) && socket.as_os_str().len() == wanted && wanted <= 107, "{said}");
            fitting += 1;
        }
    }
    assert!(fitting > 0 && too_long > 0, "both sides of the limit were seen: {fitting}, {too_long}");
}

#[test]
fn a_path_that_was_asked_for_may_have_107_bytes_and_no_more() {
    let mut w = World::new();
    let longest = directory_of_length(&w.path("run"), 100).join("sixsix");
    w.start_agent(["-a".as_ref(), longest.as_os_str()]);
    assert_eq!((w.socket(), longest.as_os_str().len()), (longest.clone(), 107));
    w.assert_agent_is_well();
    let longer = longest.with_file_name("sevenly");
    w.agent(["-s".as_ref(), "-a".as_ref(), longer.as_os_str()]).stderr_contains("107").exit(1);
    assert_eq!(w.sockets(), [longest]);
}

/// `eval` of a real agent's lines yields the path of its socket and an agent that answers there, and prints nothing.
#[track_caller]
fn assert_agents_are_found<'a>(shell: &Shell, names: impl IntoIterator<Item = &'a &'static str>) {
    let (program, options) = shell.program.split_first().expect("a shell has a name");
    if !need(program) {
        return;
    }
    for name in names {
        let w = world_named(name);
        // Another process than the shell tells: what it was not exported is not there.
        let tell = r#"sh -c 'printf %s "$APPTOKEN_AUTH_SOCK" >told; apptoken status >/dev/null'"#;
        w.command(program).args(options).args(["-c", &format!("{}; {tell}", shell.eval)]).run().ok();
        let told = fs::read(w.path("home/told")).expect("it was told");
        assert_eq!(w.sockets(), [PathBuf::from(std::ffi::OsString::from_vec(told))], "{program}: {name:?}");
        assert_nothing_was_run(&w, name, &["key.pem", "told"]);
    }
}

/// A world for a shell to be run in: fish makes directories for its own data, and in the locale `C` makes other bytes of
/// what it finds in the environment.
fn world_named(name: &str) -> World {
    let mut w = World::in_directory_named(name);
    w.env("XDG_DATA_HOME", w.path("config"));
    w.env("LC_ALL", "C.UTF-8");
    w
}

#[track_caller]
fn assert_nothing_was_run(w: &World, name: &str, expected: &[&str]) {
    let home = fs::read_dir(w.path("home")).expect("it can be read");
    let mut files: Vec<_> = home.map(|entry| entry.expect("it can be read").file_name()).collect();
    files.sort_unstable();
    assert_eq!(files, expected, "{name:?}");
}

/// Every byte, every two of those that mean something, and many at random come back from the real shell as they were.
#[track_caller]
fn assert_bytes_survive(shell: &Shell) {
    if !need(shell.program[0]) {
        return;
    }
    let allowed = |value: &Vec<u8>| shell.dialect != Dialect::Csh || !value.contains(&b'\n');
    let singly = (1..=255).flat_map(|byte| [vec![byte], vec![b'a', byte, b'b']]);
    let special: Vec<u8> = SPECIAL.iter().copied().filter(|byte| allowed(&vec![*byte])).collect();
    let doubly = special.iter().map(|&a| special.iter().flat_map(|&b| [a, b]).collect());
    let systematic: Vec<_> = singly.filter(allowed).chain(doubly).collect();
    for values in systematic.chunks(200) {
        assert_eq!(wrong(shell, values), None, "{}", shell.program[0]);
    }

    let byte = prop_oneof![any::<u8>().prop_filter("ends a string", |byte| *byte != 0), select(SPECIAL)];
    let values = vec(vec(byte, 0..40).prop_filter("a C shell cannot", allowed), 200);
    // One case is 200 values, and one run of the shell.
    let config = Config { cases: 1, max_shrink_iters: 50, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&values, |values| match wrong(shell, &values) {
        None => Ok(()),
        Some(wrong) => Err(proptest::test_runner::TestCaseError::fail(wrong)),
    });
    if let Err(TestError::Fail(why, _)) = result {
        panic!("{}: {why}", shell.program[0]);
    }
    result.expect("values can be made");
}

/// The first of `values` that the shell made something else of.
fn wrong(shell: &Shell, values: &[Vec<u8>]) -> Option<String> {
    let w = world_named("w");
    fs::create_dir(w.path("home/v")).expect("a new directory");
    for (number, value) in values.iter().enumerate() {
        let lines = shell.dialect.announce(Path::new(std::ffi::OsStr::from_bytes(value)), 42, false);
        w.file(&format!("v/{number:04}"), lines);
    }
    let (program, options) = shell.program.split_first().expect("a shell has a name");
    w.command(program).args(options).stdin(format!("{}\n", shell.each)).run().ok();
    let out = fs::read(w.path("home/out")).expect("the shell wrote it");
    assert_nothing_was_run(&w, "a value", &["key.pem", "out", "v"]);
    let end = if shell.dialect == Dialect::Csh { b'\n' } else { 0 };
    let got: Vec<_> = out.split(|byte| *byte == end).collect();
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let differs = values.iter().zip(&got).find(|(value, got)| value != *got);
    match differs {
        Some((value, got)) => Some(format!("'{}' became '{}'", shown(value), shown(got))),
        // What follows the last end is nothing.
        None if got.len() != values.len() + 1 => Some(format!("{} values became {}", values.len(), got.len() - 1)),
        None => None,
    }
}

/// A new directory below `base` whose path has this many bytes.
fn directory_of_length(base: &Path, length: usize) -> PathBuf {
    let missing = length - base.as_os_str().len() - 1;
    let directory = base.join("x".repeat(missing));
    fs::DirBuilder::new().mode(0o700).create(&directory).expect("a new directory");
    assert_eq!(directory.as_os_str().len(), length);
    directory
}

/// Bytes that mean something to one of the shells, and some that stand for themselves.
const SPECIAL: &[u8] = b" \t\n'\"$`\\!;&|()<>{}[]*?~#^=%a0\x01\x7f\x81\x83\x9b\xff";

#[test]
fn a_newline_survives_fishs_own_eval() {
    if !need("fish") {
        return;
    }
    let mut w = World::in_directory_named("a\ntouch x\n");
    w.env("XDG_DATA_HOME", w.path("config"));
    let script = "eval (apptoken-agent --shell fish -q); sh -c 'printf %s \"$APPTOKEN_AUTH_SOCK\"'";
    let told = w.command("fish").args(["--no-config", "-c", script]).run().text();
    assert_eq!(w.sockets(), [Path::new(&told)]);
}
