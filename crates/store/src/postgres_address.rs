//! The address of a PostgreSQL database, which may name several hosts of which one takes writes.
//!
//! The form is libpq's: `postgres://user:password@h1:p1,h2:p2/database?target_session_attrs=read-write`, or the hosts as
//! `?host=h1,h2&port=p1,p2`. sqlx knows addresses of one host; so the list is taken apart here, and every host becomes an address
//! that sqlx reads, TLS, users and passwords included.
//! INVARIANT: no text that is made here repeats a part of the address but hosts and ports: what stands in the wrong place may be a password.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// How long one host may take to answer, if the address does not say.
const CONNECT_TIMEOUT_SECONDS: u32 = 2;
/// How many connections a process holds at most beside the few that have work of their own, if the address does not say.
const CONNECTIONS: u32 = 16;

/// Why an address can't be used. The texts hold nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRefused {
    /// Another kind of address.
    #[error("it does not begin with `postgres://`")]
    NotPostgres,
    /// A fragment means nothing here, so this is most likely a password.
    #[error("a `#` has to be written as `%23`")]
    Fragment,
    /// A host that can't be one.
    #[error("host number {0} is not of the form `name`, `name:port` or `[address]:port`")]
    Host(usize),
    /// Which port belongs to which host can't be told.
    #[error("it has {ports} ports for {hosts} hosts")]
    Ports {
        /// How many hosts there are.
        hosts: usize,
        /// How many ports there are.
        ports: usize,
    },
    /// It asks for a server that refuses writes.
    #[error("`target_session_attrs` has to be `read-write`, or left away: Keyward writes")]
    Target,
    /// A number that is none, or too small or large.
    #[error("`{name}` has to be a number from {least} to {most}")]
    Number {
        /// The parameter.
        name: &'static str,
        /// The smallest that is allowed.
        least: u32,
        /// The largest that is allowed.
        most: u32,
    },
    /// What sqlx does not understand.
    #[error("it can't be read")]
    Rest(#[source] sqlx::Error),
}

/// A parsed address.
#[derive(Clone)]
pub(crate) struct PostgresAddress {
    /// At least one, in the order of the address.
    pub(crate) hosts: Vec<Host>,
    /// How long each host may take to answer.
    pub(crate) connect_timeout: Duration,
    /// The bound of the pool.
    pub(crate) connections: u32,
}

/// One host of an address.
#[derive(Clone)]
pub(crate) struct Host {
    /// `host:port`, or the folder of a socket; for people.
    pub(crate) name: String,
    /// How it is connected to.
    pub(crate) options: PgConnectOptions,
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.hosts.iter().map(|host| &host.name))
            .finish()
    }
}

/// A host and its port as they stand in an address, encoded.
#[derive(Clone)]
struct Place<'a> {
    host: Cow<'a, str>,
    port: Option<u16>,
}

/// The parameters that sqlx does not know, or knows for one host alone.
#[derive(Default)]
struct Own {
    hosts: Option<String>,
    ports: Option<String>,
    connect_timeout: Option<u32>,
    connections: Option<u32>,
}

impl PostgresAddress {
    /// Takes an address apart.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressRefused> {
        let rest = text.strip_prefix("postgres://");
        let rest = rest.or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(AddressRefused::NotPostgres)?;
        if rest.contains('#') {
            return Err(AddressRefused::Fragment);
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = address.split_once('/').unwrap_or((address, ""));
        let (user, listed) = match authority.rsplit_once('@') {
            Some((user, listed)) => (format!("{user}@"), listed),
            None => (String::new(), authority),
        };
        let (own, passed) = read_parameters(query)?;
        let places = match (&own.hosts, &own.ports) {
            (Some(hosts), ports) => places_of_parameters(hosts, ports.as_deref())?,
            (None, Some(ports)) => with_ports(places_of_authority(listed)?, ports)?,
            (None, None) => places_of_authority(listed)?,
        };
        let read = |url: String| PgConnectOptions::from_str(&url).map_err(AddressRefused::Rest);
        let mut hosts = Vec::with_capacity(places.len().max(1));
        for place in &places {
            let port = place.port.map(|port| format!("&port={port}")).unwrap_or_default();
            // The host as a parameter: sqlx would keep the brackets of an IPv6 address that stands before the path.
            let host = &place.host;
            hosts.push(Host::of(read(format!(
                "postgres://{user}localhost/{database}?{passed}&host={host}{port}"
            ))?));
        }
        if hosts.is_empty() {
            if !user.is_empty() {
                return Err(AddressRefused::Host(1));
            }
            let port = own.ports.map(|port| number("port", &port, 1, 65_535));
            let port = port
                .transpose()?
                .map(|port| format!("&port={port}"))
                .unwrap_or_default();
            hosts.push(Host::of(read(format!("postgres:///{database}?{passed}{port}"))?));
        }
        let seconds = own.connect_timeout.unwrap_or(CONNECT_TIMEOUT_SECONDS);
        Ok(Self {
            hosts,
            connect_timeout: Duration::from_secs(seconds.into()),
            connections: own.connections.unwrap_or(CONNECTIONS),
        })
    }
}

