//! A receiver of calls over HTTP: each is handed to the test, which answers it when it wants to, or never.
//!
//! It knows nothing of what is called for; the tests read that.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A call that was received, and is not answered yet.
pub(crate) struct Call {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    stream: TcpStream,
}

impl Call {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(crate) fn answer(mut self, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // Whoever called may have been killed.
        let _ = self.stream.write_all(answer.as_bytes());
    }
}

/// Receives calls, and hands each to the test.
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) calls: Receiver<Call>,
}

impl Webhook {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!(
            "http://{}/hook",
            listener.local_addr().expect("it has an address")
        );
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                std::thread::spawn(move || receive(stream, &sender));
            }
        });
        Self { url, calls }
    }

    pub(crate) fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call comes")
    }
}

fn receive(mut stream: TcpStream, sender: &Sender<Call>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let Ok(read) = stream.read(&mut buffer) else {
            return;
        };
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let headers: HashMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |text| text.parse().expect("a length"));
        if body.len() >= length {
            let body = body.to_owned();
            // The test may be over.
            let _ = sender.send(Call {
                headers,
                body,
                stream,
            });
            return;
        }
    }
}
