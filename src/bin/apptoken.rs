//! The client; all of it is in the library.
fn main() -> std::process::ExitCode {
    apptoken::cli::main()
}
