//! Who may know whom: imports point down the tree, and the two programs meet only in what both of them speak.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and the modules that it may name beside itself and what lies below it. A module that is not here has no
/// place yet: find the lowest row that it needs and put it beneath that.
const MAY_NAME: &[(&str, &[&str])] = &[
    // Words: pure data.
    ("env", &[]),
    ("ids", &[]),
    ("secret", &[]),
    ("lifetime", &["ids"]),
    ("pem", &["secret"]),
    ("protocol", &["ids", "secret"]),
    // Plumbing that both programs share.
    ("files", &[]),
    ("frame", &[]),
    ("output", &[]),
    ("paths", &["env"]),
    ("config", &["files", "ids", "paths"]),
    ("shell", &["env"]),
    ("usage", &["output"]),
    ("user", &[]),
    ("client", &["env", "frame", "ids", "paths", "protocol", "secret", "user"]),
    // The client's program never names the agent's.
    (
        "cli",
        &[
            "client", "config", "env", "files", "ids", "lifetime", "output", "paths", "pem", "protocol", "secret",
            "shell", "usage",
        ],
    ),
    // The agent's parts do not know each other …
    ("agent::args", &["env", "lifetime", "shell"]),
    ("agent::clock", &[]),
    ("agent::daemon", &[]),
    ("agent::socket", &["env", "files", "output", "paths"]),
    ("agent::record", &["agent::args", "client", "files", "lifetime", "output", "paths", "protocol"]),
    ("agent::fair", &["agent::guard"]),
    ("agent::connections", &["agent::fair", "agent::guard"]),
    ("agent::guesses", &["agent::fair"]),
    ("agent::worker", &["agent::guard"]),
    ("agent::flight", &["agent::guard", "agent::clock", "agent::fair", "protocol"]),
    ("agent::key", &["pem", "secret"]),
    ("agent::derive", &["secret"]),
    ("agent::lock", &["agent::derive", "secret"]),
    ("agent::sealed", &["agent::derive", "pem", "secret"]),
    ("agent::encrypted", &["agent::sealed", "pem", "secret"]),
    ("agent::peer", &[]),
    ("agent::key_file", &["pem", "protocol", "secret"]),
    ("agent::inbox", &["frame"]),
    ("agent::receive", &["agent::inbox", "protocol"]),
    ("agent::shield", &["agent::guard", "secret"]),
    ("agent::jwt", &["ids", "secret"]),
    ("agent::guard", &[]),
    ("agent::shelf", &["agent::guard"]),
    ("agent::tokens", &["agent::clock", "agent::shelf", "ids", "secret"]),
    ("agent::keyring", &["agent::clock", "agent::shield", "ids", "protocol", "secret"]),
    ("agent::network", &[]),
    ("agent::http", &["agent::guard", "secret"]),
    ("agent::unclaimed", &["agent::guard", "ids", "secret"]),
    ("agent::reply", &["agent::clock", "agent::network", "ids"]),
    (
        "agent::api",
        &["agent::guard", "agent::clock", "agent::fair", "agent::http", "agent::network", "agent::reply", "ids"],
    ),
    (
        "agent::github",
        &[
            "agent::api",
            "agent::clock",
            "agent::fair",
            "agent::http",
            "agent::network",
            "agent::reply",
            "agent::unclaimed",
            "env",
            "ids",
            "protocol",
            "secret",
        ],
    ),
    ("agent::permissions", &["ids", "protocol"]),
    ("agent::writer", &[]),
    ("agent::debug_log", &["agent::writer"]),
    ("agent::audit", &["agent::clock", "agent::guard", "agent::peer", "agent::writer", "ids", "protocol", "secret"]),
    ("agent::confirm", &["agent::guard", "agent::keyring", "agent::peer", "agent::worker", "env"]),
    // … but to those that bring them together: what is held, what is refused, what is done about a request.
    (
        "agent::signing",
        &[
            "agent::fair",
            "agent::github",
            "agent::jwt",
            "agent::keyring",
            "agent::network",
            "agent::reply",
            "agent::shield",
            "agent::worker",
            "ids",
            "secret",
        ],
    ),
    ("agent::state", &["agent::clock", "agent::keyring", "agent::lock", "agent::tokens", "ids", "protocol"]),
    ("agent::refuse", &["agent::api", "agent::keyring", "agent::reply", "agent::state", "ids", "protocol"]),
    ("agent::question", &["agent::keyring", "agent::permissions", "agent::state", "agent::tokens", "ids", "protocol"]),
    ("agent::diagnose", ALL_BUT_THE_PROCESS),
    ("agent::handler", ALL_BUT_THE_PROCESS),
    ("agent::keys", ALL_BUT_THE_PROCESS),
    ("agent::opening", ALL_BUT_THE_PROCESS),
    ("agent::mint", ALL_BUT_THE_PROCESS),
    ("agent::revoke", ALL_BUT_THE_PROCESS),
    ("agent::whoami", ALL_BUT_THE_PROCESS),
    // The connections know what answers them and nothing that it uses.
    (
        "agent::server",
        &[
            "agent::connections",
            "agent::fair",
            "agent::handler",
            "agent::inbox",
            "agent::peer",
            "agent::receive",
            "frame",
            "output",
            "protocol",
            "secret",
        ],
    ),
    (
        "agent::start",
        &[
            "agent::args",
            "agent::audit",
            "agent::clock",
            "agent::confirm",
            "agent::daemon",
            "agent::handler",
            "agent::http",
            "agent::jwt",
            "agent::record",
            "agent::server",
            "agent::socket",
            "env",
            "output",
            "paths",
        ],
    ),
    ("agent", &["client", "env", "output", "protocol", "shell", "usage", "user"]),
];

