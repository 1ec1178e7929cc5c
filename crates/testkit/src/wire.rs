//! HTTP by hand: exactly the bytes that a test writes, and the answer taken apart.
//!
//! For requests that no client library would send, such as two `Authorization` headers. It knows no redirects, no
//! keep-alive and no chunked bodies; a short answer with its length is all that is expected.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::deadline::PATIENCE;

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    /// The status code of the first line.
    pub status: u16,
    /// Names and values in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// The value of a header that must not be there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = values.next()?;
        assert!(
            values.next().is_none(),
            "the header `{name}` is there twice: {self:?}"
        );
        Some(&value.1)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("the body is not JSON ({error}): {self:?}"))
    }
}

/// Sends `GET path` with these header lines, each as it stands, and reads the whole answer.
pub fn get(address: &str, path: &str, header_lines: &[String]) -> Reply {
    let headers: String = header_lines.iter().map(|line| format!("{line}\r\n")).collect();
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"),
    )
}

/// Sends exactly this text, and reads until the server closes the connection.
pub fn exchange(address: &str, request: &str) -> Reply {
    let mut stream =
        TcpStream::connect(address).unwrap_or_else(|error| panic!("could not reach {address}: {error}"));
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the limit is not zero");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads the request");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server answers and closes the connection");
    parse(&String::from_utf8_lossy(&answer))
}

/// Sends `GET path`; `None` where no whole answer came within the limit.
pub fn get_within(address: &str, path: &str, header_lines: &[String], limit: Duration) -> Option<Reply> {
    let address: SocketAddr = address.parse().ok()?;
    let stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    whole_answer(stream, &request("GET", path, header_lines, ""))
}

/// Sends `method path` with a JSON body over a Unix socket; `None` where the server ended before its answer was whole.
pub fn manage(socket: &Path, method: &str, path: &str, body: &str) -> Option<Reply> {
    manage_within(socket, (method, path), &[], body, PATIENCE)
}

/// The same with more header lines; `None` also where the answer does not come within the limit. The server may still do it.
pub fn manage_within(
    socket: &Path,
    (method, path): (&str, &str),
    header_lines: &[String],
    body: &str,
    limit: Duration,
) -> Option<Reply> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    whole_answer(stream, &request(method, path, header_lines, body))
}

fn whole_answer(mut stream: impl Read + Write, request: &str) -> Option<Reply> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (head, received) = text.split_once("\r\n\r\n")?;
    let promised = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length:")
            .map(str::to_owned)
    });
    let is_whole = match promised {
        Some(length) => length.trim().parse() == Ok(received.len()),
        None => head.starts_with("HTTP/1.1 204"),
    };
    is_whole.then(|| parse(&text))
}

/// Sends the same request and goes away without reading anything of its answer.
pub fn manage_and_leave(socket: &Path, method: &str, path: &str, body: &str) {
    let mut stream = UnixStream::connect(socket).expect("the server listens on its socket");
    stream
        .write_all(request(method, path, &[], body).as_bytes())
        .expect("the server reads the request");
}

fn request(method: &str, path: &str, header_lines: &[String], body: &str) -> String {
    let headers: String = header_lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn parse(answer: &str) -> Reply {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("not an HTTP answer: {answer:?}"));
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let split = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("not a header: {line:?}"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Reply {
        status: status.unwrap_or_else(|| panic!("not an HTTP status: {status_line:?}")),
        headers: lines.map(split).collect(),
        body: body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let reply =
            parse("HTTP/1.1 401 Unauthorized\r\nContent-Type: a/b\r\nX: 1: 2\r\n\r\n{\"code\":\"c\"}");
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("content-type"), Some("a/b"));
        assert_eq!(reply.header("x"), Some("1: 2"));
        assert_eq!(reply.json()["code"], "c");
    }
}
