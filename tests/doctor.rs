//! `apptoken doctor` looks at one thing after another and names the first that is wrong, with what to do about it.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::agent::is_alive;
use crate::support::github::{App, Fault, Installation};
use crate::support::proxy::Proxy;
use crate::support::tls::{Authority, Front};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{
    AGENT, APP_ID, APPTOKEN, HOST, INSTALLATION_ID, KEY, NO_OPTIONS, NOWHERE, OTHER_KEY, SLUG, World,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MINT: &str = "POST /app/installations/*/access_tokens";
const INSTALLATIONS: &str = "GET /app/installations";
/// What is looked at, in the order of the lines.
const CHECKS: &str = "programs socket modes agent lock keys clock api app installations token gh git helper";

#[test]
fn where_all_is_well_it_says_so_in_a_line_for_each_thing() {
    let w = World::with_tools();
    w.add_key(["-t", "1h"]).stderr_contains("Identity added").ok();
    let said = w.apptoken(["doctor"]).text();
    let left = said.split_once(&format!("on {HOST}, ")).and_then(|(_, rest)| rest.split_once(" left)"));
    let expected = format!(
        "ok    programs: apptoken and apptoken-agent are {VERSION}, as is the agent that runs\n\
         ok    socket: {socket}\n\
         ok    modes: nobody else can open the socket, or what is stored\n\
         ok    agent: version {VERSION} answers, process {pid}\n\
         ok    lock: the agent is not locked\n\
         ok    keys: {SLUG} (App {APP_ID} on {HOST}, {left} left)\n\
         ok    clock: this machine's clock agrees with {HOST}'s\n\
         ok    api: {api} answers\n\
         ok    app: App {APP_ID} is {SLUG}\n\
         ok    installations: 1: octo\n\
         ok    token: one for octo (installation {INSTALLATION_ID}) ends {end}\n\
         ok    gh: version 2.60.1\n\
         ok    git: version 2.47.0\n\
         ok    helper: git asks nobody about http://{HOST}; `apptoken setup-git` has it ask apptoken\n",
        socket = w.socket().display(),
        pid = w.pid(),
        left = left.expect("the time left is told").0,
        api = w.github.url(),
        end = w.request(&json!({"action": "getToken"}))["expiresAt"].as_str().expect("a time"),
    );
    assert_eq!(said, expected);
    assert_eq!((w.github.count("GET /app"), w.github.mints()), (2, 1), "GitHub is asked anew, and for a token");
}

#[test]
fn json_tells_the_same_in_the_same_order() {
    let w = World::with_tools();
    w.add_key(["-t", "5m"]).stderr_contains("Identity added").ok();
    w.github.suspend(INSTALLATION_ID);
    let run = w.apptoken(["doctor", "--json"]).stderr_contains("suspended").stderr_contains("hint: ");
    let told: Value = serde_json::from_str(&run.text_of(1)).expect("JSON");
    let told = told.as_array().expect("an array");
    let field = |name| told.iter().map(|found| found[name].as_str().unwrap_or("-")).collect::<Vec<_>>();
    assert_eq!(field("check").join(" "), CHECKS);
    assert_eq!(field("state").join(" "), "ok ok ok ok ok warn ok ok ok ok fail ok ok ok");
    let hinted: Vec<_> = told.iter().filter(|found| found["hint"].is_string()).map(|found| &found["check"]).collect();
    assert_eq!(hinted, ["keys", "token"]);
    let lines = w.apptoken(["doctor"]).stderr_contains("suspended").text_of(1);
    for (says, line) in field("says").iter().zip(lines.lines()) {
        // The time left may differ by a second.
        assert!(line.contains(says.split(", ").next().expect("a word")), "`{says}` is not said in `{line}`");
    }
}

#[test]
fn without_an_agent_it_says_how_to_start_one_and_still_looks_at_gh_and_git() {
    let mut w = World::with_tools();
    let socket = w.socket();
    w.agent(["-k"]).text();
    let said = w.doctor_fails(2, "socket", ["there is no such socket", "eval \"$(apptoken-agent)\""]);
    assert!(said.contains(&socket.display().to_string()), "{said}");
    assert_eq!(states(&said), "ok FAIL - - - - - - - - - ok ok ok");
    w.env_remove("APPTOKEN_AUTH_SOCK");
    w.doctor_fails(2, "socket", ["there is no such socket"]);
    fs::remove_file(w.path("run/apptoken/agent")).expect("the record is there");
    w.doctor_fails(2, "socket", ["APPTOKEN_AUTH_SOCK is not set", "eval \"$(apptoken-agent)\""]);
    let file = w.file("no-socket", "");
    w.env("APPTOKEN_AUTH_SOCK", file);
    w.doctor_fails(2, "socket", ["it is not a socket"]);
}

#[test]
fn a_socket_that_an_agent_left_behind_is_told_from_none() {
    let w = World::with_tools();
    w.signal(Signal::SIGKILL);
    wait_until("the agent is gone", DEADLINE, || !is_alive(w.pid()));
    let said = w.doctor_fails(2, "agent", ["nothing listens there", "eval \"$(apptoken-agent)\""]);
    assert_eq!(states(&said), "ok ok ok FAIL - - - - - - - ok ok ok");
}

#[test]
fn an_agent_on_record_is_looked_at_where_the_environment_names_a_dead_one() {
    let mut w = World::with_tools();
    let socket = w.socket();
    let gone = "/gone/apptoken-0123456789/agent.1";
    w.env("APPTOKEN_AUTH_SOCK", gone);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let said = w.apptoken(["doctor"]).text();
    let line = format!("warn  socket: {}, on record; there is no agent at {gone} (", socket.display());
    assert!(said.contains(&line), "{said}");
    w.env_remove("APPTOKEN_AUTH_SOCK");
    let said = w.apptoken(["doctor"]).text();
    assert!(said.contains(&format!("ok    socket: {}, on record\n", socket.display())), "{said}");
}

#[test]
fn what_others_may_open_is_named_with_the_commands_that_close_it() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    fs::create_dir_all(w.path("config/apptoken/keys")).expect("a new directory");
    fs::write(w.path("config/apptoken/keys/it's a.key"), "").expect("it is writable");
    let directory = w.socket().parent().expect("a directory").to_owned();
    for (path, mode) in [
        (directory, 0o755),
        (w.socket(), 0o666),
        (w.path("config/apptoken"), 0o750),
        (w.path("config/apptoken/keys"), 0o705),
        (w.path("config/apptoken/keys/it's a.key"), 0o640),
    ] {
        for closed in
            [w.path("config/apptoken"), w.path("config/apptoken/keys"), w.path("config/apptoken/keys/it's a.key")]
        {
            set_mode(&closed, if closed.is_dir() { 0o700 } else { 0o600 });
        }
        w.apptoken(["doctor"]).stdout_contains("ok    modes: nobody else").ok();
        set_mode(&path, mode);
        let says = format!("{} has mode {mode:04o}", path.display());
        let wanted = if path.is_dir() { "700" } else { "600" };
        let hint = format!("hint: chmod {wanted} {}", shell_words::quote(&path.to_string_lossy()));
        w.doctor_fails(1, "modes", [says.as_str(), hint.as_str()]);
        // What it says to do helps.
        w.shell("sh", hint.strip_prefix("hint: ").expect("it was just put there")).ok();
        w.apptoken(["doctor"]).stdout_contains("ok    modes: nobody else").ok();
    }
}

