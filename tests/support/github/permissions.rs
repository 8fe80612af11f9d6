//! What an installation may do, and what of it a token may do.

use std::collections::BTreeMap;

use serde_json::Value;

/// Permission names and levels, such as `contents: write`.
pub type Permissions = BTreeMap<String, Level>;

/// How far a permission reaches; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// May look.
    Read,
    /// May change.
    Write,
    /// May administer: only projects and custom properties have this level.
    Admin,
}

impl Level {
    /// Reads GitHub's word for a level.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Builds permissions from what a test writes down: `&[("contents", "write")]`.
#[track_caller]
pub(super) fn permissions(list: &[(&str, &str)]) -> Permissions {
    list.iter()
        .map(|(name, word)| {
            let level = Level::parse(word).unwrap_or_else(|| panic!("a level is read, write or admin, not `{word}`"));
            ((*name).to_owned(), level)
        })
        .collect()
}

/// Tells whether `held` reaches `level` for `name`.
pub(super) fn allows(held: &Permissions, name: &str, level: Level) -> bool {
    held.get(name).is_some_and(|&have| have >= level)
}

/// What both sides allow: a token keeps no permission that its installation has lost since.
pub(super) fn intersection(one: &Permissions, other: &Permissions) -> Permissions {
    one.iter().filter_map(|(name, &level)| Some((name.clone(), level.min(*other.get(name)?)))).collect()
}

/// The JSON object that GitHub shows.
pub(super) fn to_json(permissions: &Permissions) -> Value {
    permissions.iter().map(|(name, level)| (name.clone(), Value::from(level.word()))).collect()
}
