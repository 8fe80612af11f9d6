//! Keys at rest: whatever is wrong with what is stored is told, what others stored is read, and nothing lies about in clear.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use apptoken::agent::derive::Params;
use apptoken::agent::key::AppKey;
use apptoken::agent::sealed;
use apptoken::pem;

use crate::init::{PASSPHRASE, init, shell, stored, with_passphrase, world};
use crate::support::process::peak;
use crate::support::run::Run;
use crate::support::together::at_once;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, HOST, INSTALLATION_ID, KEY, NO_OPTIONS, SLUG, World, files_below, need};

#[test]
fn whichever_byte_of_a_stored_key_is_changed_it_is_refused_with_a_sentence() {
    let mut w = world();
    w.start_agent(NO_OPTIONS);
    // With little memory, so that each try takes no time; the format is the same.
    let pkcs1 = AppKey::from_wire(&pem::read(KEY.as_bytes()).expect("a key").wire).expect("a key").pkcs1;
    let sealed =
        sealed::seal(&pkcs1, &PASSPHRASE.into(), Params { memory: 8, passes: 1, lanes: 1 }).expect("there is memory");
    let add = |name: &str, file: &[u8]| -> Run {
        w.file(name, file);
        let app = APP_ID.to_string();
        let args = ["add", name, "--app-id", &app, "--offline", "--passphrase-fd", "0"];
        w.command(crate::support::APPTOKEN).args(args).stdin(PASSPHRASE).run()
    };
    add("whole.key", &sealed).stderr_contains("Identity added").ok();
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    let said = Mutex::new(BTreeSet::new());
    at_once(0..WORKERS, |worker| {
        for place in (worker..sealed.len()).step_by(WORKERS) {
            let mut changed = sealed.clone();
            changed[place] ^= 1 << (place % 8);
            let words = add(&format!("changed-{worker}.key"), &changed).said_of(1);
            assert!(words.starts_with("apptoken: ") && words.contains("\nhint: "), "byte {place}: {words}");
            said.lock()
                .expect("no worker panics")
                .extend(words.lines().map(|line| line.replace(&worker.to_string(), "N")));
        }
    });
    w.assert_agent_is_well();
    assert!(w.apptoken(["list"]).everything().contains("no identities"));
    // As few sentences as there are things that can be wrong: nothing of what was read is repeated.
    let said = said.into_inner().expect("no worker panics");
    assert!((4..20).contains(&said.len()), "{said:#?}");
}

#[test]
fn parameters_beyond_all_bounds_are_refused_before_anything_is_spent() {
    let mut w = world();
    init(&w, &["key.pem"]).run().stderr_contains("Stored").ok();
    w.start_agent(NO_OPTIONS);
    let before = peak(w.pid());
    let whole = fs::read(stored(&w, SLUG)).expect("it is stored");
    for (field, value) in
        [(16, u32::MAX), (16, 256 * 1024 + 1), (20, u32::MAX), (20, 9), (24, 5), (24, 0), (20, 0), (16, 0)]
    {
        let mut changed = whole.clone();
        changed[field..field + 4].copy_from_slice(&value.to_be_bytes());
        fs::write(stored(&w, SLUG), changed).expect("it is ours");
        let refused = with_passphrase(&w, PASSPHRASE, &["add"]).run();
        refused.stderr_contains(format!("apptoken: {SLUG}: ")).exit(1);
    }
    let spent = peak(w.pid()) - before;
    assert!(spent < 16 * 1024 * 1024, "{spent} bytes were taken to refuse");
}

