//! Asking a server for every key once, as fast as it answers: fills its cache, and proves that all keys are accepted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const CONNECTIONS: usize = 8;
/// Requests that are sent on a connection before the first answer is read.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Sends `GET /v1/verify` with each key, and expects 204 each time.
pub(super) fn ask_for_each(address: SocketAddr, texts: &[&str]) -> Result<()> {
    let share = texts.len().div_ceil(CONNECTIONS).max(1);
    thread::scope(|scope| {
        let askers: Vec<_> = texts
            .chunks(share)
            .map(|texts| scope.spawn(move || ask_on_one_connection(address, texts)))
            .collect();
        askers.into_iter().try_for_each(|asker| match asker.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a thread that asks for keys died"),
        })
    })
}

fn ask_on_one_connection(address: SocketAddr, texts: &[&str]) -> Result<()> {
    let mut connection = TcpStream::connect(address).context("could not connect to the server")?;
    connection
        .set_read_timeout(Some(PATIENCE))
        .context("could not set a time limit")?;
    connection
        .set_nodelay(true)
        .context("could not set up the connection")?;
    let mut received = Vec::new();
    for batch in texts.chunks(AT_ONCE) {
        let requests: String = batch
            .iter()
            .map(|text| {
                format!("GET /v1/verify HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {text}\r\n\r\n")
            })
            .collect();
        connection
            .write_all(requests.as_bytes())
            .context("could not send requests")?;
        for _ in batch {
            let head = next_head(&mut connection, &mut received)?;
            ensure!(
                head.starts_with("HTTP/1.1 204 "),
                "a seeded key was not accepted; the answer was:\n{head}"
            );
        }
    }
    Ok(())
}

/// The head of the next answer; a 204 has no body.
fn next_head(connection: &mut impl Read, received: &mut Vec<u8>) -> Result<String> {
    let mut chunk = [0_u8; 4096];
    loop {
        if let Some(at) = received
            .windows(HEAD_END.len())
            .position(|window| window == HEAD_END)
        {
            let head: Vec<u8> = received.drain(..at + HEAD_END.len()).collect();
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        let length = connection.read(&mut chunk).context("the server did not answer")?;
        ensure!(length > 0, "the server closed the connection");
        received.extend(chunk.iter().take(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_however_they_arrive() {
        let mut received = Vec::new();
        let mut stream: &[u8] = b"HTTP/1.1 204 No Content\r\na: b\r\n\r\nHTTP/1.1 401 Unauthorized\r\n\r\n";
        assert!(
            next_head(&mut stream, &mut received)
                .unwrap()
                .starts_with("HTTP/1.1 204 ")
        );
        assert!(
            next_head(&mut stream, &mut received)
                .unwrap()
                .starts_with("HTTP/1.1 401 ")
        );
        assert!(next_head(&mut stream, &mut received).is_err());
    }
}