/// Who runs it as root would otherwise be told to close /run.
#[test]
fn a_directory_that_the_agent_did_not_make_is_not_to_be_closed() {
    for (mode, state) in [(0o700, "ok"), (0o755, "ok"), (0o1777, "ok"), (0o777, "warn"), (0o775, "warn")] {
        let mut w = World::with_tools();
        let directory = w.path("home/shared");
        fs::create_dir(&directory).expect("a new directory");
        set_mode(&directory, mode);
        w.start_agent([Path::new("-a"), &directory.join("agent")]);
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        let said = w.apptoken(["doctor"]).text();
        assert_eq!(state_of(&said, "modes"), state, "{mode:o}: {said}");
        assert!(!said.contains("chmod"), "{said}");
    }
}

#[test]
fn a_locked_agent_is_to_be_unlocked_first() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.lock_with("sesame");
    let said = w.doctor_fails(1, "lock", ["the agent is locked", "apptoken unlock"]);
    assert_eq!(states(&said), "ok ok ok ok FAIL - - - - - - ok ok ok");
    assert_eq!(w.request(&json!({"action": "diagnose"}))["code"], "locked");
}

#[test]
fn without_a_key_it_says_how_to_load_one() {
    let w = World::with_tools();
    let said = w.doctor_fails(1, "keys", ["the agent has no key", "apptoken add"]);
    assert_eq!(states(&said), "ok ok ok ok ok FAIL - - - - - ok ok ok");
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let run = w.apptoken(["--app", "another", "doctor"]).stdout_contains("FAIL  keys: ");
    run.stderr_contains("no key").exit(1);
}

