//! What `shell/` gives to bash, zsh and fish: the agent found or started, one of a shell's own that ends with it, and `gh` as
//! the App; each file run by its own shell.

use std::path::{Path, PathBuf};

use crate::support::run::Run;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, NO_OPTIONS, World, need};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

#[test]
fn sourcing_says_and_starts_nothing() {
    for (w, shell) in worlds() {
        w.sourced(shell, "").stdout("").ok();
        assert!(w.sockets().is_empty(), "{shell}");
    }
}

#[test]
fn every_shell_finds_the_one_agent() {
    for (w, shell) in worlds() {
        let ask = "apptoken_use; echo $APPTOKEN_AUTH_SOCK";
        let first = w.sourced(shell, ask).line();
        assert!(Path::new(&first).exists(), "{shell}: {first}");
        assert_eq!(w.sourced(shell, ask).line(), first, "{shell}");
    }
}

#[test]
fn an_agent_of_ones_own_ends_with_its_shell_and_no_other_does() {
    for (w, shell) in worlds() {
        let shared = w.sourced(shell, "apptoken_use; echo $APPTOKEN_AUTH_SOCK").line();
        // Also when the environment names another by then.
        w.file("shared", &shared);
        let other = if shell == "fish" {
            "set -gx APPTOKEN_AUTH_SOCK (cat shared)"
        } else {
            "APPTOKEN_AUTH_SOCK=$(cat shared)"
        };
        let script = format!("apptoken_use own; echo $APPTOKEN_AUTH_SOCK; {other}");
        let own = w.sourced(shell, &script).line();
        assert_ne!(own, shared, "{shell}");
        wait_until("the agent of the shell ends", DEADLINE, || !Path::new(&own).exists());
        assert_eq!(w.sockets(), [PathBuf::from(shared)], "{shell}");
    }
}

#[test]
fn what_was_to_be_done_at_exit_is_still_done() {
    if !need("bash") || !need("zsh") || !need("fish") {
        return;
    }
    for (shell, hook) in [
        ("bash", r#"trap 'echo "it'"'"'s over"' EXIT"#),
        ("zsh", r#"bye() { echo "it's over" }; zshexit_functions=(bye)"#),
        ("fish", r#"function bye --on-event fish_exit; echo "it's over"; end"#),
    ] {
        let w = World::new();
        w.sourced(shell, &format!("{hook}\napptoken_use own")).stdout("it's over\n").ok();
        wait_until("the agent of the shell ends", DEADLINE, || w.sockets().is_empty());
    }
}

#[test]
fn gh_becomes_the_apps_if_asked_for_and_keeps_its_arguments_and_status() {
    for (mut w, shell) in worlds() {
        w.start_agent(NO_OPTIONS);
        // The test does not unquote the path as a shell would; the record names the same agent.
        w.env_remove("APPTOKEN_AUTH_SOCK");
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        w.script("gh", r#"printf '<%s>' "$@"; test -n "$GH_TOKEN" && echo; exit 7"#);
        let apptoken = Path::new(APPTOKEN).parent().expect("a directory").display().to_string();
        let path = format!("{}:{apptoken}:/usr/bin:/bin", w.path("home").display());
        w.env("PATH", path);
        w.sourced(shell, "apptoken_use gh; gh pr 'a b' ''").stdout("<pr><a b><>\n").exit(7);
        w.sourced(shell, "apptoken_use; gh pr").stdout("<pr>").exit(7);
        w.sourced(shell, "apptoken_use gh; command gh pr").stdout("<pr>").exit(7);
    }
}

#[test]
fn only_what_was_asked_for_is_defined_and_all_else_has_our_prefix() {
    for (w, shell) in worlds() {
        let names = match shell {
            "bash" => "compgen -A function; compgen -v",
            "zsh" => "print -l ${(k)functions} ${(k)parameters}",
            _ => "functions -a -n; set -n",
        };
        // Twice, so that what the shell sets by itself when it is first asked is there already.
        let script =
            format!("{names} >/dev/null; echo before; {names}; . {FILE}; apptoken_use own gh; echo after; {names}");
        let script = script.replace(FILE, &file_for(shell).display().to_string());
        let said = w.shell(shell, &script).text();
        let (before, after) = said.split_once("after\n").expect("both lists");
        let new: Vec<&str> = after.lines().filter(|name| !before.lines().any(|known| known == *name)).collect();
        assert!(new.contains(&"gh"), "{shell}: {new:?}");
        let ours = |name: &&&str| name.to_ascii_lowercase().trim_start_matches('_').starts_with("apptoken");
        let foreign: Vec<_> = new.iter().filter(|name| !ours(name) && **name != "gh").collect();
        let shells_own = ["zshexit_functions", "FUNCNAME", "PIPESTATUS", "BASH_LINENO", "_", "pipestatus"];
        assert!(foreign.iter().all(|name| shells_own.contains(name)), "{shell}: {foreign:?}");
    }
}

#[test]
fn it_works_in_a_strict_shell_and_fails_with_a_status_when_it_cannot_work() {
    for (mut w, shell) in worlds() {
        if shell != "fish" {
            w.sourced(shell, "set -eu; apptoken_use own gh; echo on").stdout("on\n").ok();
        }
        w.sourced(shell, "apptoken_use everything").stderr_contains("own, gh and git").exit(64);
        w.env("TMPDIR", "/nowhere");
        w.env("XDG_RUNTIME_DIR", "/nowhere");
        w.env("PATH", "/usr/bin:/bin");
        let failed = w.sourced(shell, "apptoken_use; set failed $status 2>/dev/null; exit 3");
        failed.stderr_contains("apptoken-agent").exit(3);
    }
}

const FILE: &str = "@FILE@";

/// A world for each shell that is there.
fn worlds() -> impl Iterator<Item = (World, &'static str)> {
    SHELLS.into_iter().filter(|shell| need(shell)).map(|shell| (World::in_directory_named("a $(b) 'c'"), shell))
}

fn file_for(shell: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shell/apptoken.{shell}"))
}

impl World {
    /// Runs a script in a shell that has sourced its file.
    fn sourced(&self, shell: &str, script: &str) -> Run {
        self.shell(shell, &format!("source {}\n{script}", file_for(shell).display()))
    }
}
