//! The client against a server on loopback that counts what it is sent.

mod calls;
mod create;
mod server;

use std::time::Duration;

use server::Server;

use super::{Client, ClientBuilder, PreparedCreate, Timeouts};
use crate::{ApiKey, ImageRequest, Model};

const KEY: &str = "sk-SECRETKEY";

fn builder(base_url: &str) -> ClientBuilder {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder(base_url.parse().unwrap(), ApiKey::new(KEY).unwrap())
}

fn client(server: &Server) -> Client {
    builder(&server.base_url()).build().unwrap()
}

/// A client that soon gives up waiting.
fn impatient(server: &Server) -> Client {
    let short = Duration::from_millis(150);
    let timeouts =
        Timeouts { create: short, query: short, sync: short, upload: short, ..Timeouts::default() };
    builder(&server.base_url()).timeouts(timeouts).build().unwrap()
}

fn prepared() -> PreparedCreate {
    PreparedCreate::new(&ImageRequest::new(Model::Wan27Image, "SECRETPROMPT")).unwrap()
}

/// An error with all its causes, as a log would have it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn the_key_is_hidden_from_what_prints_headers() {
    let header = super::authorization_header(&ApiKey::new(KEY).unwrap());
    assert!(header.is_sensitive() && !format!("{header:?}").contains("SECRET"));
}
