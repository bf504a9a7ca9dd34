//! The one closed list of reasons why something is refused or a connection is closed. The same
//! word stands on the wire and in the metrics.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $status:literal, $advice:literal;)+) => {
        /// Why something was refused, or a connection closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the table in `docs/protocol.md`.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word on the wire and in the metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The status code: HTTP's where one fits, 0 where nothing went wrong.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// The same for one connection: workers have limits of their own.
            #[must_use]
            pub const fn limit_of(self, is_worker: bool) -> Option<&'static str> {
                match self {
                    Self::MessageRate if is_worker => Some("limits.worker_messages_per_s"),
                    Self::ByteRate if is_worker => Some("limits.worker_bytes_per_s"),
                    _ => self.limit(),
                }
            }

            /// The configuration key of the limit that was hit, if it is one and always the same. The
            /// room's own limit is its field `members_max`, a world's besides that `speed_max`.
            #[must_use]
            pub const fn limit(self) -> Option<&'static str> {
                Some(match self {
                    Self::HeaderTooLarge => "websocket.header_bytes_max",
                    Self::FrameTooLarge => "protocol.frame_bytes_max",
                    Self::Timeout => "protocol.heartbeat_ms",
                    Self::LoginTimeout => "limits.login_ms",
                    Self::FrameTimeout => "limits.frame_ms",
                    Self::MessageRate => "limits.messages_per_s",
                    Self::ByteRate => "limits.bytes_per_s",
                    Self::FanOutRate => "limits.fan_out_bytes_per_s",
                    Self::TooManyConnections => "limits.connections_per_address_max",
                    Self::LoginRate => "limits.logins_per_minute_per_address",
                    Self::AccountLoginRate => "limits.logins_per_minute_per_account",
                    Self::TooManyUnauthenticated => "limits.unauthenticated_max",
                    Self::ObjectTooLarge => "limits.object_bytes_max",
                    Self::TooManyRooms => "limits.rooms_per_session_max",
                    Self::TooManyWatches => "limits.watches_per_session_max",
                    Self::PartitionFull => "limits.objects_per_partition_max",
                    Self::PartitionMemoryFull => "limits.partition_bytes_max",
                    Self::ServerFull => "limits.state_bytes_max",
                    Self::QueueFull => "limits.tasks_per_partition_max",
                    Self::LogBehind => "limits.log_wait_bytes_max",
                    Self::SlowConsumer => "limits.send_queue_bytes_max",
                    Self::RoomFull => "members_max",
                    Self::WorldFull => "limits.world_entities_max",
                    Self::TooManyWorlds => "limits.worlds_max",
                    Self::TickRateTooHigh => "limits.world_tick_hz_max",
                    Self::TooManyNpcs => "limits.world_npcs_max",
                    Self::NpcsFull => "limits.npcs_max",
                    Self::TooFast => "speed_max",
                    _ => return None,
                })
            }

            /// What a client that hears it had best do, for the table in `docs/protocol.md`.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),+ }
            }

            /// What it means, for the table in `docs/protocol.md`.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

