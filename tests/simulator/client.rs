//! A plain HTTP/1.1 client that hides nothing, and JWTs that may be wrong in any way.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use super::{APP, PEM};
use crate::support::github::GitHub;

/// A request to be sent.
#[must_use = "a call is made when it is sent"]
pub(super) struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Begins a request: `call("GET /app")`.
pub(super) fn call(line: &str) -> Call {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    Call { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: String::new() }
        .header("User-Agent", "simulator-test")
}

impl Call {
    /// Sets a header; an empty value takes it away.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(have, _)| have != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Signs as the App.
    pub(super) fn signed(self) -> Self {
        self.bearer(&jwt(PEM, &claims()))
    }

    /// Sends this JWT or token.
    pub(super) fn bearer(self, credential: &str) -> Self {
        self.header("Authorization", &format!("Bearer {credential}"))
    }

    /// Sends a body.
    pub(super) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and reads the whole answer.
    #[track_caller]
    pub(super) fn to(self, github: &GitHub) -> Response {
        self.try_to(github).expect("an answer")
    }

    /// The same where the connection may be cut.
    pub(super) fn try_to(self, github: &GitHub) -> io::Result<Response> {
        let mut stream = self.send(github)?;
        Response::read(&mut stream)
    }

    /// Sends the request and leaves the answer to the caller.
    pub(super) fn send(mut self, github: &GitHub) -> io::Result<TcpStream> {
        let host = github.url().replace("http://", "");
        let mut stream = TcpStream::connect(&host)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut headers = format!("Connection: close\r\nContent-Length: {}\r\n", self.body.len());
        if !self.headers.iter().any(|(name, _)| name == "Host") {
            self.headers.push(("Host".to_owned(), host));
        }
        for (name, value) in &self.headers {
            headers.extend([name, ": ", value, "\r\n"]);
        }
        let text = format!("{} {} HTTP/1.1\r\n{headers}\r\n{}", self.method, self.target, self.body);
        stream.write_all(text.as_bytes())?;
        Ok(stream)
    }
}

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub(super) struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let status = lines[0].split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut body = Vec::new();
        stream.read_to_end(&mut body)?;
        Ok(Self { status, headers, body })
    }

    /// A header's value, empty if it is missing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(have, _)| have == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts status and sentence of GitHub's error object, and gives it back.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, message: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, body["message"].as_str()), (status, Some(message)), "{body}");
        assert_eq!(body["status"], status.to_string(), "{body}");
        body
    }

    /// Asserts the status, and gives the answer back.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Mints a token with this body.
pub(super) fn mint(github: &GitHub, installation: u64, body: impl Into<String>) -> Response {
    call(&format!("POST /app/installations/{installation}/access_tokens")).signed().body(body).to(github)
}

/// Mints a token that may do all that the installation may.
#[track_caller]
pub(super) fn token(github: &GitHub, installation: u64) -> String {
    let minted = mint(github, installation, "").is(201).json();
    minted["token"].as_str().expect("a token").to_owned()
}

/// Claims as a careful client makes them.
pub(super) fn claims() -> Value {
    json!({"iat": now() - 60, "exp": now() + 540, "iss": APP})
}

/// Signs claims with RS256.
pub(super) fn jwt(pem: &str, claims: &Value) -> String {
    jwt_with_header(pem, &json!({"alg": "RS256", "typ": "JWT"}), claims)
}

/// Signs with RS256 whatever the header says.
pub(super) fn jwt_with_header(pem: &str, header: &Value, claims: &Value) -> String {
    let base64 = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", base64(header), base64(claims));
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_der(&BASE64_STANDARD.decode(der).expect("base64")).expect("a PKCS#1 key");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// The `Authorization` header that git sends.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Unix seconds on our clock.
pub(super) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
    i64::try_from(since_epoch.as_secs()).expect("63 bits")
}

/// A read that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