#[test]
fn a_key_that_is_soon_forgotten_is_warned_about() {
    let w = World::with_tools();
    for (life, state) in [("9m", "warn"), ("11m", "ok")] {
        w.add_key(["-t", life]).stderr_contains("Identity added").ok();
        let said = w.apptoken(["doctor"]).text();
        assert_eq!(state_of(&said, "keys"), state, "{said}");
        assert_eq!(said.contains("add it again"), state == "warn", "{said}");
    }
}

#[test]
fn a_clock_that_is_off_is_told_by_how_much_and_in_which_direction() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    for (skew, side) in [(300, "seconds behind"), (-300, "seconds ahead of"), (7200, "seconds behind")] {
        w.github.skew(skew);
        let said = w.doctor_fails(1, "clock", [side, HOST, "set the clock"]);
        // The agent goes by GitHub's clock, so that a token can be had all the same.
        assert_eq!(states(&said), "ok ok ok ok ok ok FAIL ok ok ok ok ok ok ok");
    }
    for (skew, state) in [(45, "warn"), (-45, "warn"), (20, "ok"), (0, "ok")] {
        w.github.skew(skew);
        assert_eq!(state_of(&w.apptoken(["doctor"]).text(), "clock"), state, "{skew}");
    }
    w.github.always("GET /app", Fault::NoDate);
    assert_eq!(state_of(&w.apptoken(["doctor"]).text(), "clock"), "-");
}

#[test]
fn an_api_that_slowly_answers_is_not_taken_for_a_clock_that_is_off() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.github.next_on("GET /app", Fault::SlowBody(Duration::from_millis(1)));
    let said = w.apptoken(["doctor"]).text();
    assert!(said.contains("clock: this machine's clock agrees"), "{said}");
}

#[test]
fn what_is_in_the_way_to_the_api_is_named() {
    for (api, says) in [
        (NOWHERE.to_owned(), "cannot be reached: Connection refused"),
        ("https://no-such-name.invalid".to_owned(), "cannot be reached: the address of that name is not found"),
    ] {
        let w = World::with_tools();
        w.add_for_api(&api, HOST);
        let said = w.doctor_fails(1, "api", [&api, says, "check the network", "HTTPS_PROXY"]);
        assert_eq!(states(&said), "ok ok ok ok ok ok - FAIL - - - ok ok ok");
    }
}

#[test]
fn a_server_that_is_not_trusted_is_named_as_such() {
    let mut w = World::with_tools();
    let file = w.file("ca.pem", Authority::new("ours").pem());
    w.env("SSL_CERT_FILE", file);
    w.start_agent(["--new"]);
    let front = Front::start(Authority::new("theirs").issue(&["localhost"]), &w.github);
    w.add_for_api(&front.url(), HOST);
    w.doctor_fails(1, "api", ["its TLS certificate was issued by nobody that this machine trusts", "SSL_CERT_FILE"]);
}

