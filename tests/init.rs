//! From a downloaded key to the first command, and to the second shell: what a stranger meets in the first five minutes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nix::sys::signal::Signal;

use crate::support::command::Invocation;
use crate::support::files_below;
use crate::support::github::{App, Installation};
use crate::support::process::tell;
use crate::support::pty::{Key, Terminal};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, KEY, NO_OPTIONS, NOWHERE, OTHER_KEY, SLUG, World, need};

#[test]
fn a_strangers_first_five_minutes() {
    if !need("gh") || !need("bash") {
        return;
    }
    let w = world().with_gh();
    let mut shell = shell(&w);
    let transcript = |shell: &Terminal| shell.transcript();
    shell.type_line("apptoken init");
    shell.expect_next("Private key: its .pem file, or paste it here (it is not shown): ");
    shell.type_line("key.pem");
    shell.expect_next("The key: 2048 bits, SHA256:");
    shell.expect_next("App ID or client ID, from the App's settings page: ");
    shell.type_line(&APP_ID.to_string());
    shell.expect_next(&format!("GitHub knows it: the App is {SLUG}"));
    shell.expect_next("It is installed on octo");
    shell.expect_next(&format!("New passphrase for {SLUG}: "));
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("That is good.");
    shell.expect_next("Again: ");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next(&format!("Stored, encrypted: {}", stored(&w, SLUG).display()));
    shell.expect_next("Remove key.pem, now that it is stored? [y/N]: ");
    shell.type_line("y");
    shell.expect_next("Removed: key.pem");
    shell.expect_next("Next: apptoken gh repo list octo");
    shell.expect_next("READY$ ");
    assert!(!w.path("home/key.pem").exists());
    wait_until("no agent stays that nobody asked for", DEADLINE, || w.sockets().is_empty());
    assert_no_secret(&transcript(&shell));
    drop(shell);

    // A fresh shell, and no agent.
    let mut shell = self::shell(&w);
    shell.type_line("apptoken gh api installation/repositories --jq .total_count");
    shell.expect_next(&format!("Passphrase for {SLUG}: "));
    shell.type_hidden(PASSPHRASE);
    shell.expect_next(&format!("Identity added: {SLUG} (App {APP_ID} on {HOST})"));
    shell.expect_next("\n2\r\n");
    assert_no_secret(&transcript(&shell));
    drop(shell);

    // A second one is asked nothing, whether it evals the agent's lines or not.
    let mut shell = self::shell(&w);
    shell.type_line("apptoken gh api installation/repositories --jq .total_count; echo \"status $?\"");
    shell.expect_next("\n2\r\nstatus 0");
    shell.type_line("eval \"$(apptoken-agent)\"; apptoken list");
    shell.expect_next(&format!("{SLUG} (App {APP_ID} on {HOST})"));
    assert!(!transcript(&shell).contains("Passphrase"), "{}", transcript(&shell));

    assert_files_are_private(&w);
    w.apptoken(["daemon", "stop"]).stderr_contains("ended").ok();
}

#[test]
fn a_script_gives_every_answer_as_an_option() {
    let w = world();
    let run = init(&w, &["key.pem"]).run();
    run.stderr_contains(format!("Stored, encrypted: {}", stored(&w, SLUG).display())).ok();
    assert!(w.path("home/key.pem").exists(), "nobody said that it may be removed");
    assert_files_are_private(&w);

    let more = ["-", "--name", "second", "--installation-id", &INSTALLATION_ID.to_string()];
    init(&w, &more).stdin(KEY).run().stderr_contains("/second.key").ok();
    init(&w, &["key.pem", "--name", "third", "--remove-file"]).run().stderr_contains("Removed: key.pem").ok();
    assert!(!w.path("home/key.pem").exists());
    assert_files_are_private(&w);
}

#[test]
fn what_is_missing_without_a_terminal_is_named() {
    let w = world();
    let init = |args: &[&str]| w.command(APPTOKEN).arg("init").args(args).run();
    init(&[]).stderr_contains("there is no terminal to ask at").stderr_contains("hint: ").exit(1);
    init(&["key.pem"]).stderr_contains("there is no terminal to ask at").exit(1);
    init(&["key.pem", "--app-id", &APP_ID.to_string()]).stderr_contains("--passphrase-fd").exit(1);
    assert_nothing_stored(&w);
}

