//! `config.toml`: what is remembered of keys, so that it need not be asked for twice. It is the user's own file: what stands in
//! it otherwise stays as it is.
//!
//! ```toml
//! [key."SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="]  # as GitHub shows it
//! name = "my-app"
//! app-id = 12345               # or a client ID in quotes
//! host = "github.com"
//! api-url = "https://api.github.com"  # only where it is not the host's own
//! installation-id = 678        # only where one was chosen
//! ```

mod document;
mod edit;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use self::document::Damage;
use self::document::{Item, Value};
use crate::files::{self, Writing};
use crate::ids::{AppId, Fingerprint, Host, InstallationId, KeyName, Malformed};
use crate::paths::config_file;

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Each key that is remembered, in the order of the file.
    pub keys: Vec<Remembered>,
    /// What in it is not known, and so does nothing; a line each.
    pub warnings: Vec<String>,
}

/// What is remembered of one key. Names need not differ: the key that was before may be remembered beside its successor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Which key.
    pub fingerprint: Fingerprint,
    /// What it is called here.
    pub name: KeyName,
    /// The App that it belongs to.
    pub app_id: AppId,
    /// The host of that App; github.com without one.
    pub host: Option<Host>,
    /// The address of the host's API, where it is not the usual one.
    pub api_url: Option<String>,
    /// The installation to take when nothing else chooses one.
    pub installation_id: Option<InstallationId>,
}

/// Why the configuration cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// Neither a home nor a directory for configuration is set.
    NoPlace,
    /// The file is there and cannot be read.
    Unreadable(PathBuf, io::Error),
    /// What stands in it has no meaning.
    Damaged(PathBuf, Damage),
    /// The file cannot be written.
    Unwritable(PathBuf, io::Error),
}

impl Config {
    /// Reads the file; without one nothing is remembered.
    pub fn load() -> Result<Self, ConfigError> {
        Self::read(&file()?)
    }

    /// What is remembered of a key.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&Remembered> {
        self.keys.iter().find(|key| key.fingerprint == *fingerprint)
    }

    /// Writes down one key, in place of what was remembered of it. A damaged file is left alone.
    pub fn remember(key: &Remembered) -> Result<(), ConfigError> {
        Self::remember_in(&file()?, key)
    }

    fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&text_of(file)?).map_err(|damage| ConfigError::Damaged(file.to_owned(), damage))
    }

    fn remember_in(file: &Path, key: &Remembered) -> Result<(), ConfigError> {
        let unwritable = |error| ConfigError::Unwritable(file.to_owned(), error);
        // From before it is read until it is written: two that write down different keys must not undo each other.
        let writing = Writing::lock(file).map_err(unwritable)?;
        let text = text_of(file)?;
        let edited = edited(&text, key).map_err(|damage| ConfigError::Damaged(file.to_owned(), damage))?;
        let edited = edited.ok_or_else(|| unwritable(io::Error::other("there is no room for it, or no form")))?;
        if edited.as_bytes() == text {
            return Ok(());
        }
        writing.write(edited.as_bytes()).map_err(unwritable)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &[u8]) -> Result<Self, Damage> {
        let text =
            std::str::from_utf8(text).map_err(|error| Damage::at(text, error.valid_up_to(), "it is not UTF-8"))?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut warnings = Vec::new();
        let mut table_is_known = true;
        for item in &document::items(text)? {
            let is_table = matches!(item.value, Value::Table);
            let known = match &item.path[..] {
                [key] if key == KEY && is_table => true,
                [key] if key == KEY => return Err(item.damage(text, BELOW_HEADER)),
                [key, fingerprint, rest @ ..] if key == KEY => {
                    let entry = Entry::of(&mut entries, fingerprint, item, text)?;
                    match rest {
                        [] if is_table => true,
                        [] => return Err(item.damage(text, BELOW_HEADER)),
                        [setting] if !is_table => entry.set(setting, item, text)?,
                        _ => false,
                    }
                }
                _ => false,
            };
            if !known && (is_table || table_is_known) {
                warnings.push(unknown(item, text));
            }
            table_is_known = if is_table { known } else { table_is_known };
        }
        let keys = entries.into_iter().map(|entry| entry.finish(text)).collect::<Result<_, _>>()?;
        Ok(Self { keys, warnings })
    }
}