#[test]
fn a_proxy_is_named_without_its_login_whether_it_leads_there_or_not() {
    let mut w = World::with_tools();
    let ca = Authority::new("ours");
    let front = Front::start(ca.issue(&["api.proxied.test"]), &w.github);
    let file = w.file("ca.pem", ca.pem());
    w.env("SSL_CERT_FILE", file);
    let leads = Proxy::to(front.address());
    w.env("HTTPS_PROXY", format!("http://octo:canary@{}", leads.authority()));
    w.start_agent(["--new"]);
    w.add_for_api("https://api.proxied.test", HOST);
    let said = w.apptoken(["doctor"]).text();
    let line = format!("ok    api: https://api.proxied.test answers, by the proxy {}\n", leads.authority());
    assert!(said.contains(&line) && !said.contains("canary"), "{said}");

    let refuses = Proxy::answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    w.env("HTTPS_PROXY", format!("http://octo:canary@{}", refuses.authority()));
    w.start_agent(["--new"]);
    w.add_for_api("https://api.proxied.test", HOST);
    let said = w.doctor_fails(1, "api", ["the proxy wants a user name and a password", "HTTPS_PROXY"]);
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn an_api_that_answers_and_does_not_take_the_key_is_told_from_one_that_is_not_reached() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.github.remove_key(APP_ID, KEY);
    w.github.add_key(APP_ID, OTHER_KEY);
    let said = w.doctor_fails(1, "app", ["does not know this key", "generate another"]);
    assert_eq!(states(&said), "ok ok ok ok ok ok ok ok FAIL - - ok ok ok");
    w.github.always("GET /app", Fault::Status(502));
    let said = w.doctor_fails(1, "app", ["answered with status 502"]);
    assert_eq!(states(&said), "ok ok ok ok ok ok ok ok FAIL - - ok ok ok");
}

#[test]
fn an_app_that_is_not_installed_is_told_where_it_can_be() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.github.uninstall(INSTALLATION_ID);
    let page = format!("https://{HOST}/apps/{SLUG}/installations/new");
    let said = w.doctor_fails(1, "installations", ["is not installed anywhere", &page]);
    assert_eq!(states(&said), "ok ok ok ok ok ok ok ok ok FAIL - ok ok ok");
    w.github.next_on(INSTALLATIONS, Fault::Status(403));
    w.doctor_fails(1, "installations", ["forbids it"]);
}

#[test]
fn a_token_that_cannot_be_had_is_refused_as_by_the_token_command() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    for args in [&["--permissions", "issues=write"][..], &["--repo", "octo/nothing"], &["--owner", "nobody"]] {
        let refused = w.command(APPTOKEN).args(args).arg("token").run().everything();
        let run = w.command(APPTOKEN).args(args).arg("doctor").run().stdout_contains("FAIL  token: ");
        run.stderr(refused).exit(1);
    }
    w.github.next_on(MINT, Fault::Status(403));
    w.doctor_fails(1, "token", ["forbids it", "list of IP addresses"]);
    w.github.suspend(INSTALLATION_ID);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let said = w.doctor_fails(1, "token", ["suspended", "unsuspend"]);
    assert!(said.contains("ok    installations: 1: octo (suspended)\n"), "{said}");
}

#[test]
fn of_several_installations_any_that_is_not_suspended_will_do() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.github.suspend(INSTALLATION_ID);
    w.github.install(APP_ID, Installation::new(INSTALLATION_ID + 1, "acme-inc"));
    let said = w.apptoken(["doctor"]).text();
    assert!(said.contains("installations: 2: octo (suspended), acme-inc\n"), "{said}");
    assert!(said.contains("token: one for acme-inc"), "{said}");
    let run = w.apptoken(["--owner", "octo", "doctor"]).stdout_contains("FAIL  token: ");
    run.stderr_contains("suspended").exit(1);
}

