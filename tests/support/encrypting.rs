//! Keys as they are kept and as they are sent: what OpenSSL and the original tool make of one, and what a client makes of a
//! file.

use apptoken::pem;
use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{World, need};

/// What makes each encrypted form of a key on its standard input, under the passphrase in `$NEW`.
pub(crate) const WAYS: [&str; 16] = [
    PKCS8,
    "openssl pkcs8 -topk8 -v2 aes-128-cbc -passout env:NEW",
    "openssl pkcs8 -topk8 -v2 aes-192-cbc -passout env:NEW",
    "openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 100000 -passout env:NEW",
    "openssl pkcs8 -topk8 -v2 des3 -passout env:NEW",
    SCRYPT,
    "openssl pkcs8 -topk8 -v2 des3 -scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 2 -passout env:NEW",
    "openssl pkcs8 -topk8 -v2prf hmacWithSHA1 -passout env:NEW",
    "openssl pkcs8 -topk8 -v2prf hmacWithSHA384 -passout env:NEW",
    "openssl pkcs8 -topk8 -v2prf hmacWithSHA512 -passout env:NEW",
    "openssl rsa -aes256 -passout env:NEW",
    OLD_PEM,
    "openssl rsa -aes192 -traditional -passout env:NEW",
    "openssl rsa -aes256 -traditional -passout env:NEW",
    "openssl rsa -des3 -traditional -passout env:NEW",
    PEM_ENC,
];

pub(crate) const PKCS8: &str = "openssl pkcs8 -topk8 -passout env:NEW";
pub(crate) const SCRYPT: &str = "openssl pkcs8 -topk8 -scrypt -passout env:NEW";
pub(crate) const OLD_PEM: &str = "openssl rsa -aes128 -traditional -passout env:NEW";
pub(crate) const PEM_ENC: &str = "node -e \"$PEM_ENC\"";

/// Whether everything is there that [`encrypt`] needs.
#[must_use = "a test whose program is missing must return"]
pub(crate) fn can_encrypt() -> bool {
    need("openssl") && need("node")
}

/// What one of the [`WAYS`] makes of a key.
#[track_caller]
pub(crate) fn encrypt(w: &World, way: &str, pem: &str, passphrase: &str) -> Vec<u8> {
    let shell = w.command("sh").args(["-c", &format!("{way} 2>/dev/null")]).stdin(pem);
    shell.envs([("NEW", passphrase), ("PEM_ENC", ORIGINAL_TOOL)]).run().text().into()
}

/// What a client sends of a file: it knows PEM, and the rest it passes on.
pub(crate) fn wire(file: impl AsRef<[u8]>) -> String {
    let as_it_is = || BASE64_STANDARD.encode(&file);
    pem::read(file.as_ref()).map_or_else(|_| as_it_is(), |pem| pem.wire.expose().to_owned())
}

/// What the original tool did to a PEM file.
const ORIGINAL_TOOL: &str = r#"
const crypto = require("crypto");
const salt = crypto.randomBytes(32), iv = crypto.randomBytes(16);
const key = crypto.pbkdf2Sync(process.env.NEW, salt, 100000, 32, "sha256");
const cipher = crypto.createCipheriv("aes-256-gcm", key, iv);
const encrypted = Buffer.concat([cipher.update(require("fs").readFileSync(0)), cipher.final()]);
process.stdout.write(Buffer.concat([salt, iv, cipher.getAuthTag(), encrypted]).toString("base64"));
"#;
