//! Connections from proxies: before all else the proxy says from where the client comes. Until then
//! nobody is counted for it and no ban is looked up, so that clients that come by one proxy are not
//! taken for one; what bounds such connections is that their clients have not logged in.
//!
//! Only the addresses of `ReactorSettings::proxies` are asked, and have to answer. From elsewhere a
//! header is nothing but bytes of an unknown protocol.

use std::net::IpAddr;

use warren_core::ids::ConnectionId;
use warren_core::reason::Reason;

use super::Reactor;
use super::receive::{Intake, Received};
use crate::connection::Phase;
use crate::proxy_header::{ProxyHeader, read_proxy_header};

impl Reactor {
    /// Whether a connection that was just accepted is a proxy's.
    pub(super) fn comes_by_proxy(&self, index: u32) -> bool {
        let peer = self.connections[index as usize].peer;
        peer.is_some_and(|peer| self.settings.proxies.iter().any(|range| range.has(peer)))
    }

    /// Reads the header, in however many pieces it comes, and goes on with what is behind it.
    pub(super) fn feed_proxied(
        &mut self,
        id: ConnectionId,
        received: Received<'_>,
        intake: &mut Intake<'_>,
    ) {
        let connection = &mut self.connections[id.index as usize];
        self.counters.partial_frame_bytes -= connection.partial_bytes() as u64;
        let mut bytes = connection.take_partial();
        if bytes.is_empty() {
            bytes = self.spare.take();
        }
        bytes.extend_from_slice(self.bytes_of(&received));
        self.give_back(&received);
        match read_proxy_header(&bytes) {
            Ok(ProxyHeader::Incomplete) => {
                self.counters.partial_frame_bytes += bytes.len() as u64;
                self.connections[id.index as usize].bring_partial(bytes);
                return;
            }
            Ok(ProxyHeader::Whole { client, consumed }) => {
                self.client_named(id.index, client, intake);
                let rest = &mut bytes[consumed..];
                if !rest.is_empty() && self.connections[id.index as usize].is_alive() {
                    self.feed(id, Received::Elsewhere(rest), intake);
                }
            }
            Err(fault) => {
                tracing::debug!(connection = id.index, %fault, "no header of a proxy");
                self.close(id.index, Reason::ProxyInvalid);
            }
        }
        self.spare.give_back(bytes);
    }

    /// The client is there; none: at the proxy's own address.
    fn client_named(&mut self, index: u32, client: Option<IpAddr>, intake: &mut Intake<'_>) {
        self.counters.proxied += 1;
        let connection = &mut self.connections[index as usize];
        connection.peer = client.or(connection.peer);
        connection.phase = Phase::Undetected;
        if self.is_banned(index, intake.now) {
            self.turn_away(index, Reason::Banned);
            return;
        }
        self.let_in(index, intake);
    }
}