#[test]
fn each_of_several_keys_is_looked_at_and_one_that_fails_does_not_hinder_the_others() {
    let w = World::with_tools();
    w.add_for_api(NOWHERE, "ghe.example");
    w.github.add_app(App::new(7, "elsewhere").key_pem(OTHER_KEY));
    w.github.install(7, Installation::new(70, "acme-inc"));
    w.file("other.pem", OTHER_KEY);
    w.add_for("7", "other.pem").run().stderr_contains("Identity added").ok();
    let said = w.doctor_fails(1, "api of app-123456", [NOWHERE]);
    assert!(said.contains(&format!("(App {APP_ID} on ghe.example), elsewhere (App 7 on {HOST})\n")), "{said}");
    assert!(said.contains("ok    token of elsewhere: one for acme-inc"), "{said}");
    for (option, value) in [("--app", "elsewhere"), ("--host", HOST), ("--app", "7")] {
        let told = w.apptoken([option, value, "doctor", "--json"]).json();
        let names: Vec<_> = told.as_array().expect("an array").iter().map(|found| found["check"].as_str()).collect();
        let names = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        // Git is told of hosts, and not of keys.
        assert_eq!(names, if option == "--host" { CHECKS.to_owned() } else { format!("{CHECKS} helper") }, "{option}");
    }
    let told = w.apptoken(["doctor", "--json"]).stderr_contains(NOWHERE).text_of(1);
    assert_eq!(told.matches("\"key\": \"elsewhere\"").count(), 5, "{told}");
}

#[test]
fn gh_and_git_need_not_be_there() {
    let mut w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let named = w.script("another", "echo \"gh version 2.0.$#\"");
    w.script("bin/gh", "echo 'gh, of some kind'");
    fs::remove_file(w.path("home/bin/git")).expect("it was there");
    w.env("PATH", w.path("home/bin"));
    let said = w.apptoken(["doctor"]).text();
    assert!(said.contains("warn  gh: gh does not tell its version (install it from https://cli.github.com"), "{said}");
    assert!(
        said.ends_with(
            "warn  git: git is not found (install git, or check PATH)\n-     helper: git is needed to look\n"
        )
    );
    fs::remove_file(w.path("home/bin/gh")).expect("it was there");
    assert!(w.apptoken(["doctor"]).text().contains("warn  gh: gh is not found (install"));
    w.env("APPTOKEN_GH", format!("{} --with words", named.display()));
    assert!(w.apptoken(["doctor"]).text().contains("ok    gh: version 2.0.3\n"));
    w.env("APPTOKEN_GH", "'");
    w.doctor_fails(1, "gh", ["APPTOKEN_GH has a quote without an end"]);
}

#[test]
fn a_program_that_does_not_answer_is_waited_for_no_longer_than_its_time() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.script("bin/gh", "echo $$ >started; cat <>fifo & echo $! >>started; wait");
    w.command("mkfifo").arg("fifo").run().ok();
    let said = w.apptoken(["doctor"]).text();
    assert!(said.contains("warn  gh: gh does not answer ("), "{said}");
    let started = fs::read_to_string(w.path("home/started")).expect("it was run");
    for pid in started.lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a pid"));
        wait_until("nothing of it is left", DEADLINE, || !is_alive(pid));
    }
    assert_eq!(started.lines().count(), 2);
}

#[test]
fn an_older_git_is_warned_about_where_it_would_send_a_login_of_ones_own() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    for (version, netrc, state) in
        [("2.39.5 (Apple Git-154)", false, "ok"), ("2.46.0", true, "ok"), ("2.45.9", true, "warn"), ("3.0", true, "ok")]
    {
        w.script("bin/git", &format!("echo 'git version {version}'"));
        if netrc {
            w.file(".netrc", "machine github.com login octo password canary\n");
        }
        let said = w.apptoken(["doctor"]).text();
        assert_eq!(state_of(&said, "git"), state, "{version}");
        assert_eq!(said.contains("~/.netrc"), state == "warn", "{version}");
    }
}

#[test]
fn whom_git_asks_is_told_and_what_others_are_is_not() {
    let w = World::with_git();
    let base = w.github.url();
    let helper = |says: &str| {
        let run = w.apptoken(["doctor"]).stdout_contains(says);
        run.text().lines().last().expect("a line").to_owned()
    };
    helper(&format!("ok    helper: git asks nobody about {base}; `apptoken setup-git` has it ask apptoken\n"));
    w.plain_git(&["config", "--global", "credential.helper", "!echo password=canary #"]).ok();
    assert!(!helper(&format!("ok    helper: git asks another helper about {base}; ")).contains("canary"));
    w.apptoken(["setup-git"]).stderr_contains("git now asks").ok();
    helper(&format!("ok    helper: git asks apptoken about {base}\n"));
    let setting = format!("credential.{base}.helper");
    w.plain_git(&["config", "--global", "--add", &setting, "!echo password=canary #"]).ok();
    let line = helper(&format!("warn  helper: git asks apptoken about {base}, and others, which may keep the token ("));
    assert!(
        !line.contains("canary") && line.ends_with(&format!("apptoken setup-git --host {})", w.git_host())),
        "{line}"
    );
}

