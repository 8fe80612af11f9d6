//! TLS in front of a simulated GitHub, with certificates of a CA that only the test knows.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::github::GitHub;
use super::listener::{Listener, connect};

/// A certificate authority, made on the spot.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows, and the key to it.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// A CA of this name; one of the same name is another one.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, new_key()).expect("a certificate is made"))
    }

    /// Its certificate, as a CA store has it.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, as it should be.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&server(names))
    }

    /// The same, but its time was over in 2001.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = server(names);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params)
    }

    /// The same, but its time comes in 3000.
    pub(crate) fn issue_early(&self, names: &[&str]) -> Identity {
        let mut params = server(names);
        params.not_before = date_time_ymd(3000, 1, 1);
        self.sign(&params)
    }

    /// Its own certificate, shown as a server's.
    pub(crate) fn identity(&self) -> Identity {
        Identity::new(self.0.der().clone(), self.0.key())
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = new_key();
        Identity::new(params.signed_by(&key, &self.0).expect("a certificate is made").into(), &key)
    }
}

impl Identity {
    /// A certificate for these names that vouches for itself, and it as a CA store has it.
    pub(crate) fn self_signed(names: &[&str]) -> (Self, String) {
        let key = new_key();
        let certificate = server(names).self_signed(&key).expect("a certificate is made");
        let pem = certificate.pem();
        (Self::new(certificate.into(), &key), pem)
    }

    fn new(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self { certificate, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }
}

/// A server that speaks TLS, and passes on what it hears to a simulated GitHub that does not.
pub(crate) struct Front {
    listener: Listener,
}

impl Front {
    pub(crate) fn start(identity: Identity, github: &GitHub) -> Self {
        let behind = address(github);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![identity.certificate], identity.key));
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("the key is the certificate's")));
        Self { listener: Listener::start(move |stream| forward(acceptor.clone(), stream, behind)) }
    }

    /// `localhost:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address().port())
    }

    /// `https://localhost:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.host())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.listener.accepted()
    }
}

/// Where a simulated GitHub listens.
pub(crate) fn address(github: &GitHub) -> SocketAddr {
    let url = github.url();
    url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("http://ADDRESS:PORT")
}

async fn forward(acceptor: TlsAcceptor, stream: TcpStream, behind: SocketAddr) {
    // A client that does not like the certificate leaves, here or later: that is what the tests are about.
    let Ok(mut client) = acceptor.accept(stream).await else { return };
    let mut server = connect(behind).await;
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).expect("names are ASCII")
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key is made")
}
