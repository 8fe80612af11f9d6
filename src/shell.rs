//! What a shell will eval, and the quoting that keeps it from running anything else. Quoting lives here only.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::env;

/// How a family of shells sets variables and quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// sh, bash, dash, zsh, ksh.
    Bourne,
    /// csh, tcsh.
    Csh,
    /// fish.
    Fish,
}

impl Dialect {
    /// The dialect of the shell at this path, by its name.
    pub fn of_shell(shell: &OsStr) -> Self {
        let name = Path::new(shell).file_name().map_or(&b""[..], OsStr::as_bytes);
        match name {
            b"csh" | b"tcsh" => Self::Csh,
            b"fish" => Self::Fish,
            _ => Self::Bourne,
        }
    }

    /// The lines that tell a shell, and all it starts, where the agent is.
    pub fn announce(self, socket: &Path, pid: u32, echo: bool) -> Vec<u8> {
        let mut lines = self.set(env::AUTH_SOCK, socket.as_os_str());
        lines.extend(self.set(env::AGENT_PID, OsStr::new(&pid.to_string())));
        if echo {
            lines.extend(format!("echo Agent pid {pid};\n").into_bytes());
        }
        lines
    }

    /// The lines that make a shell forget an agent that has ended.
    pub fn forget(self, pid: u32, echo: bool) -> Vec<u8> {
        let unset = match self {
            Self::Bourne => "unset",
            Self::Csh => "unsetenv",
            Self::Fish => "set -e",
        };
        let echo = if echo { format!("echo Agent pid {pid} killed;\n") } else { String::new() };
        format!("{unset} {};\n{unset} {};\n{echo}", env::AUTH_SOCK, env::AGENT_PID).into_bytes()
    }

    fn set(self, name: &str, value: &OsStr) -> Vec<u8> {
        let value = self.quote(value.as_bytes());
        match self {
            Self::Bourne => [name.as_bytes(), b"=", &value, b"; export ", name.as_bytes(), b";\n"].concat(),
            Self::Csh => [b"setenv ", name.as_bytes(), b" ", &value, b";\n"].concat(),
            Self::Fish => [b"set -gx ", name.as_bytes(), b" ", &value, b";\n"].concat(),
        }
    }

    /// Quotes any bytes so that the shell takes them as they are. Harmless ones stay bare.
    pub fn quote(self, value: &[u8]) -> Vec<u8> {
        if !value.is_empty() && value.iter().all(|b| b.is_ascii_alphanumeric() || b"/._-+,:@%".contains(b)) {
            return value.to_vec();
        }
        let mut quoted = vec![b'\''];
        for &byte in value {
            match (self, byte) {
                (Self::Bourne | Self::Csh, b'\'') => quoted.extend(b"'\\''"),
                // `eval (…)` hands fish its words line by line, and joins them with blanks.
                (Self::Fish, b'\n') => quoted.extend(b"'\\n'"),
                // Between single quotes csh still expands history and ends at a newline; fish still minds its backslashes.
                (Self::Csh, b'!' | b'\n') | (Self::Fish, b'\'' | b'\\') => quoted.extend([b'\\', byte]),
                _ => quoted.push(byte),
            }
        }
        quoted.push(b'\'');
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(dialect: Dialect, socket: &str) -> String {
        String::from_utf8(dialect.announce(Path::new(socket), 42, true)).expect("UTF-8")
    }

    #[test]
    fn the_lines_are_those_that_ssh_agent_prints() {
        assert_eq!(
            announced(Dialect::Bourne, "/run/user/1000/apptoken-Xb3kQ0aZ1c/agent.42"),
            "APPTOKEN_AUTH_SOCK=/run/user/1000/apptoken-Xb3kQ0aZ1c/agent.42; export APPTOKEN_AUTH_SOCK;\n\
             APPTOKEN_AGENT_PID=42; export APPTOKEN_AGENT_PID;\n\
             echo Agent pid 42;\n"
        );
        assert_eq!(
            announced(Dialect::Csh, "/tmp/a b"),
            "setenv APPTOKEN_AUTH_SOCK '/tmp/a b';\nsetenv APPTOKEN_AGENT_PID 42;\necho Agent pid 42;\n"
        );
        assert_eq!(
            announced(Dialect::Fish, "/tmp/a'b\\"),
            "set -gx APPTOKEN_AUTH_SOCK '/tmp/a\\'b\\\\';\nset -gx APPTOKEN_AGENT_PID 42;\necho Agent pid 42;\n"
        );
    }

    #[test]
    fn the_shell_is_known_by_its_whole_name() {
        for (shell, dialect) in [
            ("/bin/tcsh", Dialect::Csh),
            ("/bin/csh", Dialect::Csh),
            ("/usr/bin/fish", Dialect::Fish),
            ("/opt/notcsh", Dialect::Bourne),
            ("/bin/zsh", Dialect::Bourne),
            ("", Dialect::Bourne),
        ] {
            assert_eq!(Dialect::of_shell(OsStr::new(shell)), dialect, "{shell}");
        }
    }
}
