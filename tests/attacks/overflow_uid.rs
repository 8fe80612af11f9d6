//! Nobody is taken for a user who cannot be told from strangers.
