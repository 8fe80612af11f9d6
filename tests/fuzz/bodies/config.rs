//! `config.toml`: whatever a person wrote is read, or complained of at its place; and a key that is written down changes
//! nothing else.

use apptoken::config::{Config, Damage, Remembered, edited};
use apptoken::ids::{AppId, InstallationId};

/// An input is the text of the file.
pub(super) fn body(text: &[u8]) {
    match Config::parse(text) {
        Ok(config) => {
            assert!(config.warnings.iter().all(|line| can_be_shown(line)), "{:?}", config.warnings);
            let text = std::str::from_utf8(text).expect("what is read is text");
            for key in &config.keys {
                assert_eq!(edited(text.as_bytes(), key), Ok(Some(text.to_owned())), "nothing was to be changed");
                can_be_written(text, &config, &Remembered { fingerprint: key.fingerprint.clone(), ..full() });
                can_be_written(text, &config, &Remembered { host: None, installation_id: None, ..key.clone() });
            }
            can_be_written(text, &config, &full());
        }
        Err(damage) => is_at_a_place(&damage, text),
    }
}

/// A key is written down, and then it is what is read; the others are as they were, and every comment is still there.
fn can_be_written(text: &str, before: &Config, key: &Remembered) {
    if text.len() > ROOMY {
        return;
    }
    let Some(written) = edited(text.as_bytes(), key).expect("it is not damaged") else {
        assert!(!before.warnings.is_empty(), "only what is not known can stand where a setting is to be: `host.x = 1`");
        return;
    };
    let after = Config::parse(written.as_bytes()).expect("what is written can be read");
    assert_eq!(after.find(&key.fingerprint), Some(key));
    let others = |config: &Config| -> Vec<Remembered> {
        config.keys.iter().filter(|other| other.fingerprint != key.fingerprint).cloned().collect()
    };
    assert_eq!(others(&after), others(before));
    if before.find(&key.fingerprint).is_none() {
        assert!(written.starts_with(text), "what was there is changed");
    }
    let comments =
        |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).map(str::to_owned).collect();
    let (was, is): (Vec<String>, Vec<String>) = (comments(text), comments(&written));
    assert_eq!(was, is);
    assert_eq!(edited(written.as_bytes(), key), Ok(Some(written)), "written twice it is another");
}

/// A complaint names a place that there is, in words that do not depend on what stands there.
fn is_at_a_place(damage: &Damage, text: &[u8]) {
    let line = text.split(|byte| *byte == b'\n').nth(damage.line - 1).expect("the line is there");
    let letters = String::from_utf8_lossy(line).chars().count();
    assert!((1..=letters + 1).contains(&damage.column), "{damage}: of {letters}");
    assert!(can_be_shown(&damage.reason), "{damage}");
}

fn can_be_shown(line: &str) -> bool {
    line.len() < 200 && !line.chars().any(char::is_control)
}

fn full() -> Remembered {
    Remembered {
        fingerprint: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().expect("a fingerprint"),
        name: "new".parse().expect("a name"),
        app_id: AppId::Client("Iv23liABCDEFGHIJKLMN".to_owned()),
        host: Some("ghe.example:8443".parse().expect("a host")),
        api_url: Some("https://ghe.example:8443/api/v3?a=\"\\".to_owned()),
        installation_id: Some(InstallationId(678)),
    }
}

/// Bytes of a text that has room for another key.
const ROOMY: usize = 60 * 1024;