#[test]
fn a_key_that_is_not_the_apps_is_told_before_anything_is_written() {
    let w = world();
    w.file("other.pem", OTHER_KEY);
    let refused = init(&w, &["other.pem"]).run();
    refused.stderr_contains("hint: ").exit(1);
    assert_nothing_stored(&w);
    init(&w, &["key.pem", "--installation-id", "7"]).run().stderr_contains("no such installation").exit(1);
    assert_nothing_stored(&w);
}

#[test]
fn without_github_nothing_is_stored_unless_it_need_not_be_asked() {
    let w = world();
    let there = |args: &[&str]| init(&w, &[&["key.pem", "--api-url", NOWHERE, "--name", "off"], args].concat());
    there(&[]).run().stderr_contains("cannot be reached").exit(1);
    assert_nothing_stored(&w);
    there(&["--offline"]).run().stderr_contains("/off.key").ok();
}

#[test]
fn a_mistake_is_asked_about_again() {
    let w = world();
    let mut shell = shell(&w);
    shell.type_line("apptoken init");
    shell.expect_next("(it is not shown): ");
    shell.type_line("nowhere.pem");
    shell.expect_next("apptoken: nowhere.pem: there is no such file");
    shell.expect_next("(it is not shown): ");
    shell.type_line("~/key.pem");
    shell.expect_next("settings page: ");
    shell.type_line("not an id");
    shell.expect_next("apptoken: ");
    shell.expect_next("settings page: ");
    shell.type_line("999");
    shell.expect_next("apptoken: ");
    shell.expect_next("settings page: ");
    shell.type_line(&APP_ID.to_string());
    shell.expect_next("New passphrase");
    shell.type_hidden("hunter2");
    shell.expect_next("That is weak");
    shell.expect_next("Again: ");
    shell.type_hidden("hunter3");
    shell.expect_next("apptoken: the passphrases differ");
    shell.expect_next("New passphrase");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("Again: ");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("Stored, encrypted: ");
    shell.expect_next("[y/N]: ");
    shell.type_line("");
    shell.expect_next("READY$ ");
    assert!(w.path("home/key.pem").exists());
}

#[test]
fn control_c_at_any_question_leaves_nothing_behind() {
    for questions in 0..=5 {
        let w = world();
        let mut shell = interruptible(&w);
        let answers: [(&str, Option<&str>); 6] = [
            ("(it is not shown): ", Some("key.pem")),
            ("settings page: ", Some("123456")),
            ("New passphrase", None),
            ("Again: ", None),
            ("[y/N]: ", Some("")),
            ("ended with 0", None),
        ];
        for (question, answer) in &answers[..questions] {
            shell.expect_next(question);
            match answer {
                Some(answer) => shell.type_line(answer),
                None => shell.type_hidden(PASSPHRASE),
            }
        }
        if questions == 5 {
            // The last question comes when everything is done.
            continue;
        }
        shell.expect_next(answers[questions].0);
        shell.press(Key::CtrlC);
        shell.expect_next("ended with 130");
        assert!(shell.echoes(), "after {questions} answers the terminal is not as it was");
        wait_until("its agent has ended as well", DEADLINE, || w.sockets().is_empty());
        if questions < 4 {
            assert_nothing_stored(&w);
        } else {
            assert!(stored(&w, SLUG).exists(), "it was stored, and said so");
        }
    }
}

#[test]
fn a_key_is_pasted_without_being_shown() {
    let packed = BASE64_STANDARD.encode(KEY);
    let indented = format!("\n\n    {}\n", KEY.trim_end().replace('\n', "\n    "));
    for pasted in [format!("{KEY}\n\n"), KEY.replace('\n', "\\n"), KEY.replace('\n', "\r\n"), packed, indented] {
        let w = world();
        let mut shell = shell(&w);
        shell.type_line("apptoken init");
        shell.expect_next("(it is not shown): ");
        shell.type_hidden(&pasted);
        shell.expect_next("The key: 2048 bits");
        shell.expect_next("settings page: ");
        shell.type_line(&APP_ID.to_string());
        shell.expect_next("New passphrase");
        shell.press(Key::CtrlC);
        shell.expect_next("READY$ ");
        assert_no_secret(&shell.transcript());
    }
}

#[test]
fn control_c_while_a_key_is_pasted_puts_the_terminal_right() {
    let w = world();
    let mut shell = interruptible(&w);
    shell.expect_next("(it is not shown): ");
    shell.type_hidden("-----BEGIN RSA PRIVATE KEY-----");
    shell.press(Key::CtrlC);
    shell.expect_next("ended with 130");
    assert!(shell.echoes());
    assert_nothing_stored(&w);
}

