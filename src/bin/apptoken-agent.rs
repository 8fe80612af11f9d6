//! The agent; all of it is in the library.
fn main() -> std::process::ExitCode {
    apptoken::agent_program()
}