#[test]
fn what_the_original_tool_stored_is_read_and_converted() {
    if !need("node") {
        return;
    }
    let w = world();
    by_original(&w, "hunter2");
    // It is loaded as it is …
    let started = with_passphrase(&w, "hunter2", &["daemon", "start"]).run();
    started.stderr_contains(format!("Identity added: original (App {APP_ID} on {HOST})")).ok();
    w.apptoken(["daemon", "start"]).stderr_contains("Agent pid").ok();
    w.apptoken(["token"]).line();
    w.apptoken(["daemon", "stop"]).stderr_contains("ended").ok();
    with_passphrase(&w, "hunter3", &["daemon", "start"]).run().stderr_contains("apptoken: original: ").exit(1);
    w.apptoken(["daemon", "stop"]).stderr_contains("ended").ok();

    // … and offered for conversion, with what its configuration says.
    let mut terminal = shell(&w);
    terminal.type_line("apptoken init");
    terminal.expect_next("pem.enc: convert it? [y/N]: ");
    terminal.type_line("y");
    terminal.expect_next("Passphrase for the original's key: ");
    terminal.type_hidden("hunter2");
    terminal.expect_next("GitHub knows it");
    terminal.expect_next("New passphrase");
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next("Again: ");
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next("Stored, encrypted: ");
    terminal.expect_next("pem.enc, now that it is stored? [y/N]: ");
    terminal.type_line("y");
    terminal.expect_next("Next: ");
    drop(terminal);
    let left: Vec<_> = files_below(&w.path("config/apptoken"));
    let names: BTreeSet<_> = left.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(names, BTreeSet::from(["config.toml", "acme-deployer.key"]));
    let config = fs::read_to_string(w.path("config/apptoken/config.toml")).expect("it is there");
    assert!(config.contains(&format!("installation-id = {INSTALLATION_ID}")), "{config}");
    with_passphrase(&w, PASSPHRASE, &["daemon", "start"]).run().stderr_contains("Identity added").ok();
}

#[test]
fn a_script_converts_what_the_original_stored() {
    if !need("node") {
        return;
    }
    let w = world();
    by_original(&w, PASSPHRASE);
    let args = ["init", "../config/apptoken/pem.enc", "--remove-file", "--passphrase-fd", "0"];
    let run = w.command(crate::support::APPTOKEN).args(args).stdin(PASSPHRASE).run();
    run.stderr_contains("Stored, encrypted: ").ok();
    assert!(stored(&w, SLUG).exists());
    assert!(!w.path("config/apptoken/pem.enc").exists() && !w.path("config/apptoken/config.json").exists());
}

#[test]
fn an_encrypted_pem_is_opened_and_stored_under_a_passphrase_of_its_own() {
    if !need("openssl") {
        return;
    }
    let w = world();
    encrypt_key(&w, "hunter2");
    let mut terminal = shell(&w);
    terminal.type_line("apptoken init encrypted.pem");
    terminal.expect_next("Passphrase for encrypted.pem: ");
    terminal.type_hidden("hunter3");
    terminal.expect_next("; try again");
    terminal.expect_next("Passphrase for encrypted.pem: ");
    terminal.type_hidden("hunter2");
    terminal.expect_next("The key: 2048 bits");
    terminal.expect_next("settings page: ");
    terminal.type_line(&APP_ID.to_string());
    terminal.expect_next("New passphrase");
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next("Again: ");
    terminal.type_hidden(PASSPHRASE);
    terminal.expect_next("[y/N]: ");
    terminal.type_line("n");
    terminal.expect_next("READY$ ");
    drop(terminal);
    with_passphrase(&w, PASSPHRASE, &["daemon", "start"]).run().stderr_contains("Identity added").ok();

    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    let add = |passphrase| with_passphrase(&w, passphrase, &["add", "encrypted.pem", "--app-id", "123456"]).run();
    add("hunter3").stderr_contains("apptoken: encrypted.pem: ").exit(1);
    add("hunter2").stderr_contains("Identity added").ok();
    // A key that is not encrypted needs none, and a passphrase cannot be had from nobody.
    w.apptoken(["add", "encrypted.pem", "--app-id", "123456"]).stderr_contains("no terminal").exit(1);
}