impl Host {
    fn of(options: PgConnectOptions) -> Self {
        let (host, port) = (options.get_host(), options.get_port());
        let name = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None if host.starts_with('/') => host.to_owned(),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        };
        Self { name, options }
    }
}

/// Our own parameters, and the others as sqlx is to read them.
fn read_parameters(query: &str) -> Result<(Own, String), AddressRefused> {
    let mut own = Own::default();
    let mut passed = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "host" | "hostaddr" if value.is_empty() => {}
            // An address wins over the name, whichever comes first.
            "hostaddr" => own.hosts = Some(value.into_owned()),
            "host" => drop(own.hosts.get_or_insert(value.into_owned())),
            "port" => own.ports = Some(value.into_owned()),
            "target_session_attrs" => match &*value {
                // Keyward looks for the one that takes writes in any case.
                "any" | "read-write" | "primary" => {}
                _ => return Err(AddressRefused::Target),
            },
            "connect_timeout" => own.connect_timeout = Some(number("connect_timeout", &value, 1, 60)?),
            "connection_limit" => own.connections = Some(number("connection_limit", &value, 2, 1_000)?),
            _ => drop(passed.append_pair(&name, &value)),
        }
    }
    Ok((own, passed.finish()))
}

fn number(name: &'static str, text: &str, least: u32, most: u32) -> Result<u32, AddressRefused> {
    let number = text.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or(AddressRefused::Number { name, least, most })
}

/// The hosts between user and path. None at all is the local server.
fn places_of_authority(listed: &str) -> Result<Vec<Place<'_>>, AddressRefused> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let places = listed.split(',').enumerate();
    places
        .map(|(index, text)| place_of_authority(text).ok_or(AddressRefused::Host(index + 1)))
        .collect()
}

fn place_of_authority(text: &str) -> Option<Place<'_>> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    // What is no host's letter would become another parameter of the address that sqlx is given.
    let is_host = |letter: char| letter.is_alphanumeric() || ".-_%:".contains(letter);
    if host.is_empty() || !host.chars().all(is_host) {
        return None;
    }
    let port = match port {
        "" => None,
        _ => Some(port.parse().ok().filter(|port| *port > 0)?),
    };
    Some(Place {
        host: host.into(),
        port,
    })
}

/// The hosts of `?host=`, which are decoded already.
fn places_of_parameters<'a>(hosts: &str, ports: Option<&str>) -> Result<Vec<Place<'a>>, AddressRefused> {
    let mut places = Vec::new();
    for (index, host) in hosts.split(',').enumerate() {
        if host.is_empty() {
            return Err(AddressRefused::Host(index + 1));
        }
        let host: String = form_urlencoded::byte_serialize(host.as_bytes()).collect();
        places.push(Place {
            host: host.into(),
            port: None,
        });
    }
    match ports {
        Some(ports) => with_ports(places, ports),
        None => Ok(places),
    }
}