#[test]
fn a_helper_that_is_not_there_any_more_is_to_be_written_down_anew() {
    let w = World::with_git();
    fs::create_dir(w.path("home/old")).expect("a new directory");
    w.command("cp").arg(APPTOKEN).arg("old/apptoken").run().ok();
    w.command("old/apptoken").arg("setup-git").run().stderr_contains("git now asks").ok();
    w.apptoken(["doctor"]).stdout_contains("ok    helper: git asks apptoken").ok();
    fs::remove_dir_all(w.path("home/old")).expect("it was there");
    w.doctor_fails(1, "helper", ["old/apptoken", "not there any more", "apptoken setup-git --host"]);
}

#[test]
fn programs_of_two_versions_are_told_apart() {
    let mut w = World::with_tools();
    fs::create_dir(w.path("home/both")).expect("a new directory");
    w.command("cp").arg(APPTOKEN).arg("both/apptoken").run().ok();
    // What cannot be handed over to the agent's program is told at once.
    let alone = w.command("both/apptoken").arg("doctor").env("PATH", w.path("home/bin")).run();
    alone.fails(127, ["apptoken-agent", "install apptoken-agent beside apptoken"]);
    w.command("cp").arg(AGENT).arg("both/apptoken-agent").run().ok();
    w.script("both/apptoken", "echo apptoken 9.8.7");
    let doctor = || w.command("both/apptoken-agent").args(["--client", "doctor"]);
    let run = doctor().run().stdout_contains("FAIL  programs: apptoken-agent is 0.1.0, and ");
    run.stderr_contains("both/apptoken is 9.8.7").stderr_contains("install both of one version").exit(1);
    fs::remove_file(w.path("home/both/apptoken")).expect("it was there");
    let run = doctor().env("PATH", w.path("home/bin")).run();
    run.stdout_contains("FAIL  programs: ").stderr_contains("apptoken is not found").exit(1);

    let socket = w.path("run/old");
    let listener = UnixListener::bind(&socket).expect("a new socket");
    set_mode(&socket, 0o600);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).read(&mut [0; 1024]);
            let _ =
                (&stream).write_all(b"{\"ok\":true,\"pong\":true,\"version\":\"0.0.9\",\"pid\":1,\"locked\":true}\n");
        }
    });
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.doctor_fails(1, "programs", ["the agent that runs is 0.0.9", "apptoken-agent -k"]);
}

#[test]
fn a_key_that_wants_it_is_confirmed_once() {
    let mut w = World::with_tools();
    w.script("ask", "cd \"$HOME\"; echo \"$1\" >>asked; cat answer");
    w.env("SSH_ASKPASS", w.path("home/ask"));
    w.start_agent(["--new"]);
    w.add_key(["-c"]).stderr_contains("Identity added").ok();
    w.file("answer", "yes\n");
    w.apptoken(["doctor"]).stdout_contains("ok    token: ").ok();
    let asked = fs::read_to_string(w.path("home/asked")).expect("it was asked");
    assert_eq!(asked.matches("Allow use of key").count(), 1, "{asked}");
    assert!(asked.contains("for a look at the way to GitHub"), "{asked}");
    w.file("answer", "no\n");
    let said = w.doctor_fails(1, "app", ["was not confirmed: the user said no"]);
    assert_eq!(states(&said), "ok ok ok ok ok ok - - FAIL - - ok ok ok");
}

#[test]
fn names_from_elsewhere_cannot_move_the_cursor() {
    let w = World::with_tools();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.github.install(APP_ID, Installation::new(INSTALLATION_ID + 1, "oc\u{1b}[2Jto\r\nok    \u{9b}2J"));
    w.script("bin/gh", "printf 'gh version 2.0\\033[2J\\n'");
    for args in [&["doctor"][..], &["doctor", "--json"]] {
        let said = w.apptoken(args).text();
        assert!(said.contains("2: octo, 1002") && said.contains("2.0[2J"), "{said}");
        assert!(!said.contains(['\u{1b}', '\r', '\u{9b}']) && !said.contains("\\u"), "{said}");
    }
}

