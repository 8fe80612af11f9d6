//! Looking for secrets in the memory of a process, all of it, through `/proc`. Only root may.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use nix::unistd::Pid;

use super::wait::{DEADLINE, comes_true};

/// Secrets to look for, each with what it is called. Any 32 bytes of one in a row are a trace of it.
#[derive(Clone, Default)]
pub(crate) struct Needles {
    secrets: Vec<(String, Vec<u8>)>,
    /// Where a block of a secret can be: every run that is long enough holds one whole. By its first two bytes.
    blocks: BTreeMap<u16, Vec<(usize, usize)>>,
}

/// A piece of a secret in the memory of a process.
pub(crate) struct Trace {
    pub(crate) secret: String,
    address: u64,
    length: usize,
    place: String,
}

impl Needles {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Looks for this secret as well.
    #[track_caller]
    pub(crate) fn and(mut self, name: &str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref().to_vec();
        assert!(secret.len() >= RUN, "{name} is too short to be told from chance");
        for (number, block) in secret.chunks_exact(BLOCK).enumerate() {
            self.blocks.entry(first_two(block)).or_default().push((self.secrets.len(), number * BLOCK));
        }
        self.secrets.push((name.to_owned(), secret));
        self
    }

    /// Looks for all of these as well.
    pub(crate) fn and_those_of(self, others: &Self) -> Self {
        others.secrets.iter().fold(self, |needles, (name, secret)| needles.and(name, secret))
    }

    /// Everything found in the memory of `pid`.
    #[track_caller]
    pub(crate) fn traces_in(&self, pid: Pid) -> Vec<Trace> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
        let memory = File::open(format!("/proc/{pid}/mem")).expect("root may read it");
        let starts: Vec<bool> = (0..=u16::MAX).map(|two| self.blocks.contains_key(&two)).collect();
        let mut traces = Vec::new();
        for line in maps.lines() {
            let (range, place) = line.split_once(' ').expect("a line of maps begins with its range");
            // The kernel's own pages, and files that the process cannot have written to.
            if place.contains("[v") || place.contains('/') && !place.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').expect("a range has two ends");
            let [start, end] = [start, end].map(|end| u64::from_str_radix(end, 16).expect("an address"));
            let bytes = read(&memory, start, usize::try_from(end - start).expect("64 bits"));
            self.search(&bytes, &starts, |secret, at, length| {
                let (secret, place) = (secret.to_owned(), place.to_owned());
                traces.push(Trace { secret, address: start + offset(at), length, place });
            });
        }
        traces
    }

    /// Waits a moment until nothing is left in the memory of `pid`: what another thread works with it wipes when it ends.
    #[track_caller]
    pub(crate) fn assert_absent_from(&self, pid: Pid) {
        let mut traces = Vec::new();
        let gone = comes_true(DEADLINE / 10, || {
            traces = self.traces_in(pid);
            traces.is_empty()
        });
        assert!(gone, "in the agent's memory there is still {traces:#?}");
    }

    /// The control: the search finds this secret where it is.
    #[track_caller]
    pub(crate) fn assert_found_in(&self, pid: Pid, secret: &str) {
        let traces = self.traces_in(pid);
        assert!(
            traces.iter().any(|trace| trace.secret == secret),
            "the search does not find the {secret}: {traces:#?}"
        );
    }

    fn search(&self, bytes: &[u8], starts: &[bool], mut found: impl FnMut(&str, usize, usize)) {
        const EMPTY: [u8; PAGE] = [0; PAGE];
        let mut seen = 0;
        for page in (0..bytes.len()).step_by(PAGE) {
            if bytes[page..].starts_with(&EMPTY) {
                continue;
            }
            for at in page..(page + PAGE).min(bytes.len().saturating_sub(BLOCK - 1)) {
                let two = first_two(&bytes[at..]);
                if at < seen || !starts[usize::from(two)] {
                    continue;
                }
                for &(secret, block) in &self.blocks[&two] {
                    let (name, secret) = &self.secrets[secret];
                    if bytes[at..].starts_with(&secret[block..block + BLOCK]) {
                        let before = common(bytes[..at].iter().rev(), secret[..block].iter().rev());
                        let length = before + common(bytes[at..].iter(), secret[block..].iter());
                        if length >= RUN {
                            found(name, at - before, length);
                            seen = at - before + length;
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, address, length, place } = self;
        write!(f, "{length} bytes of the {secret} at {address:x} in {place}")
    }
}

/// Reads what can be read: the process may give back some of it meanwhile.
fn read(memory: &File, start: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    if memory.read_exact_at(&mut bytes, start).is_err() {
        bytes.fill(0);
        for (number, page) in bytes.chunks_mut(PAGE).enumerate() {
            let _ = memory.read_exact_at(page, start + offset(number * PAGE));
        }
    }
    bytes
}

fn offset(at: usize) -> u64 {
    at.try_into().expect("64 bits")
}

fn first_two(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}

/// How many bytes two sequences have in common at their beginning.
fn common<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// So many bytes in a row are no chance.
const RUN: usize = 32;
/// A run holds a whole block of this size, wherever in the secret it begins.
const BLOCK: usize = RUN / 2;
const PAGE: usize = 4096;