/// One port for all hosts, or one for each.
fn with_ports<'a>(mut places: Vec<Place<'a>>, ports: &str) -> Result<Vec<Place<'a>>, AddressRefused> {
    let ports: Vec<&str> = ports.split(',').collect();
    if ports.len() != 1 && ports.len() != places.len() {
        return Err(AddressRefused::Ports {
            hosts: places.len(),
            ports: ports.len(),
        });
    }
    for (place, text) in places.iter_mut().zip(ports.iter().cycle()) {
        let port: Option<u16> = text.parse().ok();
        if !text.is_empty() {
            place.port = Some(port.filter(|port| *port > 0).ok_or(AddressRefused::Number {
                name: "port",
                least: 1,
                most: 65_535,
            })?);
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        let address = PostgresAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        address.hosts.into_iter().map(|host| host.name).collect()
    }

    #[test]
    fn hosts_are_found_in_every_form_that_libpq_knows() {
        for (text, hosts) in [
            ("postgres://u:p@db/kw", &["db:5432"][..]),
            ("postgresql://db:6000", &["db:6000"]),
            (
                "postgres://u@h1:1,h2:2,h3/kw?target_session_attrs=read-write",
                &["h1:1", "h2:2", "h3:5432"],
            ),
            (
                "postgres://u@[::1]:7,[fe80::2]/kw",
                &["[::1]:7", "[fe80::2]:5432"],
            ),
            ("postgres://u@/kw?host=h1,h2&port=1,2", &["h1:1", "h2:2"]),
            ("postgres://u@ignored/kw?port=9&host=h1,h2", &["h1:9", "h2:9"]),
            (
                "postgres://u@name/kw?host=n&hostaddr=10.0.0.1",
                &["10.0.0.1:5432"],
            ),
            ("postgres:///kw?host=/run/postgresql", &["/run/postgresql"]),
            ("postgres://%2Frun%2Fpostgresql:5433/kw", &["/run/postgresql"]),
        ] {
            assert_eq!(names(text), hosts, "{text}");
        }
        assert_eq!(
            PostgresAddress::parse("postgres:///kw?port=5433").unwrap().hosts[0]
                .options
                .get_port(),
            5433
        );
    }

    #[test]
    fn what_is_not_of_one_host_goes_to_each() {
        let text =
            "postgres://us%40er:p%2Cw@h1,h2/k%20w?sslmode=verify-full&connect_timeout=7&connection_limit=3";
        let address = PostgresAddress::parse(text).unwrap();
        assert_eq!((address.connect_timeout.as_secs(), address.connections), (7, 3));
        for host in address.hosts {
            assert_eq!(host.options.get_username(), "us@er");
            assert_eq!(host.options.get_database(), Some("k w"));
            assert!(matches!(
                host.options.get_ssl_mode(),
                sqlx::postgres::PgSslMode::VerifyFull
            ));
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused_without_being_repeated() {
        for (text, words) in [
            ("mysql://u:S3cret@db/kw", "postgres://"),
            ("postgres://u:S3cret#x@db/kw", "%23"),
            ("postgres://u:S3cret/x@db/kw", "host number 1"),
            ("postgres://u:S3cret?x@db/kw", "host number 1"),
            ("postgres://u:S3cret@/kw", "host number 1"),
            ("postgres://u:S3cret@h1,,h2/kw", "host number 2"),
            ("postgres://u:S3cret@h1,::1/kw", "host number 2"),
            ("postgres://u:S3cret@h1:70000/kw", "host number 1"),
            ("postgres://u:S3cret@h1:0/kw", "host number 1"),
            ("postgres://u:S3cret@h&1/kw", "host number 1"),
            ("postgres://u:S3cret@h1,h2,h3/kw?port=1,2", "2 ports for 3 hosts"),
            ("postgres://u:S3cret@h/kw?port=S3cret", "65535"),
            (
                "postgres://u:S3cret@h/kw?target_session_attrs=standby",
                "read-write",
            ),
            ("postgres://u:S3cret@h/kw?connect_timeout=0", "from 1 to 60"),
            ("postgres://u:S3cret@h/kw?connection_limit=1", "from 2 to 1000"),
        ] {
            let refused = PostgresAddress::parse(text).expect_err(text);
            let said = format!("{refused} {refused:?}");
            assert!(said.contains(words), "{text}: {said}");
            assert!(!said.contains("S3cret"), "{text}: {said}");
        }
    }

    fn a_place() -> impl Strategy<Value = (String, Option<u16>)> {
        let host = prop_oneof![
            "[a-z][a-z0-9-]{0,8}(\\.[a-z]{1,5}){0,2}",
            any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        ];
        (host, prop::option::of(1_u16..))
    }

    fn encoded(text: &str) -> String {
        // Not the form's own encoding, which writes a space as `+`.
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn every_list_of_hosts_comes_back(
            places in prop::collection::vec(a_place(), 1..5),
            user in "[^\\x00]{1,8}",
            password in "[^\\x00]{1,8}",
            database in "[a-zA-Z ä/@,:]{1,8}",
        ) {
            let listed: Vec<String> = places
                .iter()
                .map(|(host, port)| port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
                .collect();
            let text = format!(
                "postgres://{}:{}@{}/{}?target_session_attrs=read-write&sslmode=require",
                encoded(&user), encoded(&password), listed.join(","), encoded(&database)
            );
            let address = PostgresAddress::parse(&text).unwrap();
            prop_assert_eq!(address.hosts.len(), places.len());
            for (host, (name, port)) in address.hosts.iter().zip(&places) {
                prop_assert_eq!(host.options.get_host(), name.trim_matches(['[', ']']));
                prop_assert_eq!(host.options.get_port(), port.unwrap_or(5432));
                prop_assert_eq!(host.options.get_username(), &user);
                prop_assert_eq!(host.options.get_database(), Some(&*database));
                prop_assert!(host.name.starts_with(name.as_str()));
            }
        }

        #[test]
        fn any_text_is_read_or_refused_and_a_password_never_repeated(
            before in "[a-z:/@,?&=%#\\[\\]0-9]{0,12}",
            after in "[a-z:/@,?&=%#\\[\\]0-9]{0,12}",
        ) {
            let secret = "Qu1etW0rd";
            let said = match PostgresAddress::parse(&format!("postgres://{before}u:{secret}@{after}")) {
                Ok(address) => format!("{address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            // A host is shown, and lower case makes no difference to what a reader learns of it.
            prop_assert!(!said.to_lowercase().contains(&secret.to_lowercase()), "{}", said);
        }
    }
}
