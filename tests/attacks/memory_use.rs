//! Clients cannot exhaust the memory of the agent.
