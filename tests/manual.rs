//! `man` and `help`: what the programs tell about themselves.

use crate::support::generated::{committed, section};
use crate::support::{AGENT, APPTOKEN, World, need};

#[test]
fn man_prints_the_manual_of_either_program() {
    let w = World::new();
    let (ours, agents) = (committed("src/cli/man/apptoken.1"), committed("src/cli/man/apptoken-agent.1"));
    w.apptoken(["man"]).stdout(&ours).ok();
    w.apptoken(["man", "apptoken"]).stdout(&ours).ok();
    w.apptoken(["man", "apptoken-agent"]).stdout(&agents).ok();
    w.apptoken(["man", "ls"]).fails(64, ["apptoken-agent"]);
}

#[test]
fn roff_has_nothing_to_complain_of_and_shows_what_it_should() {
    if !need("groff") {
        return;
    }
    let w = World::new();
    for (program, name) in [(APPTOKEN, "apptoken"), (AGENT, "apptoken-agent")] {
        let page = w.apptoken(["man", name]).text();
        // Without the overstrikes and escapes of bold and underlined.
        let groff = w.command("groff").args(["-man", "-Tascii", "-ww", "-P-c", "-P-b", "-P-o", "-P-u", "-rLL=1000n"]);
        let shown = groff.stdin(page).run().text();
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "FILES", "SEE ALSO"]
        {
            assert!(shown.lines().any(|line| line == heading), "{name}: {heading}\n{shown}");
        }
        let help = w.command(program).arg("--help").run().text();
        for option in help.split([' ', ',', '\n']).filter(|word| is_option(word)) {
            assert!(shown.split([' ', ',', '\n']).any(|word| word == option), "{name}: {option}");
        }
    }
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[test]
fn man_shows_the_pages_without_a_warning() {
    if !need("man") {
        return;
    }
    let w = World::new();
    for name in ["apptoken", "apptoken-agent"] {
        let page = w.apptoken(["man", name]).text();
        let shown = w.command("man").args(["--warnings", "-l", "-"]).env("MANROFFSEQ", "").stdin(page).run().text();
        assert!(shown.contains("EXIT STATUS"), "{shown}");
    }
}

#[test]
fn help_of_a_command_is_what_the_command_says_of_itself() {
    let w = World::new();
    for verb in verbs(&w) {
        let help = w.apptoken(["help", &verb]).text();
        assert!(help.contains(&format!("Usage: apptoken {verb}")), "{help}");
        // What stands after these is another program's.
        if !["gh", "git"].contains(&verb.as_str()) {
            w.apptoken([&verb, "--help"]).stdout(help).ok();
        }
    }
    w.apptoken(["help", "no-such-thing"]).fails(64, ["no such command or topic", "apptoken help"]);
}

#[test]
fn help_of_a_topic_is_what_readme_says() {
    let (w, readme) = (World::new(), committed("README.md"));
    for (topic, heading) in [
        ("protocol", "The socket"),
        ("environment", "Environment"),
        ("exit-codes", "Exit status"),
        ("security", "What it protects, and what not"),
    ] {
        w.apptoken(["help", topic]).stdout(section(&readme, heading)).ok();
        assert!(w.apptoken(["help", "help"]).text().contains(topic), "{topic} can be found");
    }
}

#[test]
fn help_alone_names_every_command_and_the_topics() {
    let w = World::new();
    let help = w.apptoken(["help"]).text();
    w.apptoken(["--help"]).stdout(&help).ok();
    for word in ["protocol", "environment", "exit-codes", "security"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(verbs(&w).len() >= 14, "{help}");
    assert!(!verbs(&w).contains(&"words".to_owned()), "what only shells ask for is not told to people");
}

#[test]
fn every_variable_of_ours_that_is_read_is_in_the_manual() {
    let w = World::new();
    let help = w.apptoken(["help", "environment"]).text();
    let source = committed("src/env.rs");
    let names: Vec<_> = source.split('"').filter(|word| word.starts_with("APPTOKEN_")).collect();
    assert!(names.len() > 10, "{names:?}");
    // One is what the agent sets for those who ask it to end, the other what `apptoken gh` sets for itself.
    for name in names.into_iter().filter(|name| !["APPTOKEN_AGENT_PID", "APPTOKEN_GH_DEPTH"].contains(name)) {
        assert!(help.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// The commands that `apptoken --help` lists.
fn verbs(w: &World) -> Vec<String> {
    let help = w.apptoken(["--help"]).text();
    let (_, rest) = help.split_once("\nCommands:\n").expect("it lists commands");
    let lines = rest.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}
