//! Something between the command line and the server that lets answers get lost, or acts at a chosen moment.
//!
//! It carries one request and its answer for each connection, as the command line has it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use keyward_testkit::deadline::PATIENCE;

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It arrives.
    Arrives,
    /// The server has given it, and the connection breaks before it arrives.
    IsLost,
}

/// Listens for whoever should reach `server`; `meddle` sees each request before the server does. The address
/// to be used in place of the server's. It listens until the test's process ends.
pub(crate) fn before(server: &str, mut meddle: impl FnMut(&str) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let server = server.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a connection can be taken");
            let request = message(&mut client);
            let fate = meddle(&String::from_utf8_lossy(&request));
            let mut upstream = TcpStream::connect(&server).expect("the server listens");
            upstream.write_all(&request).expect("the server reads");
            let answer = message(&mut upstream);
            if fate == Answer::Arrives {
                client.write_all(&answer).expect("the command line reads");
            }
        }
    });
    format!("http://{address}")
}

/// One message with the body that its head announces.
fn message(stream: &mut TcpStream) -> Vec<u8> {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the limit is not zero");
    let mut bytes = Vec::new();
    let mut piece = [0_u8; 4_096];
    while !is_whole(&bytes) {
        let count = stream.read(&mut piece).expect("the message comes");
        assert!(count > 0, "the message was cut off");
        bytes.extend_from_slice(&piece[..count]);
    }
    bytes
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().expect("a length is a number"))
    });
    body.len() >= announced.unwrap_or(0)
}
