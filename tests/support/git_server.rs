//! git's side of the GitHub of a [`World`]: real repositories behind the real `git http-backend`, with GitHub's checks and
//! words in front of it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::command::Invocation;
use super::github::{self, Answer, Content, GitHub, Level, Request};
use super::run::Run;
use super::{APP_ID, APPTOKEN, SLUG, World};

/// What leads to the world's GitHub by http and not by its host's name.
const PUBLIC: &str = "public";

impl World {
    /// A world whose GitHub serves git as well, and whose agent holds the App's key for it. The repository `octo/hello` has
    /// one commit, with the file `greeting`.
    pub(crate) fn with_git() -> Self {
        let mut w = Self::with_agent();
        w.serve_git();
        w.add_key_for_git();
        w
    }

    /// Lets the GitHub of this world serve git, and git know who commits.
    pub(crate) fn serve_git(&mut self) {
        for (name, value) in [
            ("GIT_AUTHOR_NAME", "Octo"),
            ("GIT_AUTHOR_EMAIL", "octo@example.invalid"),
            ("GIT_COMMITTER_NAME", "Octo"),
            ("GIT_COMMITTER_EMAIL", "octo@example.invalid"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ] {
            self.env(name, value);
        }
        // What must not happen leaves a trace.
        let ssh = self.script("ssh", "touch \"$HOME/ssh-was-run\"; exit 1");
        self.env("GIT_SSH_COMMAND", ssh);
        serve(&self.github, self.path("git"));
        self.repository("octo/hello", "echo hello >greeting");
    }

    /// Holds the App's key for the address under which git finds the GitHub of this world.
    #[track_caller]
    pub(crate) fn add_key_for_git(&self) {
        let host = self.git_host();
        let add = self.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string(), "--host", &host]);
        let added = format!("Identity added: {SLUG} (App {APP_ID} on {host})\n");
        add.args(["--api-url", &self.github.url()]).run().stderr(added).ok();
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn git_host(&self) -> String {
        self.github.url().replace("http://", "")
    }

    /// The address of a repository.
    pub(crate) fn git_url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.github.url())
    }

    /// Makes a repository with one commit of what `script` leaves in an empty directory; its branch is `main`.
    #[track_caller]
    pub(crate) fn repository(&self, name: &str, script: &str) {
        let (owner, repository) = name.split_once('/').expect("OWNER/NAME");
        self.github.add_repository(owner, repository);
        let bare = self.path("git").join(format!("{name}.git"));
        let work = self.path("tmp").join(repository);
        fs::create_dir_all(&work).expect("a new directory");
        let make = format!("set -e; git init -q -b main; {script}\ngit add -A; git commit -q -m first");
        self.command("sh").args(["-c", &make]).current_dir(&work).run().ok();
        self.command("git").args(["clone", "-q", "--bare"]).args([&work, &bare]).run().ok();
        fs::remove_dir_all(&work).expect("it was ours");
    }

    /// Lets everybody read a repository.
    pub(crate) fn publish(&self, name: &str) {
        fs::write(self.path("git").join(format!("{name}.git")).join(PUBLIC), "").expect("the repository is there");
    }

    /// `apptoken git ARGS…` in a directory below the home directory.
    pub(crate) fn git_in(&self, directory: &str, args: &[&str]) -> Invocation {
        self.command(APPTOKEN).arg("git").args(args).current_dir(self.path("home").join(directory))
    }

    /// `apptoken git ARGS…` in the home directory.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> Run {
        self.git_in("", args).run()
    }

    /// git itself, in the home directory.
    #[track_caller]
    pub(crate) fn plain_git(&self, args: &[&str]) -> Run {
        self.command("git").args(args).run()
    }

    /// A clone of `octo/hello` in `hello` below the home directory.
    #[track_caller]
    pub(crate) fn clone_hello(&self) {
        self.git(&["clone", "-q", &self.git_url("octo/hello"), "hello"]).ok();
    }

    /// Whether ssh was run by git.
    pub(crate) fn ssh_was_run(&self) -> bool {
        self.path("home/ssh-was-run").exists()
    }

    /// The files of this world that contain `text`.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        files_below(&self.path(""))
            .into_iter()
            .filter(|file| {
                let contents = fs::read(file).unwrap_or_default();
                contents.windows(text.len()).any(|window| window == text.as_bytes())
            })
            .collect()
    }
}

fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => drop(files.insert(entry.path())),
            _ => (),
        }
    }
    files
}

/// Serves the repositories below `root` to whom GitHub would.
fn serve(github: &GitHub, root: PathBuf) {
    github.serve_git(move |world, request| match admitted(world, request, &root) {
        Ok(path) => backend(&root, &path, request),
        Err(answer) => answer,
    });
}

/// Judges a request as GitHub does; returns the path of what it wants, with the `.git` that may be left out.
fn admitted(world: &mut github::World, request: &Request, root: &Path) -> Result<String, Answer> {
    let mut parts = request.path.splitn(4, '/').skip(1);
    let (Some(owner), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refusal(404, "Not Found"));
    };
    let name = name.strip_suffix(".git").unwrap_or(name);
    let path = format!("/{owner}/{name}.git/{rest}");
    let pushes = rest == "git-receive-pack" || request.query.contains("service=git-receive-pack");
    if !pushes && root.join(format!("{owner}/{name}.git/{PUBLIC}")).exists() {
        return Ok(path);
    }
    match world.standing(request, (owner, name), "contents") {
        Err(_) if request.header("authorization").is_empty() => Err(refusal(401, "No anonymous access.")),
        Err(answer) if answer.status == 401 => {
            Err(refusal(401, "Invalid username or token. Password authentication is not supported for Git operations."))
        }
        Err(answer) => Err(answer),
        Ok(None) => Err(refusal(404, "Repository not found.")),
        Ok(Some(level)) if pushes && level < Level::Write => {
            Err(refusal(403, "Write access to repository not granted."))
        }
        Ok(Some(_)) => Ok(path),
    }
}

fn refusal(status: u16, words: &str) -> Answer {
    let answer = Answer::raw(status, "text/plain; charset=utf-8", format!("{words}\n"));
    if status == 401 { answer.header("WWW-Authenticate", "Basic realm=\"GitHub\"") } else { answer }
}

/// Runs git's CGI program.
fn backend(root: &Path, path: &str, request: &Request) -> Answer {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", env::var_os("PATH").expect("the tests have a PATH"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "x-access-token")
        .env("PATH_INFO", path)
        .env("REQUEST_METHOD", &request.method)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git can be started");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let body = request.body.clone();
    // From a thread: it may answer before it has read everything, and then need not read the rest.
    let feeder = thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().expect("git is ours to wait for");
    feeder.join().expect("it does not panic");
    read_cgi(&output.stdout)
}

fn read_cgi(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a header ends with an empty line");
    let (head, body) = (String::from_utf8_lossy(&output[..end]), &output[end + 4..]);
    let mut answer = Answer::raw(200, "", body);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match (name, &mut answer.content) {
            ("Status", _) => answer.status = value[..3].parse().expect("a status is a number"),
            ("Content-Type", Content::Raw(content_type, _)) => value.clone_into(content_type),
            _ => answer = answer.header(name, value),
        }
    }
    answer
}