const ALL_BUT_THE_PROCESS: &[&str] = &[
    "agent::audit",
    "agent::clock",
    "agent::confirm",
    "agent::debug_log",
    "agent::derive",
    "agent::encrypted",
    "agent::fair",
    "agent::flight",
    "agent::github",
    "agent::guard",
    "agent::guesses",
    "agent::handler",
    "agent::http",
    "agent::jwt",
    "agent::key",
    "agent::key_file",
    "agent::keyring",
    "agent::keys",
    "agent::lock",
    "agent::opening",
    "agent::peer",
    "agent::question",
    "agent::refuse",
    "agent::reply",
    "agent::revoke",
    "agent::sealed",
    "agent::shield",
    "agent::signing",
    "agent::state",
    "agent::tokens",
    "agent::unclaimed",
    "agent::worker",
    "ids",
    "lifetime",
    "output",
    "pem",
    "protocol",
    "secret",
];

#[test]
fn imports_point_down_the_tree() {
    let modules: BTreeSet<String> = sources().iter().map(|file| module_of(file)).collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let source = fs::read_to_string(&file).expect("src/ is readable");
        let (row, allowed) = row_of(&module).unwrap_or_else(|| panic!("`{module}` has no row in tests/layering.rs"));
        for named in modules_named_in(&source, &module, &modules) {
            let may = is_within(&named, row) || allowed.iter().any(|allowed| is_within(&named, allowed));
            if !may {
                wrong.push(format!("{module} names {named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the table in tests/layering.rs:\n{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_table_is_a_module() {
    let modules: BTreeSet<String> = sources().iter().map(|file| module_of(file)).collect();
    for (row, allowed) in MAY_NAME {
        for module in [row].into_iter().chain(*allowed) {
            assert!(modules.contains(*module), "there is no module `{module}`");
        }
    }
}

#[test]
fn the_two_programs_are_one_line_each() {
    for (program, main) in [("apptoken", "apptoken::cli::main()"), ("apptoken-agent", "apptoken::agent_program()")] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/bin/{program}.rs"));
        let source = fs::read_to_string(file).expect("src/bin/ is readable");
        let statements: Vec<_> = source.lines().filter(|line| line.starts_with("    ")).collect();
        assert_eq!(statements, [format!("    {main}")], "{program}");
    }
}

/// The modules that `source`, the text of `module`, names by `crate::`, `super::` or `self::`, but in its unit tests.
fn modules_named_in(source: &str, module: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut named = BTreeSet::new();
    for (word, base) in [("crate::", ""), ("super::", parent), ("self::", module)] {
        for (at, _) in code.match_indices(word) {
            let follows_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !follows_a_word {
                let paths = paths_at(&code[at + word.len()..]).into_iter();
                named.extend(paths.filter_map(|path| longest_module(&join(base, &path), modules)));
            }
        }
    }
    // A module and those around it are one house.
    named.retain(|named| !is_within(module, named));
    named
}

/// The path, or with braces the paths, at the beginning of `text`.
fn paths_at(text: &str) -> Vec<String> {
    let path = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
    let Some(group) = text.strip_prefix('{') else {
        return vec![path(text)];
    };
    let (mut depth, mut paths, mut rest) = (1, Vec::new(), group);
    paths.push(path(rest.trim_start()));
    while let Some(at) = rest.find(['{', '}', ',']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        match mark {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ if depth == 1 => paths.push(path(after.trim_start())),
            _ => (),
        }
        if depth == 0 {
            break;
        }
        rest = after;
    }
    paths
}

/// The longest beginning of `path` that is a module.
fn longest_module(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path.trim_end_matches(':');
    loop {
        if modules.contains(path) {
            return Some(path.to_owned());
        }
        (path, _) = path.rsplit_once("::")?;
    }
}

/// The row of `module`, or of what it lies in; but where some modules of a directory have rows, each must.
fn row_of(module: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let is_split = |row: &str| MAY_NAME.iter().any(|(other, _)| *other != row && is_within(other, row));
    MAY_NAME.iter().find(|(row, _)| *row == module || (is_within(module, row) && !is_split(row)))
}

/// Whether `module` is `outer` or lies in it.
fn is_within(module: &str, outer: &str) -> bool {
    module.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn join(base: &str, path: &str) -> String {
    if base.is_empty() { path.to_owned() } else { format!("{base}::{path}") }
}

/// `src/agent/mod.rs` is `agent`, `src/agent/jwt.rs` is `agent::jwt`.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(root()).expect("it is below src/").with_extension("");
    let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).filter(|name| name != "mod").collect();
    names.join("::")
}

/// The files of the library, but the one that lists the others, and the one that is run before it is built.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("src/ is readable") {
            let path = entry.expect("src/ is readable").path();
            if path.is_dir() && path != root().join("bin") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["lib.rs", "build.rs"].iter().any(|file| path == root().join(file))
            {
                files.push(path);
            }
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
