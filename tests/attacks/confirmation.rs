//! Confirmation prompts and audit lines name the program that connected.
