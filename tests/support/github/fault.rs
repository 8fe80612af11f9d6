//! Ways in which GitHub, or the wire, misbehaves on demand.

use std::time::Duration;

use super::pattern::Pattern;

/// One misbehaviour, queued with [`GitHub::next`](super::GitHub::next) and its kin.
///
/// The first group never lets the request through: nothing is minted, nothing revoked. The second lets GitHub do
/// its work and then spoils the answer, so that the client cannot know what was done.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with GitHub's error object.
    Status(u16),
    /// Exactly this answer.
    Verbatim { status: u16, headers: Vec<(String, String)>, body: String },
    /// This status with a page for people, as a load balancer sends it.
    Html(u16),
    /// 200 and that many bytes of white space, without an announced length.
    HugeBody(usize),
    /// This status and `Retry-After` in seconds.
    RetryAfter { status: u16, seconds: u64 },
    /// This status and `Retry-After` as a date on GitHub's clock.
    RetryAfterDate { status: u16, seconds: u64 },
    /// The primary limit: 403 or 429, nothing remaining, a reset in so many seconds, no `Retry-After`.
    RateLimited { status: u16, reset_in: i64 },
    /// The secondary limit: 403 or 429 with requests remaining, usually with `Retry-After`.
    SecondaryLimit { status: u16, retry_after: Option<u64> },
    /// A redirect to this address.
    Redirect(u16, String),
    /// 400, as for an API version that GitHub has never heard of.
    UnsupportedVersion,
    /// The request is read and never answered.
    Hang,
    /// The connection ends in good order, with no answer on it.
    CloseBeforeReply,
    /// The connection is reset.
    Reset,

    /// None: lets one request pass, so that the fault queued after it meets the second.
    Pass,
    /// The right answer, so much later.
    Delay(Duration),
    /// The right head, then half of the body, then the end of the connection.
    Truncate,
    /// The right head, and a body of no bytes.
    EmptyBody,
    /// The right answer, its body one byte at a time with this pause between.
    SlowBody(Duration),
    /// The right answer, without a `Date`.
    NoDate,
    /// The right answer, with notice that its API version will go.
    Deprecated,
    /// The right answer, called plain text.
    WrongContentType,
    /// The right answer, and fields that nobody has heard of.
    ExtraFields,
    /// The right answer, with this `Link` header.
    Link(String),
    /// A minted token, without `permissions` and `repository_selection`.
    MissingPermissions,
    /// A minted token that may do less than was asked: only `metadata: read`.
    NarrowerPermissions,
    /// A minted token that the next so many requests get 401 for, as while GitHub replicates it.
    LagAfterMint(u32),
}

/// The faults that are waiting.
#[derive(Debug, Default)]
pub(super) struct Faults {
    once: Vec<(Pattern, Fault)>,
    always: Vec<(Pattern, Fault)>,
    at_random: Vec<AtRandom>,
    /// How many requests met a fault at random.
    pub(super) random: usize,
}

/// Faults that requests meet at random; the same seed gives the same faults to the same requests.
#[derive(Debug)]
struct AtRandom {
    pattern: Pattern,
    one_in: u64,
    faults: Vec<Fault>,
    /// The state of the generator.
    state: u64,
}

impl AtRandom {
    /// The fault that the next request meets, if it meets one.
    fn draw(&mut self) -> Option<Fault> {
        if !self.number().is_multiple_of(self.one_in) {
            return None;
        }
        let which = usize::try_from(self.number()).expect("64 bits") % self.faults.len();
        Some(self.faults[which].clone())
    }

    /// The next number of the generator, which is `SplitMix64`.
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Faults {
    /// Queues a fault for one request that fits.
    pub(super) fn queue(&mut self, pattern: Pattern, fault: Fault) {
        self.once.push((pattern, fault));
    }

    /// Sets a fault for all requests that fit and find none queued; the latest one set wins.
    pub(super) fn always(&mut self, pattern: Pattern, fault: Fault) {
        self.always.insert(0, (pattern, fault));
    }

    /// Lets one in so many requests that fit meet one of these faults, if none is queued for it.
    pub(super) fn at_random(&mut self, pattern: Pattern, one_in: u64, faults: &[Fault], seed: u64) {
        self.at_random.push(AtRandom { pattern, one_in, faults: faults.to_owned(), state: seed });
    }

    /// Forgets all faults.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the fault that this request meets: the one queued first, else one at random, else a standing one.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Fault {
        if let Some(index) = self.once.iter().position(|(pattern, _)| pattern.fits(method, path)) {
            return self.once.remove(index).1;
        }
        let mut fitting = self.at_random.iter_mut().filter(|faults| faults.pattern.fits(method, path));
        if let Some(fault) = fitting.next().and_then(AtRandom::draw) {
            self.random += 1;
            return fault;
        }
        let standing = self.always.iter().find(|(pattern, _)| pattern.fits(method, path));
        standing.map_or(Fault::Pass, |(_, fault)| fault.clone())
    }
}