/// The text with `key` in it; `None` when that cannot be written so that it is read back as it was meant, and all else as before.
/// Open to the fuzz target, which has no file.
#[doc(hidden)]
pub fn edited(text: &[u8], key: &Remembered) -> Result<Option<String>, Damage> {
    let mut meant = Config::parse(text)?;
    let text = std::str::from_utf8(text).expect("it was just parsed");
    let edited = edit::edited(text, meant.find(&key.fingerprint), key)?;
    match meant.keys.iter_mut().find(|old| old.fingerprint == key.fingerprint) {
        Some(old) => old.clone_from(key),
        None => meant.keys.push(key.clone()),
    }
    let is_meant = |read: Config| read.keys == meant.keys && read.warnings.len() == meant.warnings.len();
    let good = edited.len() <= MAX_CONFIG && Config::parse(edited.as_bytes()).is_ok_and(is_meant);
    Ok(good.then_some(edited))
}

fn file() -> Result<PathBuf, ConfigError> {
    config_file().ok_or(ConfigError::NoPlace)
}

fn text_of(file: &Path) -> Result<Vec<u8>, ConfigError> {
    match files::read(file, MAX_CONFIG) {
        Ok((text, _)) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ConfigError::Unreadable(file.to_owned(), error)),
    }
}

/// The entry of one key, as far as it was read.
struct Entry {
    start: usize,
    fingerprint: Fingerprint,
    name: Option<KeyName>,
    app_id: Option<AppId>,
    host: Option<Host>,
    api_url: Option<String>,
    installation_id: Option<InstallationId>,
}

impl Entry {
    /// The entry that `item` belongs to.
    fn of<'a>(entries: &'a mut Vec<Self>, fingerprint: &str, item: &Item, text: &str) -> Result<&'a mut Self, Damage> {
        let fingerprint: Fingerprint = fingerprint.parse().map_err(|Malformed(why)| item.name_damage(text, why))?;
        if let Some(at) = entries.iter().position(|entry| entry.fingerprint == fingerprint) {
            return Ok(&mut entries[at]);
        }
        let start = item.start;
        entries.push(Self {
            start,
            fingerprint,
            name: None,
            app_id: None,
            host: None,
            api_url: None,
            installation_id: None,
        });
        Ok(entries.last_mut().expect("it was just pushed"))
    }

    /// Takes a setting; `false` if it is none.
    fn set(&mut self, setting: &str, item: &Item, text: &str) -> Result<bool, Damage> {
        let malformed = |Malformed(why)| item.damage(text, why);
        match setting {
            NAME => self.name = Some(item.text(text)?.parse().map_err(malformed)?),
            HOST => self.host = Some(item.text(text)?.parse().map_err(malformed)?),
            API_URL => self.api_url = Some(item.api_url(text)?),
            APP_ID => {
                let id = if let Value::Number(number) = item.value { &number.to_string() } else { item.text(text)? };
                self.app_id = Some(id.parse().map_err(malformed)?);
            }
            INSTALLATION_ID => match item.value {
                Value::Number(number @ 1..) => self.installation_id = Some(InstallationId(number)),
                _ => return Err(item.damage(text, "an installation ID is a number")),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, text: &str) -> Result<Remembered, Damage> {
        let Self { start, fingerprint, name, app_id, host, api_url, installation_id } = self;
        let name = name.ok_or_else(|| Damage::at(text, start, "this key has no `name`"))?;
        let app_id = app_id.ok_or_else(|| Damage::at(text, start, "this key has no `app-id`"))?;
        Ok(Remembered { fingerprint, name, app_id, host, api_url, installation_id })
    }
}

impl Item {
    fn text(&self, text: &str) -> Result<&str, Damage> {
        match &self.value {
            Value::Text(value) => Ok(value),
            _ => Err(self.damage(text, "this must be text in quotes")),
        }
    }

    /// The agent judges an address; here it must only be one line of what addresses consist of.
    fn api_url(&self, text: &str) -> Result<String, Damage> {
        let url = self.text(text)?;
        let fits = url.starts_with("https://") || url.starts_with("http://");
        if fits && url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(url.to_owned());
        }
        Err(self.damage(text, "an API's address begins with https:// or http://"))
    }

    fn damage(&self, text: &str, reason: &str) -> Damage {
        Damage::at(text, self.span.start, reason)
    }

    fn name_damage(&self, text: &str, reason: &str) -> Damage {
        Damage::at(text, self.start, reason)
    }
}

