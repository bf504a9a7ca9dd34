//! A worker's socket, with TLS over it or without.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};

use super::trust::client_config;
use crate::worker::CA_FILE_VARIABLE;

/// How long a connection may take to be there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What a worker's server is asked for by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// `HOST:PORT`.
    pub(super) address: String,
    /// By which its certificate has to be; none: without TLS.
    name: Option<ServerName<'static>>,
}

impl Server {
    /// Of `tcp://HOST:PORT` or `tls://HOST:PORT`.
    pub(super) fn of(url: &str) -> Result<Self, String> {
        let invalid = || format!("url-invalid: {url}: allowed: tcp://HOST:PORT, tls://HOST:PORT");
        let (scheme, address) = url.split_once("://").ok_or_else(invalid)?;
        let address = address.trim_end_matches('/').to_owned();
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(invalid());
        }
        let name = match scheme {
            "tcp" => None,
            "tls" => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Some(ServerName::try_from(host).map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        Ok(Self { address, name })
    }
}

/// A connection that waits for nothing: what is not there at once is `WouldBlock`.
pub(super) struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Connects, shakes hands where that is to be done, and says the first bytes.
    pub(super) fn open(server: &Server, first: &[u8]) -> io::Result<Self> {
        let mut stream = connect(&server.address)?;
        stream.set_nodelay(true)?;
        let tls = match &server.name {
            None => {
                stream.write_all(first)?;
                None
            }
            Some(name) => Some(Box::new(secure(&mut stream, name.clone(), first)?)),
        };
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tls })
    }

    /// The same socket, to wait for.
    pub(super) fn socket(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// As many bytes as are taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let Some(tls) = &mut self.tls else { return self.stream.write(bytes) };
        let count = tls.writer().write(bytes)?;
        match self.flush() {
            // It waits here, and these are taken.
            Err(error) if is_for_later(&error) => Ok(count),
            flushed => flushed.map(|()| count),
        }
    }

    /// Whether all that was taken is on its way. What is not waits here for the socket.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// What has come, also while nothing can be sent.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end that was not announced is one nevertheless.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            tls.read_tls(&mut self.stream)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    pub(super) fn shut_down(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// What is not done now is done the next time.
fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A socket whose time is over says that it would block.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "timeout")
        }
        _ => error,
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = named(error),
        }
    }
    Err(last)
}

/// Shakes hands, and says the first bytes.
fn secure(
    stream: &mut TcpStream,
    name: ServerName<'static>,
    first: &[u8],
) -> io::Result<ClientConnection> {
    let ca_file = std::env::var_os(CA_FILE_VARIABLE).filter(|path| !path.is_empty());
    let ca_file = ca_file.map(PathBuf::from);
    // A certificate may have been renewed since the last time.
    let config = client_config(ca_file.as_deref()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    stream.set_read_timeout(Some(CONNECT_TIME))?;
    stream.set_write_timeout(Some(CONNECT_TIME))?;
    let mut both = Stream::new(&mut tls, stream);
    both.write_all(first).and_then(|()| both.flush()).map_err(named)?;
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_by_which_name() {
        let server = |url| Server::of(url).map(|server| (server.address, server.name.is_some()));
        for (url, address, is_secure) in [
            ("tcp://127.0.0.1:7171", "127.0.0.1:7171", false),
            ("tcp://game.example.org:1/", "game.example.org:1", false),
            ("tls://game.example.org:7171", "game.example.org:7171", true),
            ("tls://127.0.0.1:7171", "127.0.0.1:7171", true),
            ("tls://[::1]:7171", "[::1]:7171", true),
        ] {
            assert_eq!(server(url), Ok((address.to_owned(), is_secure)));
        }
        let no_scheme = ["udp://127.0.0.1:1", "127.0.0.1:1", ""];
        let no_host = ["tls://a b:1", "tls://:1", "tcp://:1"];
        let no_port = ["tcp://a", "tls://a", "tcp://a:", "tls://[::1]", "tcp://a:0", "tcp://a:x"];
        for url in no_scheme.into_iter().chain(no_host).chain(no_port) {
            assert!(server(url).unwrap_err().starts_with("url-invalid: "), "{url}");
        }
    }
    #[test]
    fn a_time_that_is_over_has_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let error = stream.read(&mut [0]).map_err(named).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (io::ErrorKind::TimedOut, "timeout"));
        let other = io::Error::other("no such thing");
        assert_eq!(named(other).to_string(), "no such thing");
    }
}
