//! The client holds a key only until it has handed it over.
