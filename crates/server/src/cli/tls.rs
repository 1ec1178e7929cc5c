//! TLS for the command line that manages a server over the network: rustls with ring, and nothing that can be switched off.
//!
//! The server's certificate must be signed by one of the public authorities, or by one in the file that the operator names.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Speaks TLS over a connection to `host`, whose certificate must be for that name.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    ca_file: Option<&Path>,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .with_context(|| format!("`{host}` is no name that a certificate can be for"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("could not prepare TLS")?
        .with_root_certificates(authorities(ca_file)?)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .with_context(|| {
            format!(
                "could not speak TLS with `{host}`; if its certificate is signed by your own authority, name that one's file \
                 with --ca-file"
            )
        })
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    let Some(file) = ca_file else {
        authorities.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(authorities);
    };
    let unreadable = || {
        format!(
            "could not read the authorities' certificates in `{}`",
            file.display()
        )
    };
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        authorities
            .add(certificate.with_context(unreadable)?)
            .with_context(unreadable)?;
    }
    ensure!(
        !authorities.is_empty(),
        "there is no certificate in `{}`",
        file.display()
    );
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/localhost.pem");
    const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/localhost.key.pem");

    /// A server for `localhost` that sends back what it is sent.
    async fn echoing() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = CertificateDer::from_pem_file(AUTHORITY).unwrap();
        let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut said = [0; 4];
                    // Whoever only looked at the certificate says nothing.
                    if stream.read_exact(&mut said).await.is_ok() {
                        stream.write_all(&said).await.unwrap();
                    }
                }
            }
        });
        port
    }

    async fn to(port: u16, host: &str, ca_file: Option<&str>) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connect(stream, host, ca_file.map(Path::new)).await
    }

    #[tokio::test]
    async fn a_server_is_believed_by_its_name_and_its_authority() {
        let port = echoing().await;
        let mut stream = to(port, "localhost", Some(AUTHORITY)).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"ping");
        assert!(to(port, "127.0.0.1", Some(AUTHORITY)).await.is_ok());

        assert!(
            to(port, "keys.example.com", Some(AUTHORITY)).await.is_err(),
            "another's name"
        );
        assert!(
            to(port, "localhost", None).await.is_err(),
            "no public authority signed it"
        );
        assert!(
            to(port, "localhost", Some(KEY)).await.is_err(),
            "a file without a certificate"
        );
    }
}