#[test]
fn no_secret_is_in_what_it_says() {
    let mut w = World::with_tools();
    let ca = Authority::new("ours");
    let front = Front::start(ca.issue(&["api.proxied.test"]), &w.github);
    let file = w.file("ca.pem", ca.pem());
    w.env("SSL_CERT_FILE", file);
    let proxy = Proxy::to(front.address());
    w.env("HTTPS_PROXY", format!("http://octo:canary%21@{}", proxy.authority()));
    w.start_agent(["--new"]);
    w.add_for_api("https://api.proxied.test", HOST);
    let mut said = w.doctor_both_ways();
    assert!(said.contains("ok    token: "), "{said}");
    w.github.next_on("GET /app", Fault::Status(401));
    said += &w.doctor_both_ways();
    w.github.always(MINT, Fault::Status(403));
    w.add_for_api("https://api.proxied.test", HOST);
    said += &w.doctor_both_ways();
    w.lock_with("sesame-canary");
    said += &w.doctor_both_ways();
    let answer = w.request(&json!({"action": "diagnose"})).to_string();
    let key = KEY.lines().nth(1).expect("a line of the key");
    for secret in ["canary", "ghs_", "eyJ", key, w.github.tokens()[0].value.as_str()] {
        assert!(!said.contains(secret) && !answer.contains(secret), "`{secret}` is in:\n{said}{answer}");
    }
}

impl World {
    /// A world with an agent that holds no key, and with a gh and a git that only tell their versions.
    fn with_tools() -> Self {
        let mut w = Self::with_agent();
        fs::create_dir(w.path("home/bin")).expect("a new directory");
        w.script("bin/gh", "echo 'gh version 2.60.1 (2024-10-25)'; echo https://github.com/cli/cli");
        w.script("bin/git", "test \"$1\" != --version || echo 'git version 2.47.0'");
        let path = [w.path("home/bin")].into_iter().chain(env::split_paths(&w.variable("PATH")).collect::<Vec<_>>());
        w.env("PATH", env::join_paths(path).expect("no directory has a colon"));
        w
    }

    /// Runs the doctor, which must name this check as the first that fails; the two lines at the end hold each of `words`.
    #[track_caller]
    fn doctor_fails<const N: usize>(&self, code: i32, check: &str, words: [&str; N]) -> String {
        let mut run = self.apptoken(["doctor"]).stderr_contains("apptoken: ").stderr_contains("\nhint: ");
        for word in words {
            run = run.stderr_contains(word);
        }
        let said = run.text_of(code);
        let first = said.lines().find_map(|line| line.strip_prefix("FAIL  ")?.split(": ").next());
        assert_eq!(first, Some(check), "{said}");
        said
    }

    /// All that the doctor says, in lines and in JSON.
    fn doctor_both_ways(&self) -> String {
        self.apptoken(["doctor"]).everything() + &self.apptoken(["doctor", "--json"]).everything()
    }

    /// Adds the App's key for an API that is not asked yet.
    #[track_caller]
    fn add_for_api(&self, api: &str, host: &str) {
        let add = self.command(APPTOKEN).args(["add", "key.pem", "--offline", "--app-id", &APP_ID.to_string()]);
        add.args(["--host", host, "--api-url", api]).run().stderr_contains("Identity added").ok();
    }

    #[track_caller]
    fn lock_with(&self, passphrase: &str) {
        let locked = self.request(&json!({"action": "lock", "passphrase": passphrase}));
        assert_eq!(locked["ok"], true, "{locked}");
    }
}

/// The marks of all lines.
fn states(said: &str) -> String {
    said.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
}

/// The mark of one line.
#[track_caller]
fn state_of<'a>(said: &'a str, check: &str) -> &'a str {
    let line = said.lines().find(|line| line[6..].starts_with(&format!("{check}:")));
    line.and_then(|line| line.split(' ').next()).expect("each check has a line")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}
