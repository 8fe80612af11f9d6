//! The steps of which a start is made: hardening, inherited descriptors, the fork, and the tie to the parent.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use fork::Fork;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::socket::{Backlog, listen};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, setsid};

use super::Failure;

/// Makes every file and directory that this process creates from now on private to its owner; returns the umask from before.
pub fn make_files_private() -> Mode {
    umask(Mode::from_bits_truncate(0o077))
}

/// Keeps other processes of our user from reading our memory or attaching a debugger.
///
/// Linux checks access to `/proc/PID/mem` only when it is opened. A descriptor that was opened before this call keeps working,
/// but it shows the memory of this process only: hence the fork before any secret exists ([`divide`]).
pub fn disable_dumping() -> Result<(), Failure> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_dumpable(false).map_err(|error| failed("keep other processes out", error))?;
    Ok(())
}

/// Gives up what an agent never needs: core dumps, new privileges, and files that others can read.
pub fn harden() -> Result<(), Failure> {
    disable_dumping()?;
    make_files_private();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_no_new_privs().map_err(|error| failed("give up new privileges", error))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failed("turn off core dumps", error))
}

/// Closes every descriptor but the standard three and those in `keep`: a lock or a pipe of the caller must not be held for as
/// long as the agent lives.
pub fn close_inherited(keep: &[RawFd]) {
    let Ok(open) = fs::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > LAST_STANDARD && !keep.contains(fd)) {
        // The directory that was just read is among them, and closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// Raises the limit of open files as far as it may go, up to what the most connections need; returns how many connections
/// there may be.
pub fn make_room(most: usize) -> usize {
    let wanted = (most + SPARE_FILES) as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return most;
    };
    let limit = wanted.min(hard).max(soft);
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, limit, hard).is_ok() { limit } else { soft };
    usize::try_from(limit).map_or(most, |limit| limit.saturating_sub(SPARE_FILES).clamp(1, most))
}

/// The signals that end the agent or have it forget its keys, held back from this process while this exists.
///
/// They are held back from before the socket is bound until something handles them, so that none leaves a socket behind.
pub struct HeldSignals {
    before: SigSet,
}

impl HeldSignals {
    /// Holds the signals back.
    pub fn hold() -> Result<Self, Failure> {
        let before = handled().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        before.map(|before| Self { before }).map_err(|error| failed("hold signals back", error))
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// The two processes after [`divide`].
pub enum Half {
    /// The process that was started.
    Parent(Child),
    /// The process that will be the agent.
    Child(Parent),
}

/// The agent's process as its parent sees it.
pub struct Child {
    pid: Pid,
    /// Carries one byte when the agent is ready, and ends with the agent.
    ready: PipeReader,
}

/// The process that was started, as the agent sees it.
pub struct Parent {
    pid: Pid,
    ready: PipeWriter,
}

/// Forks. No thread may exist yet, for only the calling one is there in the child.
pub fn divide() -> Result<Half, Failure> {
    let started = Pid::this();
    let cannot_fork = |error: io::Error| Failure::new(format!("cannot fork: {error}"));
    let (reader, writer) = io::pipe().map_err(cannot_fork)?;
    match fork::fork().map_err(cannot_fork)? {
        Fork::Parent(pid) => Ok(Half::Parent(Child { pid: Pid::from_raw(pid), ready: reader })),
        Fork::Child => Ok(Half::Child(Parent { pid: started, ready: writer })),
    }
}

impl Child {
    /// The agent's process ID.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Waits, for ten seconds at most, until the agent is ready. An agent that fails has reported why by itself; one
    /// that is not ready in time is killed.
    pub fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let mut polled = [PollFd::new(self.ready.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(nix::Error::EINTR) => {}
                Ok(1..) => break,
                _ => {
                    let _ = kill(self.pid, Signal::SIGKILL);
                    let _ = waitpid(self.pid, None);
                    return Err(Failure::new(format!(
                        "the agent was not ready within {} s, and was ended",
                        READY_DEADLINE.as_secs()
                    ))
                    .hint("check whether something reads its output, and whether the machine is overloaded"));
                }
            }
        }
        match self.ready.read(&mut [0]) {
            Ok(1) => Ok(()),
            _ => Err(Failure::silent().exit(match waitpid(self.pid, None) {
                Ok(WaitStatus::Exited(_, status)) => u8::try_from(status).unwrap_or(1).max(1),
                _ => 1,
            })),
        }
    }

    /// Ends the agent, and waits for it.
    pub fn end(self) {
        let _ = kill(self.pid, Signal::SIGTERM);
        let _ = waitpid(self.pid, None);
    }

    /// Stays beside the agent: passes signals on to it, and ends as it ends.
    ///
    /// The end of the pipe tells of the agent's end, since SIGCHLD does not reach a process that was told to ignore it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn supervise(self, held: HeldSignals) -> Result<(), Failure> {
        use nix::sys::signalfd::{SfdFlags, SignalFd};

        let signals = SignalFd::with_flags(&handled(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let signals = signals.map_err(|error| failed("receive signals", error))?;
        loop {
            let mut polled = [self.ready.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut polled, PollTimeout::NONE);
            let ended = polled[0].any().unwrap_or(false);
            while let Ok(Some(received)) = signals.read_signal() {
                if let Some(signal) = i32::try_from(received.ssi_signo).ok().and_then(|number| number.try_into().ok()) {
                    let _ = kill::<Signal>(self.pid, signal);
                }
            }
            if ended {
                break;
            }
        }
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, status)) => Err(Failure::silent().exit(u8::try_from(status).unwrap_or(1))),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                drop(signals);
                drop(held);
                let _ = raise(signal);
                Err(Failure::silent())
            }
            _ => Err(Failure::silent()),
        }
    }
}

