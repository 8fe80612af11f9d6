//! No process can look into the agent, whenever it tries.