/// Says which setting is not known: by name, if that is fit to be seen.
fn unknown(item: &Item, text: &str) -> String {
    let line = Damage::at(text, item.start, "").line;
    let name = item.path.last().map_or("", String::as_str);
    let is_fit = name.len() <= MAX_SHOWN && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'`');
    let what = if is_fit { format!("`{name}`") } else { "what stands there".to_owned() };
    format!("config.toml, line {line}: {what} is not known, and does nothing")
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoPlace => "set HOME",
            Self::Unreadable(..) => "see what it is, and who may read it",
            Self::Damaged(..) => "mend it there, or move it away",
            Self::Unwritable(..) => "see what it is, and who may write there",
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlace => f.write_str("no place for the configuration is known"),
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::Damaged(file, damage) => write!(f, "{}, {damage}", file.display()),
            Self::Unwritable(file, error) => write!(f, "cannot write {}: {error}", file.display()),
        }
    }
}

const KEY: &str = "key";
const NAME: &str = "name";
const APP_ID: &str = "app-id";
const HOST: &str = "host";
const API_URL: &str = "api-url";
const INSTALLATION_ID: &str = "installation-id";
const BELOW_HEADER: &str = "what is remembered of a key stands below a line `[key.\"SHA256:…\"]`";
/// Largest file read, in bytes: hundreds of keys with a page of comments.
const MAX_CONFIG: usize = 64 * 1024;
/// Longest address, in bytes, as long as browsers take them.
const MAX_URL: usize = 2048;
/// Longest unknown name that is shown.
const MAX_SHOWN: usize = 32;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::option;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const PRINT: &str = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
    const OTHER: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    /// As a person keeps it: comments, settings that are not ours, an order and a form of one's own.
    const LIVED_IN: &str = "\u{feff}# my keys\r\ncolour = [\"blue\", { shade = 3 }] # later\r\n\r\n\
        [ key . 'SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=' ] # the bot\r\n\
        \tinstallation-id = 6_78\r\n  app-id = 0x3039 # 12345\r\nnote = \"\"\"\r\nname = 'x'\"\"\"\r\nname='my-app'\r\n\r\n\
        # the other\r\n[key]\r\n\"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\".name = \"\\u006Fther\"\r\n\
        \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\".app-id = \"Iv1.abc\" # end";

    fn remembered(print: &str) -> Remembered {
        Remembered {
            fingerprint: print.parse().expect("a fingerprint"),
            name: "my-app".parse().expect("a name"),
            app_id: AppId::Number(12345),
            host: None,
            api_url: None,
            installation_id: None,
        }
    }

    fn full(print: &str) -> Remembered {
        Remembered {
            host: Some("ghe.example:8443".parse().expect("a host")),
            api_url: Some("https://ghe.example:8443/api/v3?a=\"\\".to_owned()),
            installation_id: Some(InstallationId(678)),
            ..remembered(print)
        }
    }

    #[track_caller]
    fn write(text: &str, key: &Remembered) -> String {
        edited(text.as_bytes(), key).expect("it is not damaged").expect("it can be written")
    }

    fn parse(text: &str) -> Config {
        Config::parse(text.as_bytes()).expect("it is not damaged")
    }

    #[test]
    fn a_key_is_read_as_the_manual_shows_it() {
        let text = format!(
            "[key.\"{PRINT}\"]\nname = \"my-app\"\napp-id = 12345\nhost = \"ghe.example:8443\"\n\
            api-url = 'https://ghe.example:8443/api/v3?a=\"\\'\ninstallation-id = 678\n"
        );
        assert_eq!(parse(&text), Config { keys: vec![full(PRINT)], warnings: Vec::new() });
        assert_eq!(parse(""), Config::default());
    }

    #[test]
    fn every_form_that_toml_has_for_it_is_read() {
        let read = parse(LIVED_IN);
        let other = Remembered {
            name: "other".parse().expect("a name"),
            app_id: AppId::Client("Iv1.abc".to_owned()),
            ..remembered(OTHER)
        };
        assert_eq!(read.keys, [Remembered { installation_id: Some(InstallationId(678)), ..remembered(PRINT) }, other]);
        assert_eq!(
            read.warnings,
            [
                "config.toml, line 2: `colour` is not known, and does nothing",
                "config.toml, line 7: `note` is not known, and does nothing"
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_named_only_where_it_is_fit_to_be_seen() {
        let text = format!(
            "\"a\\u001b[31m\" = 1\n[{}]\nsecret = 1\nother = 2\n[key.\"{PRINT}\".more]\nx = 1\n[key.\"{PRINT}\"]\n\
            name = \"a\"\napp-id = 1\nhost.name = \"x\"\n",
            "x".repeat(33)
        );
        let expected = ["1: what stands there", "2: what stands there", "5: `more`", "10: `name`"];
        let expected = expected.map(|what| format!("config.toml, line {what} is not known, and does nothing"));
        assert_eq!(parse(&text).warnings, expected);
    }

    #[test]
    fn damage_is_told_by_its_place_and_reason_and_never_by_what_stands_there() {
        let entry = |lines: &str| format!("# é\n[key.\"{PRINT}\"]\n{lines}\n");
        let above = |line: &str| format!("{line}\n");
        for (text, line, column, reason) in [
            (above("hunter2"), 1, 8, "key with no value"),
            (above("hunter2 = "), 1, 11, "the value is missing"),
            (above("é = \"hunter2"), 1, 1, "invalid unquoted key"),
            (above("a = \"hunter2"), 1, 13, "invalid basic string"),
            (above("a = 'é' hunter2"), 1, 9, "unexpected key or value"),
            (above("a = hunter2"), 1, 5, "string values must be quoted"),
            (above("a = \"\\hunter2\""), 1, 7, "missing escaped value"),
            (above("a = [1, 2"), 1, 10, "unclosed array"),
            (above("a = { b = 1"), 1, 12, "unclosed inline table"),
            (above("[hunter2"), 1, 9, "unclosed table"),
            (above("a = 01"), 1, 5, "unexpected leading zero"),
            (above("# \u{7}hunter2"), 1, 3, "invalid comment character"),
            (above(&format!("a = {}", "[".repeat(1000))), 1, 21, "cannot recurse further; max recursion depth met"),
            (above(&["a"; 9].join(".")), 1, 18, "key with no value"),
            (above(&format!("{} = 1", ["a"; 9].join("."))), 1, 17, "no name here is this long"),
            (above(&format!("{} = 1", "a".repeat(129))), 1, 1, "no name here is this long"),
            (above("[[key]]"), 1, 1, "no list of tables is used here"),
            (above("a = 1\n\n  a = 2"), 3, 3, "this was said before"),
            (above("[a]\n[b]\n[a]"), 3, 2, "this was said before"),
            (above("a.b = 1\na = 2"), 2, 1, "this was said before"),
            (above("key = 1"), 1, 7, BELOW_HEADER),
            (above(&format!("key.\"{PRINT}\" = {{ name = \"a\", app-id = 1 }}")), 1, 61, BELOW_HEADER),
            (above("[key.hunter2]"), 1, 2, "a key's fingerprint is `SHA256:` and 44 characters, as GitHub shows it"),
            (entry("name = \"a\"\nname = \"b\"\napp-id = 1"), 4, 1, "this was said before"),
            (entry("name = \"a\""), 2, 2, "this key has no `app-id`"),
            (entry("app-id = 1"), 2, 2, "this key has no `name`"),
            (entry("name = 1"), 3, 8, "this must be text in quotes"),
            (entry("name = \"../hunter2\""), 3, 8, "a key's name is"),
            (entry("app-id = 0"), 3, 10, "an App ID is a number"),
            (entry("app-id = -1"), 3, 10, "this must be text in quotes"),
            (entry("app-id = 99999999999999999999"), 3, 10, "this must be text in quotes"),
            (entry("app-id = \"hunter 2\""), 3, 10, "an App ID is a number"),
            (entry("host = \"https://hunter2\""), 3, 8, "a host is a name"),
            (entry("api-url = \"hunter2\""), 3, 11, "an API's address begins with"),
            (entry("api-url = \"https://hunter 2\""), 3, 11, "an API's address begins with"),
            (entry("installation-id = \"678\""), 3, 19, "an installation ID is a number"),
            (entry("installation-id = 0"), 3, 19, "an installation ID is a number"),
        ] {
            let damage = Config::parse(text.as_bytes()).expect_err(&text);
            assert_eq!((damage.line, damage.column), (line, column), "{text:?}: {damage}");
            assert!(damage.reason.starts_with(reason), "{text:?}: {damage}");
            assert!(!damage.to_string().contains("hunter2"), "{damage}");
        }
        let damage = Config::parse(b"# \xc3\xa9\na = \"\xff\"").expect_err("no UTF-8");
        assert_eq!(damage.to_string(), "line 2, column 6: it is not UTF-8");
    }

    #[test]
    fn a_new_key_is_written_below_what_is_there() {
        let entry = format!("[key.\"{PRINT}\"]\nname = \"my-app\"\napp-id = 12345\n");
        assert_eq!(write("", &remembered(PRINT)), entry);
        assert_eq!(write("# mine", &remembered(PRINT)), format!("# mine\n\n{entry}"));
        assert_eq!(write("# mine\n", &remembered(PRINT)), format!("# mine\n\n{entry}"));
        let entry = entry.replace('\n', "\r\n");
        assert_eq!(write("# mine\r\n", &remembered(PRINT)), format!("# mine\r\n\r\n{entry}"));
        let text = write(LIVED_IN, &full("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="));
        assert!(text.starts_with(&format!("{LIVED_IN}\r\n\r\n[key.")), "{text}");
    }

    #[test]
    fn a_key_that_is_there_is_changed_in_place_and_only_where_it_differs() {
        let same = parse(LIVED_IN).keys;
        assert_eq!(write(LIVED_IN, &same[0]), LIVED_IN);
        assert_eq!(write(LIVED_IN, &same[1]), LIVED_IN);

        let renamed = Remembered { name: "new".parse().expect("a name"), installation_id: None, ..same[0].clone() };
        let expected = LIVED_IN.replace("'my-app'", "\"new\"").replace("\tinstallation-id = 6_78\r\n", "");
        assert_eq!(write(LIVED_IN, &renamed), expected);

        let elsewhere = Remembered { host: Some("ghe.example".parse().expect("a host")), ..same[0].clone() };
        let expected = LIVED_IN.replace("# 12345\r\n", "# 12345\r\nhost = \"ghe.example\"\r\n");
        assert_eq!(write(LIVED_IN, &elsewhere), expected);
    }

    #[test]
    fn a_key_in_another_form_is_changed_in_that_form() {
        let other = Remembered { installation_id: Some(InstallationId(9)), ..parse(LIVED_IN).keys[1].clone() };
        assert_eq!(write(LIVED_IN, &other), format!("{LIVED_IN}\r\n\"{OTHER}\".installation-id = 9"));
        let dotted = format!("key.\"{PRINT}\".app-id = 12345\nkey.'{PRINT}'.name = 'my-app'\n[other]\n");
        let expected = dotted.replace("= 12345\n", &format!("= 12345\n\"key\".\"{PRINT}\".installation-id = 9\n"));
        let changed = Remembered { installation_id: Some(InstallationId(9)), ..remembered(PRINT) };
        assert_eq!(write(&dotted, &changed), expected);
    }

    #[test]
    fn what_would_not_be_read_back_is_not_written() {
        let control = Remembered { api_url: Some("https://a\nb".to_owned()), ..remembered(PRINT) };
        assert_eq!(edited(b"", &control), Ok(None));
        let full = "#".repeat(MAX_CONFIG - 50);
        assert_eq!(edited(full.as_bytes(), &remembered(PRINT)), Ok(None));
    }

    #[test]
    fn what_is_remembered_is_found_in_a_file_for_nobody_else() {
        let home = TempDir::new().expect("a directory");
        let file = home.path().join("new/config.toml");
        Config::remember_in(&file, &remembered(OTHER)).expect("it is written");
        Config::remember_in(&file, &full(PRINT)).expect("it is written");
        let read = Config::read(&file).expect("it is read");
        assert_eq!(read.keys, [remembered(OTHER), full(PRINT)]);
        assert_eq!(read.find(&PRINT.parse().expect("a fingerprint")), Some(&full(PRINT)));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&home.path().join("new"))), (0o600, 0o700));
        assert_eq!(fs::read_dir(home.path().join("new")).expect("it is there").count(), 1);
        assert_eq!(Config::read(&home.path().join("none")).expect("nothing"), Config::default());
    }

    #[test]
    fn a_file_that_is_damaged_too_large_or_none_is_told_and_left_alone() {
        let home = TempDir::new().expect("a directory");
        let file = home.path().join("config.toml");
        for (text, reason) in [("a = \n".to_owned(), "line 1, column 5: "), ("#".repeat(MAX_CONFIG + 1), "over 64 KiB")]
        {
            fs::write(&file, &text).expect("it is written");
            let error = Config::remember_in(&file, &remembered(PRINT)).expect_err("it is damaged").to_string();
            assert!(error.contains(reason) && error.contains("config.toml"), "{error}");
            assert!(Config::read(&file).is_err());
            assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
        }
        fs::write(&file, "#".repeat(MAX_CONFIG)).expect("it is written");
        assert!(Config::read(&file).is_ok());
        let error = Config::read(home.path()).expect_err("a directory").to_string();
        assert!(error.contains("no regular file"), "{error}");
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_leads_to_is_changed() {
        let home = TempDir::new().expect("a directory");
        let (file, target) = (home.path().join("config.toml"), home.path().join("dotfiles/apptoken"));
        symlink("dotfiles/apptoken", &file).expect("a link");
        let error = Config::remember_in(&file, &remembered(PRINT)).expect_err("it leads nowhere").to_string();
        assert!(error.contains("leads nowhere"), "{error}");
        fs::create_dir(home.path().join("dotfiles")).expect("a directory");
        fs::write(&target, "# mine\n").expect("it is written");
        Config::remember_in(&file, &remembered(PRINT)).expect("it is written");
        assert!(fs::symlink_metadata(&file).expect("it is there").is_symlink());
        assert!(fs::read_to_string(&target).expect("it is there").starts_with("# mine\n"));
        assert_eq!(Config::read(&file).expect("it is read").keys, [remembered(PRINT)]);
        assert_eq!(fs::read_dir(home.path().join("dotfiles")).expect("it is there").count(), 1, "no draft is left");
    }

    fn any_key() -> impl Strategy<Value = Remembered> {
        let print = prop_oneof![Just(PRINT), Just(OTHER), Just("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")];
        let app_id =
            prop_oneof![(1..=u64::MAX).prop_map(AppId::Number), "Iv[A-Za-z0-9._-]{1,30}".prop_map(AppId::Client)];
        let url = option::of("https?://[!-~]{0,40}");
        let host = option::of("[a-z0-9]{1,9}(\\.[a-z]{1,9}){0,2}(:[1-9][0-9]{0,3})?");
        let name = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}";
        (print, name, app_id, host, url, option::of(1..=u64::MAX)).prop_map(
            |(print, name, app_id, host, api_url, id)| Remembered {
                fingerprint: print.parse().expect("a fingerprint"),
                name: name.parse().expect("a name"),
                app_id,
                host: host.map(|host| host.parse().expect("a host")),
                api_url,
                installation_id: id.map(InstallationId),
            },
        )
    }

    /// Lines that could stand in such a file, and some that could not.
    fn any_line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(format!("[key.\"{PRINT}\"]")),
            Just(format!("[key.\"{OTHER}\"]")),
            Just(format!("key.\"{OTHER}\".name = 'a'")),
            Just("[key]".to_owned()),
            "(name|app-id|host|api-url|installation-id|other) = (1|0x10|\"a\"|'a.b'|\"https://a\"|\"\"\"|\\[1, \\{|true|1979-05-27)",
            "[ \t]{0,3}# [a-zé]{0,9}",
            "[\\[\\]{}='\"#.,_a1é\\\\ \r-]{0,12}",
            "\\PC{0,12}",
        ]
    }

    fn any_text() -> impl Strategy<Value = String> {
        (prop::collection::vec(any_line(), 0..12), prop_oneof![Just("\n"), Just("\r\n")])
            .prop_map(|(lines, newline)| lines.join(newline))
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_complained_of_at_a_place_in_it(text in any_text()) {
            if let Err(damage) = Config::parse(text.as_bytes()) {
                let line = text.split('\n').nth(damage.line - 1);
                prop_assert!(line.is_some_and(|line| damage.column <= line.chars().count() + 1), "{text:?}: {damage}");
            }
        }

        #[test]
        fn any_bytes_are_read_or_complained_of(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Config::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read_and_all_else_is_as_before(keys in prop::collection::vec(any_key(), 1..6), crlf: bool) {
            let mut text = if crlf { LIVED_IN.to_owned() } else { LIVED_IN.replace("\r\n", "\n") };
            for key in keys {
                let mut meant = parse(&text);
                let is_there = meant.find(&key.fingerprint).is_some();
                let written = write(&text, &key);
                let read = parse(&written);
                prop_assert_eq!(read.find(&key.fingerprint), Some(&key));
                if is_there {
                    let is_ours = |line: &&str| [NAME, APP_ID, HOST, API_URL, INSTALLATION_ID].iter().any(|name| {
                        line.split(['.', ' ', '\t', '=']).any(|word| word == *name)
                    });
                    let others = |text: &str| text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect::<Vec<_>>();
                    prop_assert_eq!(others(&written), others(&text));
                } else {
                    prop_assert!(written.starts_with(&text));
                }
                meant.keys.retain(|old| old.fingerprint != key.fingerprint);
                let mut read = read;
                read.keys.retain(|old| old.fingerprint != key.fingerprint);
                prop_assert_eq!(read.keys, meant.keys);
                text = written;
            }
        }
    }
}
