//! README's examples, run as they stand.

use std::env;
use std::fs;

use apptoken::config::Config;

use crate::support::generated::committed;
use crate::support::{APP_ID, HOST, KEY, SLUG, World, need};

#[test]
fn every_example_is_run_by_a_test() {
    let begin = |(language, text): (String, String)| (language, text.lines().next().unwrap_or_default().to_owned());
    let examples: Vec<_> = examples().into_iter().map(begin).collect();
    let known = [
        ("sh", "cargo install --path .            # from a clone of this repository"),
        ("sh", "eval \"$(apptoken completions bash)\"  # in ~/.bashrc"),
        ("sh", "cargo run --example demo"),
        ("toml", "[key.\"SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\"]  # as GitHub shows it"),
        ("sh", "source /path/to/apptoken.bash"),
        ("sh", "ssh -R /run/user/1000/apptoken.sock:\"$APPTOKEN_AUTH_SOCK\" build-host   # 1000: your uid there"),
        ("sh", "git config credential.https://github.com.helper ''"),
        ("sh", "apptoken doctor"),
        ("js", "const s = require(\"net\").connect(process.env.APPTOKEN_AUTH_SOCK);"),
    ];
    assert_eq!(examples, known.map(|(language, line)| (language.to_owned(), line.to_owned())));
}