#[test]
fn no_process_and_no_file_ever_holds_a_key_or_a_passphrase_in_clear() {
    if !need("openssl") {
        return;
    }
    let w = world();
    encrypt_key(&w, OLD_CANARY);
    fs::remove_file(w.path("home/key.pem")).expect("it is ours");
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                seen.extend(
                    processes().into_iter().filter(|(_, text)| !seen_secrets(text).is_empty()).map(|(pid, _)| pid),
                );
            }
            seen
        });
        let mut terminal = shell(&w);
        terminal.type_line("apptoken init encrypted.pem --remove-file");
        terminal.expect_next("Passphrase for");
        terminal.type_hidden(OLD_CANARY);
        terminal.expect_next("settings page: ");
        terminal.type_line(&APP_ID.to_string());
        terminal.expect_next("New passphrase");
        terminal.type_hidden(CANARY);
        terminal.expect_next("Again: ");
        terminal.type_hidden(CANARY);
        terminal.expect_next("Stored");
        terminal.type_line("apptoken run -- true; echo \"status $?\"");
        terminal.expect_next("Passphrase for");
        terminal.type_hidden(CANARY);
        terminal.expect_next("status 0");
        terminal.type_line("apptoken remove --all; apptoken add; echo \"status $?\"");
        terminal.expect_next("Passphrase for");
        terminal.type_hidden(CANARY);
        terminal.expect_next("status 0");
        assert_eq!(seen_secrets(&terminal.transcript()), Vec::<&str>::new());
        over.store(true, Ordering::Relaxed);
        watcher.join().expect("it does not panic")
    });
    assert!(seen.is_empty(), "secrets are in the arguments or the environment of {seen:?}");
    for file in ["home", "config", "run", "tmp"].iter().flat_map(|part| files_below(&w.path(part))) {
        let text = fs::read(&file).expect("it is ours");
        assert_eq!(seen_secrets(&String::from_utf8_lossy(&text)), Vec::<&str>::new(), "{}", file.display());
    }
    w.apptoken(["daemon", "stop"]).stderr_contains("ended").ok();
    wait_until("the agents have ended", DEADLINE, || w.sockets().is_empty());
}

/// What every process was started with, as far as it can be seen.
fn processes() -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.parse::<u32>().is_ok());
    let read = |pid: &str, file: &str| fs::read(Path::new("/proc").join(pid).join(file)).unwrap_or_default();
    pids.map(|pid| {
        let text = [read(&pid, "cmdline"), read(&pid, "environ")].concat();
        (pid, String::from_utf8_lossy(&text).into_owned())
    })
    .collect()
}

fn seen_secrets(text: &str) -> Vec<&'static str> {
    let lines = KEY.lines().filter(|line| !line.starts_with('-'));
    lines.chain([CANARY, OLD_CANARY]).filter(|secret| text.contains(secret)).collect()
}

/// Stores the key as the original does: by Node's own cryptography.
fn by_original(w: &World, passphrase: &str) {
    let script = "
        const { randomBytes, pbkdf2Sync, createCipheriv } = require('node:crypto');
        const { readFileSync, mkdirSync, writeFileSync } = require('node:fs');
        const [folder, passphrase, app, installation] = process.argv.slice(1);
        const salt = randomBytes(32), iv = randomBytes(16);
        const aes = createCipheriv('aes-256-gcm', pbkdf2Sync(passphrase, salt, 100000, 32, 'sha256'), iv);
        const body = Buffer.concat([aes.update(readFileSync('key.pem')), aes.final()]);
        mkdirSync(folder, { recursive: true });
        writeFileSync(folder + '/pem.enc', Buffer.concat([salt, iv, aes.getAuthTag(), body]).toString('base64'));
        const config = { appId: app, installationId: installation, pemPath: folder + '/pem.enc', createdAt: 'today' };
        writeFileSync(folder + '/config.json', JSON.stringify(config, null, 2));";
    let node = w.command("node").args(["-e", script]).arg(w.path("config/apptoken"));
    node.args([passphrase, &APP_ID.to_string(), &INSTALLATION_ID.to_string()]).run().ok();
    for file in ["pem.enc", "config.json"] {
        w.shell("sh", &format!("chmod 600 ../config/apptoken/{file}; chmod 700 ../config/apptoken")).ok();
    }
}

fn encrypt_key(w: &World, passphrase: &str) {
    let openssl =
        w.command("openssl").args(["pkcs8", "-topk8", "-in", "key.pem", "-out", "encrypted.pem", "-passout", "stdin"]);
    openssl.stdin(format!("{passphrase}\n")).run().ok();
}

const WORKERS: usize = 4;
/// Passphrases that nothing else is.
const CANARY: &str = "canary-of-the-new-passphrase-5512";
const OLD_CANARY: &str = "canary-of-the-old-passphrase-8034";
