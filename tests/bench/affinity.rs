//! Keeping everything on one core of the machine.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// As long as this lives, this thread and what it starts share one core.
///
/// Otherwise the kernel chooses for every server whether it wakes up on the client's core or on a sleeping one, and that
/// choice makes more of a difference than any server does.
pub(crate) struct OneCore {
    before: CpuSet,
}

impl OneCore {
    pub(crate) fn enter() -> Self {
        let before = sched_getaffinity(MYSELF).expect("a thread may know its cores");
        let first = (0..CpuSet::count()).find(|&core| before.is_set(core) == Ok(true));
        let mut one = CpuSet::new();
        one.set(first.expect("a thread that runs has a core")).expect("it was in a set");
        sched_setaffinity(MYSELF, &one).expect("a thread may give up cores");
        Self { before }
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // If the cores have become fewer meanwhile, the later rows are measured on one core.
        let _ = sched_setaffinity(MYSELF, &self.before);
    }
}

/// The calling thread.
const MYSELF: Pid = Pid::from_raw(0);
