//! Attacks on the agent and its client, as programs that run.
//!
//! Each file performs one kind of attack. Beside the attack stands a control, which performs the same attack on a target
//! without the protection and succeeds. So an attack that fails has met a protection, not a mistake in the test.

mod client_waits;
mod confirmation;
mod event_loop;
mod fairness;
mod gh_hosts;
mod git_tls;
mod github_answers;
mod github_thread;
mod key_handover;
mod live_agent;
mod memory_use;
mod mixed_load;
mod overflow_uid;
mod record;
mod startup;
