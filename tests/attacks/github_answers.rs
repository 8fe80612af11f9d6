//! The agent checks GitHub's answers against its requests.