#[test]
fn what_is_pasted_beyond_its_end_or_is_no_key_is_neither_shown_nor_run() {
    let w = world();
    let mut shell = shell(&w);
    let half = KEY.lines().take(20).collect::<Vec<_>>().join("\n");
    for pasted in [
        format!("{half}\n{}\ntouch pwned\n", KEY.lines().last().expect("it has lines")),
        format!("-----BEGIN {}", "x\n".repeat(9000)),
    ] {
        shell.type_line("apptoken init -");
        shell.expect_next("Paste the key; it is not shown: ");
        shell.type_hidden(&pasted);
        shell.expect_next("apptoken: -: ");
        shell.expect_next("READY$ ");
    }
    shell.type_line("echo over");
    shell.expect_next("\nover");
    assert!(!w.path("home/pwned").exists(), "{}", shell.transcript());
    assert!(!shell.transcript().contains("x\r\nx"), "{}", shell.transcript());
    assert_no_secret(&shell.transcript());
}

#[test]
fn a_path_is_shown_while_it_is_typed_and_can_be_corrected() {
    let w = world();
    let mut shell = shell(&w);
    shell.type_line("apptoken init");
    shell.expect_next("(it is not shown): ");
    shell.type_hidden("wrong\u{15}kee\u{7f}y.pem");
    shell.expect_next("y.pem\r\n");
    shell.expect_next("The key: 2048 bits");
}

#[test]
fn the_stored_key_is_never_what_is_removed() {
    let w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    let before = fs::read(stored(&w, SLUG)).expect("it is stored");
    std::os::unix::fs::symlink(stored(&w, SLUG), w.path("home/link")).expect("a new name");
    fs::hard_link(stored(&w, SLUG), w.path("config/hard")).expect("a new name");
    let direct = stored(&w, SLUG);
    for file in [direct.to_str().expect("it is UTF-8"), "link"] {
        let again = init(&w, &[file, "--replace", "--remove-file"]).run();
        again.stderr_contains("Stored").ok();
        assert_ne!(fs::read(stored(&w, SLUG)).expect("it is still there"), before);
    }
}

#[test]
fn what_is_remembered_goes_by_the_key_whoever_has_its_name_now() {
    let mut w = world();
    w.file("other.pem", OTHER_KEY);
    w.github.add_app(App::new(777, "second").owner("octo").key_pem(OTHER_KEY));
    w.github.install(777, Installation::new(7001, "octo").user());
    init(&w, &["key.pem", "--name", "my"]).run().stderr_contains("Stored").ok();
    let args = ["init", "other.pem", "--app-id", "777", "--name", "my", "--replace"];
    with_passphrase(&w, PASSPHRASE, &args).run().stderr_contains("Stored").ok();
    init(&w, &["key.pem", "--name", "my", "--replace"]).run().stderr_contains("Stored").ok();
    w.start_agent(NO_OPTIONS);
    let added = || with_passphrase(&w, PASSPHRASE, &["add"]).run();
    added().stderr(format!("Identity added: my (App {APP_ID} on {HOST})\n")).ok();
    // A name that it had before leads nowhere else either.
    fs::rename(stored(&w, "my"), stored(&w, "moved")).expect("it is ours");
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    added().stderr(format!("Identity added: moved (App {APP_ID} on {HOST})\n")).ok();
}

#[test]
fn a_host_that_is_named_does_not_go_with_the_api_of_another() {
    let w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    let elsewhere = init(&w, &["key.pem", "--replace", "--host", "ghe.invalid"]).run();
    elsewhere.stderr_contains("ghe.invalid").exit(1);
    let config = fs::read_to_string(w.path("config/apptoken/config.toml")).expect("it is there");
    assert!(!config.contains("ghe.invalid"), "{config}");
}

#[test]
fn of_several_installations_one_becomes_the_default() {
    let w = world();
    w.github.install(APP_ID, Installation::new(1002, "acme").organization());
    let mut shell = shell(&w);
    shell.type_line("apptoken init key.pem --remove-file");
    shell.expect_next("settings page: ");
    shell.type_line(&APP_ID.to_string());
    shell.expect_next("It is installed on:");
    shell.expect_next("octo (1001)");
    shell.expect_next("acme (1002)");
    shell.expect_next("[none]: ");
    shell.type_line("nobody");
    shell.expect_next("apptoken: the App is not installed there");
    shell.expect_next("[none]: ");
    shell.type_line("ACME");
    shell.expect_next("New passphrase");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("Again: ");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("Next: apptoken gh repo list acme");
    shell.type_line("apptoken token --json");
    shell.expect_next("Passphrase for");
    shell.type_hidden(PASSPHRASE);
    shell.expect_next("\"account\": \"acme\"");
}

