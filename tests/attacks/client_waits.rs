//! Every wait of the client has an end, however the agent behaves.
