//! A word on a new passphrase: how long somebody guesses who has the sealed file.
//!
//! An estimate, kept low, and no gate. Each guess costs 64 MiB and a tenth of a second of one core (the agent's module
//! `sealed`): 35 bits are a century of it, 50 bits some million years.

/// A line about a passphrase that was just typed.
pub(super) fn word_on(passphrase: &str) -> &'static str {
    match bits(passphrase) {
        0..WEAK => "That is weak: whoever copies the file may guess it. Four or more unrelated words are good.",
        WEAK..FAIR => "That is fair.",
        _ => "That is good.",
    }
}

/// The bits of a passphrase, as somebody guesses who knows words, dates and rows of keys.
fn bits(passphrase: &str) -> u32 {
    let mut bits = 0;
    let mut run = 0;
    let mut before = None;
    for letter in passphrase.chars() {
        let kind = Kind::of(letter);
        run = if before.is_some_and(|(_, other)| other == kind) { run + 1 } else { 0 };
        // "aaaa" and "1234" are one letter and a habit.
        let follows = before.is_some_and(|(other, _): (char, _)| (other as u32).abs_diff(letter as u32) <= 1);
        bits += match kind {
            _ if follows => 1,
            // The first letters tell most words from each other.
            Kind::Letter if run < 4 => 3,
            Kind::Letter => 1,
            Kind::Digit if run < 2 => 3,
            Kind::Digit => 2,
            Kind::Other => 4,
        };
        before = Some((letter, kind));
    }
    bits
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Letter,
    Digit,
    Other,
}

impl Kind {
    fn of(letter: char) -> Self {
        match letter {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// Below these, in bits.
const WEAK: u32 = 35;
const FAIR: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_often_chosen_is_weak_and_words_by_dice_are_good() {
        for weak in [
            "hunter2",
            "password",
            "Password1",
            "12345678901234567890",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "qwertyuiop",
            "1987-04-23",
        ] {
            assert!(word_on(weak).contains("weak"), "{weak}: {}", bits(weak));
        }
        for good in ["correct horse battery staple", "tR4$kq!9vZ#2mLp&", "gulf-amuse-tidal-brook-ninth"] {
            assert_eq!(word_on(good), "That is good.", "{good}: {}", bits(good));
        }
        assert_eq!(word_on("tR4$kq!9vZ#2m"), "That is fair.", "{}", bits("tR4$kq!9vZ#2m"));
    }
}
