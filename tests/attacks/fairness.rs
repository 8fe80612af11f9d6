//! One process cannot starve the others.