#[test]
fn an_agent_that_runs_gets_the_key_at_once() {
    let w = in_environment(World::with_agent());
    init(&w, &["key.pem"]).run().stderr_contains("Identity added: acme-deployer").ok();
    w.apptoken(["token"]).line();
}

#[test]
fn a_stored_key_is_replaced_only_by_who_says_so() {
    let w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    let before = fs::read(stored(&w, SLUG)).expect("it is stored");
    init(&w, &["key.pem"]).run().stderr_contains("a key of that name is stored").stderr_contains("--replace").exit(1);
    assert_eq!(fs::read(stored(&w, SLUG)).expect("it is stored"), before);

    let mut terminal = shell(&w);
    terminal.type_line(&format!("apptoken init key.pem --app-id {APP_ID}"));
    terminal.expect_next("is stored already: replace it? [y/N]: ");
    terminal.type_line("n");
    terminal.expect_next("Another name: ");
    terminal.type_line("../escaped");
    terminal.expect_next("apptoken: ");
    terminal.expect_next("Another name: ");
    terminal.press(Key::CtrlC);
    terminal.expect_next("READY$ ");

    // A new key of the same App takes the old one's place.
    w.github.add_key(APP_ID, OTHER_KEY);
    w.file("new.pem", OTHER_KEY);
    init(&w, &["new.pem", "--replace"]).run().stderr_contains("Stored").ok();
    assert_ne!(fs::read(stored(&w, SLUG)).expect("it is stored"), before);
    assert_eq!(fs::read_dir(w.path("config/apptoken/keys")).expect("it is there").count(), 1);
}

#[test]
fn what_was_said_of_a_key_once_need_not_be_said_again_to_change_its_passphrase() {
    let mut w = world();
    init(&w, &["key.pem", "--name", "mine"]).run().stderr_contains("Stored").ok();
    for name in ["APPTOKEN_HOST", "APPTOKEN_API_URL"] {
        w.env_remove(name);
    }
    let again = with_passphrase(&w, "another", &["init", "key.pem", "--replace"]).run();
    again.stderr_contains("/mine.key").ok();
    w.start_agent(NO_OPTIONS);
    with_passphrase(&w, PASSPHRASE, &["add"]).run().stderr_contains("apptoken: mine: ").exit(1);
    with_passphrase(&w, "another", &["add"])
        .run()
        .stderr(format!("Identity added: mine (App {APP_ID} on {HOST})\n"))
        .ok();
}

