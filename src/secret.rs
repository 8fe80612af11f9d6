//! Bytes that must not be printed, copied or left behind.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize;

/// A secret: a `str` (token, passphrase, JWT) or bytes (a private key), wiped when dropped.
///
/// It has no `Clone`, `Display` or `PartialEq`, and its `Debug` tells only the length. [`Secret::expose`] is the one way
/// to the content, so that searching for that word lists every use.
pub struct Secret<T: ?Sized>(Box<T>)
where
    Box<T>: Zeroize;

impl<T: ?Sized> Secret<T>
where
    Box<T>: Zeroize,
{
    /// Lends the content.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl From<&str> for Secret<str> {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret<str> {
    fn from(text: String) -> Self {
        Self(text.into_boxed_str())
    }
}

impl From<Vec<u8>> for Secret<[u8]> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }
}

impl<T: ?Sized> Drop for Secret<T>
where
    Box<T>: Zeroize,
{
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: ?Sized> fmt::Debug for Secret<T>
where
    Box<T>: Zeroize,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", size_of_val::<T>(&self.0))
    }
}

/// Secrets cross the socket, and only the socket, as JSON strings.
impl Serialize for Secret<str> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret<str> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Secret<str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            // One copy, of the exact size, straight from the message.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Runs what handles secrets in the clear, and wipes the stack that it used: compilers and ciphers spill what they work on.
pub fn on_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
    on_wiped_stack_if(work, |_| true)
}

/// The same, for work that turns out to have handled a secret or not: wiping costs some microseconds.
pub fn on_wiped_stack_if<T>(work: impl FnOnce() -> T, secret: impl FnOnce(&T) -> bool) -> T {
    // In a frame of its own, below which everything can be wiped.
    #[inline(never)]
    fn apart<T>(work: impl FnOnce() -> T) -> T {
        work()
    }

    let result = apart(work);
    if secret(&result) {
        zeroize::zeroize_stack::<STACK_USED>();
    }
    result
}

/// Bytes of stack that such work uses, generously: unoptimized builds have large frames.
const STACK_USED: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_the_length_and_nothing_else() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret(7 bytes)");
        assert_eq!(format!("{:?}", Secret::from(vec![1, 2])), "Secret(2 bytes)");
    }

    #[test]
    fn a_secret_round_trips_through_json() {
        let secret: Secret<str> = serde_json::from_str(r#""a\"b""#).expect("valid JSON");
        assert_eq!(secret.expose(), "a\"b");
        assert_eq!(serde_json::to_string(&secret).expect("serializable"), r#""a\"b""#);
    }
}
