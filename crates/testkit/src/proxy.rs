//! Something between a node and its PostgreSQL that can fail in the ways of a network, at any moment.
//!
//! Two threads carry the two directions of a connection. What is held is held in memory, in its order, and goes on when
//! the proxy passes again; nothing is lost but by [`Proxy::cut`]. While both directions are held the end of a connection is not handed
//! on either, as over a network that is down: a server does not learn that its client has gone. It knows nothing of Keyward.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::postgres_messages::ClientMessages;

/// What happens to a commit that the proxy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCommit {
    /// It does not reach the server.
    HoldIt,
    /// It reaches the server, and its answer does not come back.
    HoldItsAnswer,
}

/// A proxy that listens until its test's process ends; dropping it cuts what it carries.
pub struct Proxy {
    address: SocketAddr,
    gate: Arc<Gate>,
}

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    holds_requests: bool,
    holds_answers: bool,
    is_cut: bool,
    /// How long every answer is on its way.
    delay: Duration,
    /// Where new connections lead to.
    port: u16,
    /// Waits for a commit of a transaction in which this was said; an empty text fits every one.
    trap: Option<(String, AtCommit)>,
    connections: HashMap<u64, Connection>,
    last_number: u64,
}

struct Connection {
    ends: [TcpStream; 2],
    caught: Option<AtCommit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Carries everything to this port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let gate = Arc::new(Gate {
            state: Mutex::new(State {
                port,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let ours = Arc::clone(&gate);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away refuses; so do we, by closing what was taken.
                drop(ours.carry(client));
            }
        });
        Self { address, gate }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// New connections lead to this port from now on, as those of a name that means another machine.
    pub fn lead_to(&self, port: u16) {
        self.gate.change(|state| state.port = port);
    }

    /// Every answer of the server takes so much longer, on every connection.
    pub fn delay(&self, by: Duration) {
        self.gate.change(|state| state.delay = by);
    }

    /// Lets everything through again at once, first what was held.
    pub fn pass(&self) {
        self.gate.change(|state| {
            state.delay = Duration::ZERO;
            (state.holds_requests, state.holds_answers, state.is_cut) = (false, false, false);
            state.trap = None;
            for connection in state.connections.values_mut() {
                connection.caught = None;
            }
        });
    }

    /// Holds the bytes of both directions; connections stay open, and new ones are taken and held.
    pub fn stall(&self) {
        self.gate
            .change(|state| (state.holds_requests, state.holds_answers) = (true, true));
    }

    /// Holds what the server answers, while what the client says takes effect.
    pub fn stall_answers(&self) {
        self.gate.change(|state| state.holds_answers = true);
    }

    /// Closes every connection, and each new one at once, until [`Proxy::pass`]. What was held is lost.
    pub fn cut(&self) {
        self.gate.change(|state| {
            state.is_cut = true;
            state.close_all();
        });
    }

    /// Closes every connection and takes new ones, as a server that restarts at once.
    pub fn reset(&self) {
        self.gate.change(State::close_all);
    }

    /// Holds the next commit, or its answer, of a transaction in which a statement holds this text; then that connection alone is held.
    pub fn catch_commit(&self, saying: &str, at_commit: AtCommit) {
        self.gate
            .change(|state| state.trap = Some((saying.to_owned(), at_commit)));
    }

    /// Waits until a commit is caught; whether one was.
    pub fn wait_until_caught(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.gate.state();
        while !state
            .connections
            .values()
            .any(|connection| connection.caught.is_some())
        {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = self.gate.changed.wait_timeout(state, left);
            state = waited.expect("no thread panics with the state").0;
        }
        true
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl State {
    fn close_all(&mut self) {
        for (_, connection) in self.connections.drain() {
            for end in connection.ends {
                // It may be closed already.
                drop(end.shutdown(Shutdown::Both));
            }
        }
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn carry(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let (is_cut, port) = {
            let state = self.state();
            (state.is_cut, state.port)
        };
        if is_cut {
            return client.shutdown(Shutdown::Both);
        }
        let server = TcpStream::connect(("127.0.0.1", port))?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        let ends = [client.try_clone()?, server.try_clone()?];
        let mut state = self.state();
        state.last_number += 1;
        let number = state.last_number;
        let connection = Connection { ends, caught: None };
        state.connections.insert(number, connection);
        drop(state);
        let (gate, from, to) = (Arc::clone(self), client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            gate.carry_requests(number, from, &to);
            // Where nothing is held, whoever hangs up is heard.
            if gate.may_pass(number, Direction::ToServer) {
                drop(to.shutdown(Shutdown::Write));
            }
        });
        let gate = Arc::clone(self);
        std::thread::spawn(move || {
            gate.carry_answers(number, &server, &client);
            if gate.may_pass(number, Direction::ToClient) {
                drop(client.shutdown(Shutdown::Both));
                drop(server.shutdown(Shutdown::Both));
            }
            gate.change(|state| drop(state.connections.remove(&number)));
        });
        Ok(())
    }

    fn carry_requests(&self, number: u64, mut from: TcpStream, mut to: &TcpStream) {
        let mut messages = ClientMessages::default();
        let mut piece = vec![0_u8; 16 * 1024];
        while let Some(bytes) = read(&mut from, &mut piece) {
            let mut has_failed = false;
            messages.read(bytes, |message, transaction| {
                if message.is_commit {
                    self.spring(number, transaction);
                }
                has_failed = has_failed
                    || !self.may_pass(number, Direction::ToServer)
                    || to.write_all(&message.bytes).is_err();
            });
            if has_failed {
                return;
            }
        }
    }

    fn carry_answers(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream) {
        let mut piece = vec![0_u8; 16 * 1024];
        while let Some(bytes) = read(&mut from, &mut piece) {
            self.wait_a_while();
            if !self.may_pass(number, Direction::ToClient) || to.write_all(bytes).is_err() {
                return;
            }
        }
    }

    /// Waits for the delay that there is, or until it is taken away.
    fn wait_a_while(&self) {
        let begun = Instant::now();
        let mut state = self.state();
        while let Some(left) = state
            .delay
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        {
            let waited = self.changed.wait_timeout(state, left);
            state = waited.expect("no thread panics with the state").0;
        }
    }

    /// Catches a commit that is waited for.
    fn spring(&self, number: u64, transaction: &[String]) {
        let fits = |saying: &String| transaction.iter().any(|text| text.contains(saying.as_str()));
        self.change(|state| {
            if let Some((_, at_commit)) = state.trap.take_if(|(saying, _)| fits(saying))
                && let Some(connection) = state.connections.get_mut(&number)
            {
                connection.caught = Some(at_commit);
            }
        });
    }

    /// Waits as long as this direction is held; false if the connection was cut meanwhile.
    fn may_pass(&self, number: u64, direction: Direction) -> bool {
        let mut state = self.state();
        loop {
            let Some(connection) = state.connections.get(&number) else {
                return false;
            };
            let is_held = match direction {
                Direction::ToServer => state.holds_requests || connection.caught == Some(AtCommit::HoldIt),
                Direction::ToClient => {
                    state.holds_answers || connection.caught == Some(AtCommit::HoldItsAnswer)
                }
            };
            if !is_held {
                return true;
            }
            state = self.changed.wait(state).expect("no thread panics with the state");
        }
    }
}

fn read<'a>(from: &mut impl Read, piece: &'a mut [u8]) -> Option<&'a [u8]> {
    match from.read(piece) {
        Ok(length) if length > 0 => piece.get(..length),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::PATIENCE;

    const SOON: Duration = Duration::from_millis(200);

    /// A server that answers every byte with the same byte.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                    drop(std::io::copy(&mut from, &mut to));
                });
            }
        });
        port
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let start = [&8_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes()].concat();
        stream.write_all(&start).unwrap();
        stream
    }

    fn query(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len() + 5).unwrap().to_be_bytes();
        [b"Q", &length[..], text.as_bytes(), b"\0"].concat()
    }

    fn hears(stream: &mut TcpStream, expected: &[u8]) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, expected);
    }

    fn hears_nothing(stream: &mut TcpStream) {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    fn started(proxy: &Proxy) -> TcpStream {
        let mut stream = client(proxy);
        hears(
            &mut stream,
            &[&8_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes()].concat(),
        );
        stream
    }

    #[test]
    fn what_is_stalled_goes_on_afterwards() {
        let proxy = Proxy::to(echo());
        let mut stream = started(&proxy);
        for stall in [Proxy::stall, Proxy::stall_answers] {
            stall(&proxy);
            stream.write_all(&query("SELECT 1")).unwrap();
            hears_nothing(&mut stream);
            proxy.pass();
            hears(&mut stream, &query("SELECT 1"));
        }
    }

    #[test]
    fn a_cut_closes_what_there_is_and_refuses_what_comes() {
        let proxy = Proxy::to(echo());
        let mut stream = started(&proxy);
        proxy.cut();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        let mut new = client(&proxy);
        assert!(matches!(new.read(&mut [0]), Ok(0) | Err(_)));
        proxy.pass();
        started(&proxy);
    }

    #[test]
    fn a_commit_is_caught_on_the_connection_that_it_is_on() {
        for at_commit in [AtCommit::HoldIt, AtCommit::HoldItsAnswer] {
            let proxy = Proxy::to(echo());
            let (mut renewal, mut other) = (started(&proxy), started(&proxy));
            proxy.catch_commit("node_lease", at_commit);
            other.write_all(&query("COMMIT")).unwrap();
            hears(&mut other, &query("COMMIT"));
            let said = [query("BEGIN"), query("UPDATE node_lease")].concat();
            renewal.write_all(&said).unwrap();
            hears(&mut renewal, &said);
            renewal.write_all(&query("COMMIT")).unwrap();
            assert!(proxy.wait_until_caught(PATIENCE));
            hears_nothing(&mut renewal);
            other.write_all(&query("SELECT 1")).unwrap();
            hears(&mut other, &query("SELECT 1"));
            proxy.pass();
            hears(&mut renewal, &query("COMMIT"));
        }
    }
}