impl Parent {
    /// Has the kernel end this process when its parent ends.
    pub fn follow(&self) -> Result<(), Failure> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(|error| failed("follow the parent process", error))?;
        // It may have ended before the kernel was asked.
        if getppid() == self.pid { Ok(()) } else { Err(Failure::new("the parent process has ended")) }
    }

    /// The descriptor that leads to the parent.
    pub fn descriptor(&self) -> RawFd {
        self.ready.as_raw_fd()
    }

    /// Reports that the agent is ready. The result must be kept for as long as the agent lives: its end tells the parent.
    pub fn report_ready(mut self) -> Result<PipeWriter, Failure> {
        self.ready.write_all(&[READY]).map_err(|_| Failure::new("the parent process has ended"))?;
        Ok(self.ready)
    }
}

/// Refuses to go on while another process traces this one: it could read every secret from now on.
pub fn refuse_tracer() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map_or("0", str::trim);
    if tracer == "0" {
        return Ok(());
    }
    Err(Failure::new(format!("refusing to run under a tracer (pid {tracer})"))
        .hint("start the agent without strace, gdb or another debugger"))
}

/// Has the kernel name this process, not its parent, as the one that listens.
pub fn listen_as_ourselves(listener: &UnixListener) -> Result<(), Failure> {
    listen(listener, Backlog::MAXCONN).map_err(|error| failed("listen", error))
}

/// Leaves the session, and with it the terminal, and the directory.
pub fn leave_session() -> Result<(), Failure> {
    setsid().map_err(|error| failed("leave the session", error))?;
    std::env::set_current_dir("/").map_err(|error| Failure::new(format!("cannot enter /: {error}")))
}

/// Lets go of the standard streams.
pub fn redirect_streams() -> Result<(), Failure> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| Failure::new(format!("/dev/null: {error}")))?;
    let redirected = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    redirected.map_err(|error| failed("redirect the standard streams", error))
}

fn handled() -> SigSet {
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGQUIT].into_iter().collect()
}

fn failed(what: &str, error: nix::Error) -> Failure {
    Failure::new(format!("cannot {what}: {}", error.desc()))
}

/// The last of the standard descriptors.
const LAST_STANDARD: RawFd = 2;
/// Files that the agent needs beside its connections.
const SPARE_FILES: usize = 64;
/// The byte that reports readiness; any would do.
const READY: u8 = 0;
/// How long a start may take from the fork on: the shell that starts the agent waits for it.
const READY_DEADLINE: Duration = Duration::from_secs(10);