#[test]
fn the_quick_start_works() {
    if !need("gh") {
        return;
    }
    let mut w = World::new().with_gh();
    with_deaf_cargo(&mut w);
    w.file("my-app.pem", KEY);
    // What `init` would ask, and that this App is not on github.com.
    w.env("APPTOKEN_APP_ID", APP_ID.to_string());
    w.env("APPTOKEN_HOST", HOST);
    w.env("APPTOKEN_API_URL", w.github.url());
    let askpass = w.script("askpass", "echo correct horse battery staple");
    w.env("APPTOKEN_ASKPASS", askpass);
    let script = example("cargo install").replace("OWNER/REPO", "octo/hello");
    let run = w.shell("bash", &format!("set -eu\n{script}"));
    let run = run.stderr_contains("Stored, encrypted: ");
    let said = run.stderr_contains(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\n")).text();
    let [started, token, .., ended] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(started.starts_with("Agent pid ") && ended == format!("echo {started} killed;"), "{said}");
    assert!(w.github.tokens().iter().any(|minted| minted.value == token), "{said}");
    assert_eq!(w.github.count("POST /graphql"), 1, "gh asked for the list");
    assert_eq!(asked_of_cargo(&w), ["install --path ."]);
}

#[test]
fn what_is_remembered_of_keys_looks_as_it_says() {
    let config = Config::parse(example("[key.").as_bytes()).expect("it is whole");
    assert_eq!((config.keys.len(), config.warnings), (1, Vec::new()));
}

/// The demo and the tests run there; here it is only compared.
#[test]
fn what_a_fresh_machine_is_told_to_run_ci_runs() {
    let mut w = World::new();
    with_deaf_cargo(&mut w);
    w.shell("sh", &example("cargo run")).ok();
    let (asked, ci) = (asked_of_cargo(&w), committed(".ci/run"));
    assert_eq!(asked.len(), 2);
    for line in asked {
        let line = line.replacen(' ', " --locked ", 1);
        let line = if line.contains("--locked") { line } else { line + " --locked" };
        assert!(ci.lines().any(|there| there == format!("cargo {line}")), "{line}");
    }
}

#[test]
fn completions_manuals_and_topics_are_had_as_it_says() {
    let w = World::new();
    for line in example("eval \"$(apptoken completions").lines() {
        let (shell, options, setup) = match line.split_once(" # in ").map(|(_, file)| file) {
            Some("~/.zshrc, after compinit") => ("zsh", "-fuc", "autoload -Uz compinit; compinit -u -D; "),
            Some("~/.config/fish/config.fish") => ("fish", "-c", ""),
            Some(file) => (if file == "~/.bashrc" { "bash" } else { panic!("{file}") }, "-euc", ""),
            None => ("bash", "-euc", "set -o pipefail; "),
        };
        if !need(shell) || (line.contains("| man") && !need("man")) {
            continue;
        }
        let run = w.command(shell).args([options, &format!("{setup}{line}")]).run();
        if line.contains(" # in ") {
            run.ok();
        } else {
            assert!(run.text().lines().count() > 10, "{line}");
        }
    }
}

#[test]
fn gh_is_taken_over_in_a_shell_as_it_says() {
    let w = World::new();
    let script = example("source /path/to/apptoken.bash");
    let script = script.replace("/path/to", concat!(env!("CARGO_MANIFEST_DIR"), "/shell"));
    let said = w.shell("bash", &format!("set -eu\n{script}\ntype gh; apptoken status")).text();
    assert!(said.contains("gh is a function") && said.contains("apptoken gh \"$@\"") && said.contains("pid"), "{said}");
}

/// tests/forwarding.rs does it with a real ssh; here its words are looked at.
#[test]
fn the_socket_is_forwarded_as_it_says() {
    let w = World::with_key();
    w.script("ssh", r#"echo "$*" >"$HOME/asked""#);
    let (near, far) =
        example("ssh -R").split_once('\n').map(|(near, far)| (near.to_owned(), far.to_owned())).expect("lines");
    w.shell("sh", &format!("PATH=$HOME:$PATH; {near}")).ok();
    let asked = fs::read_to_string(w.path("home/asked")).expect("ssh was asked");
    assert_eq!(asked, format!("-R /run/user/1000/apptoken.sock:{} build-host\n", w.socket().display()));
    let far = far.replace("/run/user/1000/apptoken.sock", &w.socket().display().to_string());
    assert!(w.shell("sh", &far).line().starts_with("ghs_"));
}

#[test]
fn git_is_told_by_hand_as_it_says() {
    let w = World::with_git();
    let calls = r#"!f() { echo "$1" >>"$HOME/calls"; cat >>"$HOME/calls"; }; f"#;
    w.plain_git(&["config", "--global", "credential.helper", calls]).ok();
    let script = example("git config credential").replace("github.com", &w.git_host()).replace("https://", "http://");
    let script =
        format!("set -e\ngit init -q clone; cd clone\n{script}\ngit ls-remote {} main", w.git_url("octo/hello"));
    w.shell("sh", &script).stdout_contains("refs/heads/main").ok();
    // As a git without the newer protocol does it: fill, use, approve.
    let script = format!(
        "cd clone; printf 'protocol=http\nhost={}\npath=octo/hello.git\n\n' | git credential fill | tee filled | git credential approve",
        w.git_host()
    );
    w.shell("sh", &script).ok();
    let filled = fs::read_to_string(w.path("home/clone/filled")).expect("git was asked");
    assert!(filled.contains(&format!("password={}", w.github.tokens()[0].value)), "{filled}");
    assert!(!w.path("home/calls").exists());
}

#[test]
fn the_program_for_node_prints_the_token() {
    if !need("node") {
        return;
    }
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    // It never ends by itself: an idle connection may stay open.
    let node = w.command("node").args(["-e", &example("const s")]).start();
    node.expect_stdout(&format!("{token}\n"));
}

/// Puts a program in the place of cargo that writes down what it was asked: what is to be built is built.
fn with_deaf_cargo(w: &mut World) {
    w.script("cargo", r#"echo "$*" >>"$HOME/asked""#);
    let path = w.shell("sh", r#"printf %s "$PATH""#).text();
    let path = env::join_paths([w.path("home")].into_iter().chain(env::split_paths(&path)));
    w.env("PATH", path.expect("no directory has a colon"));
}

fn asked_of_cargo(w: &World) -> Vec<String> {
    fs::read_to_string(w.path("home/asked")).expect("cargo was asked").lines().map(str::to_owned).collect()
}

/// The example that begins so.
fn example(beginning: &str) -> String {
    let found = examples().into_iter().find(|(_, text)| text.starts_with(beginning));
    found.unwrap_or_else(|| panic!("README has no example that begins `{beginning}`")).1
}

/// Each example, and its language.
fn examples() -> Vec<(String, String)> {
    let readme = committed("README.md");
    let fenced = readme.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    // What stands between backticks within a line is no block.
    let blocks = fenced.filter(|(language, _)| language.bytes().all(|b| b.is_ascii_lowercase()));
    blocks.map(|(language, text)| (language.to_owned(), text.to_owned())).collect()
}