reasons! {
    /// The frame is no message of its protocol.
    Malformed = "malformed", 400, "mend the frame";
    /// The message has no `msg`.
    MethodMissing = "method-missing", 400, "add `msg`";
    /// The name of a method, field, room or user is not `[A-Za-z_][A-Za-z0-9_.-]{0,63}`.
    BadName = "bad-name", 400, "choose another name";
    /// A field of that name belongs to the protocol, not to objects or events.
    ReservedField = "reserved-field", 400, "name the field otherwise";
    /// A field occurs twice.
    DuplicateField = "duplicate-field", 400, "say each field once";
    /// A field's value is a structure.
    NestedField = "nested-field", 400, "say it in flat fields";
    /// A needed field is missing.
    FieldMissing = "field-missing", 400, "add the field";
    /// The world would tick more often than worlds of this server may.
    TickRateTooHigh = "tick-rate-too-high", 400, "ask for a lower `tick_hz`";
    /// A field's value is not of its type, or out of range.
    FieldInvalid = "field-invalid", 400, "mend the field";
    /// Text holds a control character other than tab, LF and CR.
    ControlCharacter = "control-character", 400, "leave the character out";
    /// Text is not UTF-8.
    NotUtf8 = "not-utf8", 400, "encode text as UTF-8";
    /// A document type definition, which no message has.
    DoctypeRefused = "doctype", 400, "leave it out";
    /// An entity other than the five that XML itself defines.
    UnknownEntity = "unknown-entity", 400, "write the character itself";
    /// A namespace declaration, which no message has.
    NamespaceRefused = "namespace", 400, "leave it out";
    /// A processing instruction, which no message has.
    InstructionRefused = "processing-instruction", 400, "leave it out";
    /// More fields than a message may have.
    TooManyFields = "too-many-fields", 400, "say it in several messages";
    /// The first bytes belong to no protocol that this port speaks.
    UnknownProtocol = "unknown-protocol", 400, "speak a protocol of this port";
    /// A connection from one of `protocol.proxies` does not begin with a header of the PROXY protocol,
    /// version 2, that says from where its client comes.
    ProxyInvalid = "proxy-invalid", 400, "tell the operator";
    /// The HTTP request is no upgrade to WebSocket with a subprotocol that is spoken here.
    UpgradeInvalid = "upgrade-invalid", 400, "mend the request";
    /// The HTTP request has too many bytes or headers.
    HeaderTooLarge = "header-too-large", 431, "send fewer and shorter headers";
    /// The page comes from an origin whose pages may not connect.
    OriginRefused = "origin-refused", 403, "ask the operator";
    /// A WebSocket frame that no client may send.
    WebsocketInvalid = "websocket-invalid", 400, "mend the client, and connect again";
    /// The TLS of the connection failed: not what it should be, or not what is spoken here.
    TlsFailed = "tls-failed", 400, "mend the client, and connect again";
    /// This port is spoken to in TLS only.
    TlsRequired = "tls-required", 426, "connect again in TLS";
    /// The protocol version is not spoken here.
    VersionUnsupported = "version-unsupported", 400, "speak a version that `hello` names here";
    /// Only `hello`, `login`, `resume`, `ping` and `quit` are answered before login.
    NotLoggedIn = "not-logged-in", 401, "log in first";
    /// Users prove here who they are, and the `login` has no `ticket`.
    TicketMissing = "ticket-missing", 401, "get a ticket, and log in with it";
    /// The ticket is none, is not signed by a key of this server, or is another user's; or users
    /// do not prove here who they are.
    TicketInvalid = "ticket-invalid", 401, "get another ticket";
    /// The ticket's time is over.
    TicketExpired = "ticket-expired", 401, "get a new ticket";
    /// The ticket's time has not come.
    TicketEarly = "ticket-early", 401, "wait until the ticket's time, or set the clock";
    /// The ticket is for another server.
    TicketAudience = "ticket-audience", 401, "get a ticket for this server";
    /// The user has no role that may do this.
    Forbidden = "forbidden", 403, "do without it";
    /// There is no such session to resume, or not by that token.
    SessionUnknown = "session-unknown", 401, "log in anew";
    /// The lobby is no room: nothing can be said to it, and nobody joins or leaves it.
    Lobby = "lobby", 403, "name a room";
    /// Only members may do this.
    NotAMember = "not-a-member", 403, "join first";
    /// Only the object's owner may change it.
    NotOwner = "not-owner", 403, "ask the owner";
    /// Rooms are not made by joining here.
    RoomCreationDisabled = "room-creation-disabled", 403, "join a room that is there";
    /// The operator does not let this user or this address in.
    Banned = "banned", 403, "stay away; the operator can tell why";
    /// What a task does stays within its partition, but for what rooms are told.
    OtherPartition = "other-partition", 400, "let another task do it there";
    /// No such method.
    UnknownMethod = "unknown-method", 404, "use a method that is there";
    /// No such room.
    UnknownRoom = "unknown-room", 404, "name another room";
    /// No such room, and no such user is here.
    UnknownRecipient = "unknown-recipient", 404, "name another, or try later";
    /// No such object.
    UnknownObject = "unknown-object", 404, "forget the object";
    /// Nothing that the server has moves NPCs by that name.
    UnknownBehaviour = "unknown-behaviour", 404, "name a behaviour that the server has";
    /// The client was silent for two heartbeats.
    Timeout = "timeout", 408, "connect again, and ping";
    /// The client was not logged in in time.
    LoginTimeout = "login-timeout", 408, "connect again, and log in at once";
    /// A frame that had begun was not whole in time.
    FrameTimeout = "frame-timeout", 408, "connect again, and send whole frames";
    /// The object is at another version.
    VersionConflict = "version-conflict", 409, "`get` the object, and try again";
    /// The task is not this worker's: its time is over, another has it, or it is done.
    LeaseLost = "lease-lost", 409, "go on with the next task";
    /// An effect of the task was refused before: it is not all that its worker means, and nothing has
    /// changed.
    EffectsMissing = "effects-missing", 409, "`release` the task, or `fail` it";
    /// The user's task of the same `key` is not done yet.
    TaskPending = "task-pending", 409, "ask again later";
    /// This connection is logged in already.
    AlreadyLoggedIn = "already-logged-in", 409, "go on";
    /// The user is a member already.
    AlreadyMember = "already-member", 409, "go on";
    /// The session watches the object already.
    AlreadyWatching = "already-watching", 409, "go on";
    /// The session does not watch the object.
    NotWatching = "not-watching", 409, "go on";
    /// The name belongs to another room, or to a user.
    NameTaken = "name-taken", 409, "choose another name";
    /// The room still has members.
    RoomOccupied = "room-occupied", 409, "wait until the room is empty";
    /// The same user logged in on another connection.
    Displaced = "displaced", 410, "do not connect again by itself";
    /// The operator has ended the session.
    Kicked = "kicked", 410, "do not connect again by itself";
    /// The session was resumed on another connection.
    TakenOver = "taken-over", 410, "leave it to the newer connection";
    /// The session is there, but not all that the client has missed.
    ResumeTooOld = "resume-too-old", 410, "log in anew, and ask what is true now";
    /// The frame is longer than the limit.
    FrameTooLarge = "frame-too-large", 413, "send shorter frames";
    /// The object would be larger than the limit.
    ObjectTooLarge = "object-too-large", 413, "make the object smaller";
    /// The reply or its effects would be larger than the limit.
    EffectsTooLarge = "effects-too-large", 413, "ask for less at once";
    /// More messages came than may in this time. A client that goes on is closed.
    MessageRate = "message-rate", 429, "send it again later, and less often";
    /// More bytes came than may in this time, and they are no messages.
    ByteRate = "byte-rate", 429, "connect again, and send messages";
    /// The room sends to all its members what this one has it send, and that is more than may be
    /// sent in this time.
    FanOutRate = "fan-out-rate", 429, "send it again later, shorter or less often";
    /// The client's address has its greatest number of connections.
    TooManyConnections = "too-many-connections", 429, "close other connections first, or connect again later";
    /// Logins and resumes came from the client's address more often than they may; try later.
    LoginRate = "login-rate", 429, "connect again later, and log in less often";
    /// The user has logged in more often than users may; try later.
    AccountLoginRate = "account-login-rate", 429, "log in again later, and less often";
    /// The room has its greatest number of members.
    RoomFull = "room-full", 429, "join another room, or try later";
    /// The world has its greatest number of entities.
    WorldFull = "world-full", 429, "join another world, or try later";
    /// This part of the server has its greatest number of worlds with somebody in them.
    TooManyWorlds = "too-many-worlds", 429, "join a world that has members, or try later";
    /// The world would have more NPCs than a world may have.
    TooManyNpcs = "too-many-npcs", 413, "ask for fewer NPCs";
    /// This part of the server has its greatest number of NPCs, and the world would wake with more.
    NpcsFull = "npcs-full", 503, "join again later";
    /// The entity would move faster than its world lets it; it stays where it is.
    TooFast = "too-fast", 429, "go on from where the answer says that it is";
    /// The session is in its greatest number of rooms.
    TooManyRooms = "too-many-rooms", 429, "leave a room first";
    /// The session watches its greatest number of objects.
    TooManyWatches = "too-many-watches", 429, "`unwatch` an object first";
    /// The partition holds its greatest number of objects.
    PartitionFull = "partition-full", 507, "delete objects, or use another partition";
    /// The partition's objects take as much memory as they may.
    PartitionMemoryFull = "partition-memory-full", 507, "delete objects, or use another partition";
    /// The objects of this part of the server take as much memory as they may.
    ServerFull = "server-full", 507, "tell the operator";
    /// Too many clients are connected that have not logged in; try again.
    TooManyUnauthenticated = "too-many-unauthenticated", 503, "connect again later";
    /// So many tasks wait in the partition, or so many of the user's, that no more may.
    QueueFull = "queue-full", 503, "try again, later each time";
    /// No worker took the task in time; nothing has changed.
    TaskExpired = "task-expired", 504, "try again later";
    /// The task was tried as often as it may be, or its worker says that trying again is no use. It waits
    /// for the operator.
    TaskFailed = "task-failed", 500, "tell the operator";
    /// The plugin that does the method says that it cannot; nothing has changed.
    PluginFailed = "plugin-failed", 500, "tell the operator";
    /// The plugin that does the method took too long too often, and is called no more until the operator
    /// loads it anew.
    PluginDisabled = "plugin-disabled", 503, "try again later";
    /// A queue on the way is full; try again.
    Busy = "busy", 503, "try again, later each time";
    /// So many replies wait until their changes are durable that no more may; nothing has changed.
    LogBehind = "log-behind", 503, "try again, later each time";
    /// The change is made, and whether it is durable is not known: the log has failed. The answer has the
    /// fields of the reply.
    NotDurable = "not-durable", 500, "`get` the object later, and see whether the change is there";
    /// This node cannot promise that level of `ack`; nothing has changed.
    LevelUnavailable = "level-unavailable", 501, "ask for a lower `ack`";
    /// The client takes its messages too slowly.
    SlowConsumer = "slow-consumer", 504, "connect again, and read faster";
    /// The server is stopping.
    Draining = "draining", 503, "connect again in a while";
    /// The client said `quit`.
    Quit = "quit", 0, "nothing";
    /// The client asked for the Flash socket policy, and has it.
    PolicyRequest = "policy-request", 0, "connect again to play";
    /// The client closed the connection.
    PeerClosed = "peer-closed", 0, "nothing";
    /// The connection broke.
    SocketError = "socket-error", 0, "connect again";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_lower_case_words() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            let word = reason.word();
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(Reason::ALL[..index].iter().all(|earlier| earlier.word() != word), "{word}");
        }
    }
}