#[test]
fn whenever_it_is_killed_the_key_that_was_stored_or_the_new_one_is_there_and_opens() {
    let mut w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    let before = fs::read(stored(&w, SLUG)).expect("it is stored");
    let mut changed = 0;
    for delay in (0..30).map(|step| Duration::from_millis(20 * step)) {
        let running = init(&w, &["key.pem", "--replace"]).start();
        thread::sleep(delay);
        running.signal(Signal::SIGKILL);
        drop(running);
        let now = fs::read(stored(&w, SLUG)).expect("it is stored");
        assert_eq!(now.len(), before.len(), "it is whole");
        changed += usize::from(now != before);
    }
    w.start_agent(NO_OPTIONS);
    with_passphrase(&w, PASSPHRASE, &["add"]).run().stderr_contains("Identity added").ok();
    init(&w, &["key.pem", "--replace"]).run().stderr_contains("Stored").ok();
    let names: Vec<_> = files_below(&w.path("config/apptoken"))
        .into_iter()
        .filter_map(|file| file.file_name().map(OsStr::to_owned))
        .collect();
    assert_eq!(names.len(), 2, "a draft is left: {names:?}");
    tell(format_args!("{changed} of 30 were late enough to have written"));
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one_in_the_agent_as_well() {
    let w = in_environment(World::with_agent());
    init(&w, &["key.pem"]).run().stderr_contains("Identity added").ok();
    w.github.add_key(APP_ID, OTHER_KEY);
    w.file("new.pem", OTHER_KEY);
    let before = w.apptoken(["list"]).line();
    let rotated = init(&w, &["new.pem", "--replace", "--remove-file"]).run();
    rotated.stderr_contains("Identity added").stderr_contains("Removed: new.pem").ok();
    assert_ne!(w.apptoken(["list"]).line(), before);
    w.apptoken(["token"]).line();
}

#[test]
fn a_name_cannot_leave_the_folder() {
    let w = world();
    for name in ["..", "../up", "a/b", "/abs", ".hidden", "-x", "a b", "", "a\nb", &"x".repeat(65)] {
        let name = format!("--name={name}");
        init(&w, &["key.pem", &name]).run().stderr_contains("hint: ").exit(64);
    }
    assert_nothing_stored(&w);
}

#[test]
fn a_locked_agent_is_to_be_unlocked_first() {
    let w = in_environment(World::with_key());
    with_passphrase(&w, "hunter2", &["lock"]).run().stderr_contains("Agent locked.").ok();
    init(&w, &["key.pem"]).run().stderr_contains("the agent is locked").exit(1);
    assert_nothing_stored(&w);
}

#[test]
fn a_damaged_config_stops_everything_and_stays_as_it_is() {
    let w = world();
    fs::create_dir_all(w.path("config/apptoken")).expect("it can be made");
    let damaged = "# mine\n[key.\"SHA256:x\"]\nname = = 1\n";
    fs::write(w.path("config/apptoken/config.toml"), damaged).expect("it can be written");
    init(&w, &["key.pem"]).run().stderr_contains("config.toml").stderr_contains("line 3").exit(1);
    assert_eq!(fs::read_to_string(w.path("config/apptoken/config.toml")).expect("it is there"), damaged);
    assert!(!stored(&w, SLUG).exists());
}

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// A machine where the environment tells which GitHub is meant.
pub(crate) fn world() -> World {
    in_environment(World::new())
}

pub(crate) fn in_environment(mut w: World) -> World {
    let api = w.github.url();
    w.env("APPTOKEN_HOST", HOST);
    w.env("APPTOKEN_API_URL", api);
    w
}

pub(crate) fn shell(w: &World) -> Terminal {
    let bash = w.command("bash").args(["--norc", "--noprofile", "-i"]).env("PS1", "READY$ ");
    let terminal = bash.on_terminal();
    terminal.expect("READY$ ");
    terminal
}

/// `apptoken init` in a shell that outlives Ctrl-C and changes nothing about the terminal.
fn interruptible(w: &World) -> Terminal {
    let script = "trap : INT; apptoken init; echo \"ended with $?\"; read -r line";
    w.command("sh").args(["-c", script]).on_terminal()
}

/// `apptoken init` with every answer as an option, and no terminal.
pub(crate) fn init(w: &World, args: &[&str]) -> Invocation {
    let app = APP_ID.to_string();
    with_passphrase(w, PASSPHRASE, &[&["init", "--app-id", &app], args].concat())
}

/// A command that reads this passphrase from a file descriptor.
pub(crate) fn with_passphrase(w: &World, passphrase: &str, args: &[&str]) -> Invocation {
    let file = w.path("passphrase");
    fs::write(&file, format!("{passphrase}\n")).expect("it can be written");
    let script = "file=$1; shift; exec apptoken \"$@\" --passphrase-fd 3 3<\"$file\"";
    w.command("sh").args(["-c", script, "sh"]).arg(file).args(args)
}

pub(crate) fn stored(w: &World, name: &str) -> PathBuf {
    w.path(format!("config/apptoken/keys/{name}.key"))
}

#[track_caller]
fn assert_nothing_stored(w: &World) {
    let there: Vec<PathBuf> = files_below(&w.path("config"));
    assert!(there.is_empty(), "{there:?}");
}

/// What is stored is for nobody else to read, and what is secret is nowhere in the clear.
#[track_caller]
fn assert_files_are_private(w: &World) {
    for part in ["home", "config", "run", "tmp"] {
        for file in files_below(&w.path(part)).into_iter().filter(|file| !file.ends_with("key.pem")) {
            assert_no_secret(&String::from_utf8_lossy(&fs::read(&file).expect("it is ours")));
            if part == "config" && !file.starts_with(w.path("config/gh")) {
                let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
                assert_eq!(mode(&file), 0o600, "{}", file.display());
                assert_eq!(mode(file.parent().expect("it is in a folder")), 0o700, "{}", file.display());
            }
        }
    }
}

#[track_caller]
fn assert_no_secret(text: &str) {
    assert!(!text.contains(PASSPHRASE), "the passphrase is in:\n{text}");
    for line in KEY.lines().filter(|line| !line.starts_with('-')) {
        assert!(!text.contains(line), "a line of the key is in:\n{text}");
    }
}
