//! A key file is read in every form that people have it in, and what is no App's key is refused with the reason.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{KEY, NO_OPTIONS, World, need};

#[test]
fn every_form_in_which_people_have_their_key_is_read() {
    let crlf = KEY.replace('\n', "\r\n");
    let one_line = KEY.replace('\n', "\\n");
    let in_blanks = format!("\n\n  {KEY}\n \t\n");
    let no_newline = KEY.trim_end().to_owned();
    for (what, form) in [("CRLF", crlf), ("\\n", one_line), ("blanks", in_blanks), ("no newline", no_newline)] {
        let w = World::with_agent();
        let file = w.file("form.pem", form);
        w.add(&file).run().stderr_contains("Identity added").ok();
        assert_eq!(w.apptoken(["token"]).line().len(), 40, "{what}");
    }
}

#[test]
fn pkcs8_and_base64_of_the_whole_file_are_read_too() {
    if !need("openssl") {
        return;
    }
    for convert in
        ["openssl pkcs8 -topk8 -nocrypt -in key.pem", "openssl base64 -A -in key.pem", "openssl base64 -in key.pem"]
    {
        let w = World::with_agent();
        let form = w.shell("sh", convert).text();
        let file = w.file("form.pem", form);
        w.add(&file).run().stderr_contains("Identity added").ok();
        assert_eq!(w.apptoken(["token"]).line().len(), 40, "{convert}");
    }
}

#[test]
fn a_key_can_come_from_stdin() {
    let w = World::with_agent();
    w.add("-").stdin(KEY).run().stderr_contains("Identity added").ok();
    assert_eq!(w.apptoken(["token"]).line().len(), 40);
}

#[test]
fn what_is_no_apps_private_key_is_refused_with_the_reason() {
    if !need("openssl") {
        return;
    }
    for (make, reason) in [
        ("openssl rsa -in key.pem -pubout 2>/dev/null", "public key"),
        ("openssl rsa -in key.pem -RSAPublicKey_out 2>/dev/null", "public key"),
        ("openssl req -x509 -new -key key.pem -subj /CN=x -days 1", "certificate"),
        ("openssl ecparam -name prime256v1 -genkey -noout", "RSA"),
        ("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "RSA"),
        ("openssl genpkey -algorithm ED25519", "RSA"),
        ("openssl genrsa -traditional 1024 2>/dev/null", "2048"),
        ("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 2>/dev/null", "2048"),
        ("cat key.pem key.pem", "several"),
        ("head -n 12 key.pem", "cut off"),
        ("head -n 12 key.pem; tail -n 1 key.pem", "cut off"),
        ("sed 's/^MII/???/' key.pem", "key.pem"),
        ("echo 'ghs_not a key at all'", "key"),
        ("true", "empty"),
        ("echo", "empty"),
        ("head -c 20000 /dev/zero | tr '\\0' A", "16 KiB"),
    ] {
        let w = World::with_agent();
        let bad = w.shell("bash", make).text();
        w.file("bad-key.pem", bad);
        w.add("bad-key.pem").run().fails(1, [reason, "bad-key.pem"]);
        w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
        w.assert_agent_is_well();
    }
}

#[test]
fn an_encrypted_key_without_a_terminal_is_an_error_and_not_a_hang() {
    if !need("openssl") {
        return;
    }
    let w = World::with_agent();
    w.shell("sh", "openssl pkcs8 -topk8 -in key.pem -passout pass:secret -out encrypted.pem").ok();
    w.add("encrypted.pem").run().fails(1, ["encrypted"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let w = World::with_agent();
    w.add("no-such-key.pem").run().fails(1, ["no-such-key.pem"]);
    w.add("/").run().fails(1, []);
    w.add("/dev/zero").run().fails(1, ["16 KiB"]);
}

#[test]
fn a_key_file_that_others_can_read_is_warned_about() {
    let w = World::with_agent();
    fs::set_permissions(w.path("home/key.pem"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").stderr_contains("others can read key.pem").ok();
}
