//! The main job, shown on a machine that has nothing but Rust: `cargo run --example demo`.
//!
//! GitHub is simulated, and the App's key is made on the spot; `apptoken`, its agent, the shell and gh are real. Each
//! command is printed, run, and shown with its output. One that does not do what it should ends the demo with a failure,
//! so that it cannot promise more than the programs hold.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "showing is what this program is for")]

mod build;
mod setting;
mod step;

#[path = "../support/github/mod.rs"]
mod github;

use std::process::ExitCode;

use setting::{API_HOST, APP_ID, Setting};
use step::Failure;

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nthe demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<(), Failure> {
    let mut demo = Setting::new(&build::programs()?)?;
    println!("A GitHub is simulated at {}; the App, its key and all tokens are made up.", demo.api_url());

    say("Start the agent; the shell learns where it is.");
    demo.start_agent()?;

    say("Give it the App's private key. It checks with GitHub that they belong together, and never gives the key out.");
    let app = format!("--app-id {APP_ID} --host {API_HOST} --api-url {}", demo.api_url());
    demo.step(&format!("apptoken add key.pem {app}")).prints("Identity added: acme-deployer")?;
    demo.step("apptoken list").prints("2048 SHA256:")?;

    say("Get a token. (Shortened here; it is printed whole.)");
    demo.step("apptoken token").prints("ghs_")?;

    say("Get it again: GitHub is not asked twice.");
    demo.step("apptoken token").prints("ghs_")?;
    demo.assert_mints(1)?;

    say("Run gh as the App's bot: after this, gh is the only process there is.");
    if demo.finds("gh") {
        demo.step("apptoken gh api rate_limit --jq .rate").through_proxy().prints("\"limit\":5000")?;
    } else {
        println!("(skipped: gh is not installed; https://cli.github.com says how)");
    }

    say("Or run anything else.");
    demo.step("apptoken run -- sh -c 'echo \"GH_TOKEN has ${#GH_TOKEN} characters\"'")
        .prints("GH_TOKEN has 520 characters")?;

    say("See what the agent holds: no secrets here.");
    demo.step("apptoken status").prints("token for octo by acme-deployer")?;
    demo.assert_mints(1)?;

    say("When something fails, it says what to do.");
    demo.step("apptoken --repo octo/nothere token").exits(1).prints("hint: ")?;

    say("End the agent. Key and tokens are gone with it.");
    demo.end_agent()?;
    demo.step("apptoken list").exits(2).prints("hint: ")?;

    println!("\nThat was all of it. With an App of your own, the README's quick start does the same on github.com.");
    Ok(())
}

fn say(words: &str) {
    println!("\n# {words}");
}
