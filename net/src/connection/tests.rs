use warren_core::message::packed;

use super::*;

struct Fed {
    connection: Connection,
    settings: GatewaySettings,
    inputs: ShardInputs,
    spare: SpareBuffers,
    rates: RateLimits,
    now_ns: u64,
    refused: Vec<Reason>,
    /// Frames of the last piece.
    frames: u64,
    answer: Vec<u8>,
}

const ID: ConnectionId = ConnectionId { index: 3, generation: 9 };

impl Fed {
    fn new(frame_bytes_max: usize) -> Self {
        let mut connection = Connection::of_generation(ID.generation);
        connection.phase = Phase::Undetected;
        Self {
            connection,
            settings: GatewaySettings { frame_bytes_max, ..GatewaySettings::default() },
            inputs: ShardInputs::default(),
            spare: SpareBuffers::default(),
            rates: RateLimits::default(),
            now_ns: 0,
            refused: Vec::new(),
            frames: 0,
            answer: Vec::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut decoding = Decoding {
            settings: &self.settings,
            fixed_protocol: None,
            inputs: &mut self.inputs,
            spare: &mut self.spare,
            rates: &self.rates,
            now_ns: self.now_ns,
            refused: &mut self.refused,
            messages: 0,
            answered: 0,
            frames: 0,
            frame_began: false,
            upgrade: &UpgradeSettings::default(),
            answer: &mut self.answer,
            client_closed: false,
        };
        let result = self.connection.feed(ID, &mut bytes.to_vec(), &mut decoding);
        self.frames = decoding.frames;
        result
    }

    /// Methods of the messages, after the opening.
    fn methods(&self) -> Vec<&[u8]> {
        let traits = ConnectionTraits::default();
        assert_eq!(self.inputs.list.first(), Some(&ShardInput::Opened { connection: ID, traits }));
        let messages = self.inputs.list[1..].iter().map(|input| match input {
            ShardInput::Message { connection: ID, message } => message.of(&self.inputs.bytes),
            other => panic!("{other:?}"),
        });
        messages.collect()
    }
}

#[test]
fn a_stream_means_the_same_wherever_it_is_cut() {
    let stream = b"{\"msg\":\"a\"}\n{\"no\":1}\n{\"msg\":\"bb\"}\0\n\n{\"msg\":\"c\"}\n{\"msg\":";
    let expected = [packed("a", &[]), packed("bb", &[]), packed("c", &[])];
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let mut fed = Fed::new(1000);
            for piece in [&stream[..first], &stream[first..second], &stream[second..]] {
                fed.feed(piece).unwrap();
            }
            assert_eq!(fed.methods(), expected, "cut at {first} and {second}");
            assert_eq!(fed.refused, [Reason::MethodMissing], "cut at {first} and {second}");
            assert_eq!(fed.connection.partial_bytes(), b"{\"msg\":".len());
            fed.connection.discard_partial(&mut fed.spare);
            assert_eq!(fed.connection.partial_bytes(), 0);
        }
    }
}

#[test]
fn a_half_received_frame_is_bounded() {
    let mut fed = Fed::new(300);
    fed.feed(b"{\"msg\":\"a\"}\n").unwrap();
    let mut fault = Ok(());
    let mut most = 0;
    for _ in 0..400 {
        fault = fed.feed(b"x");
        if fault.is_err() {
            break;
        }
        most = most.max(fed.connection.partial_bytes());
    }
    assert_eq!((fault, most), (Err(Fault(Reason::FrameTooLarge)), 299));
    assert_eq!(fed.connection.partial_bytes(), 0);
}

#[test]
fn messages_before_a_fault_count() {
    let mut fed = Fed::new(20);
    let fault = fed.feed(b"{\"msg\":\"a\"}\n{\"msg\":\"this is too long for it\"}\n");
    assert_eq!(fault, Err(Fault(Reason::FrameTooLarge)));
    assert_eq!(fed.methods(), [packed("a", &[])]);
}

#[test]
fn blanks_before_a_request_are_looked_through_until_it_begins() {
    let mut fed = Fed::new(65_536);
    let blanks = b"\r\n".repeat(1000);
    for byte in blanks.iter().chain(b"GET") {
        assert_eq!(fed.feed(&[*byte]), Ok(()));
    }
    for byte in b" / HTTP/1.1\r\nHost: " {
        assert_eq!(fed.feed(&[*byte]), Ok(()));
    }
    assert_eq!(fed.connection.partial, *b"GET / HTTP/1.1\r\nHost: ");
    assert_eq!(fed.feed(b"x\r\n\r\n"), Err(Fault(Reason::UpgradeInvalid)));
}

#[test]
fn first_bytes_of_no_protocol_are_a_fault_however_they_come() {
    for pieces in
        [&[b"\0".as_slice()] as &[&[u8]], &[b"P", b"UT / HTTP/1.1"], &[[b'x'; 500].as_slice()]]
    {
        let mut fed = Fed::new(400);
        let faults = pieces.iter().filter_map(|piece| fed.feed(piece).err());
        assert_eq!(faults.last(), Some(Fault(Reason::UnknownProtocol)), "{pieces:?}");
        assert!(fed.inputs.list.is_empty());
    }
}

#[test]
fn every_frame_counts_and_a_run_of_empty_ones_as_one() {
    let piece = |first: &[u8], piece: &[u8]| {
        let mut fed = Fed::new(1000);
        fed.feed(first).unwrap();
        fed.feed(piece).unwrap();
        (fed.frames, fed.inputs.list.len())
    };
    let json = b"{\"msg\":\"a\"}\n";
    assert_eq!(piece(json, &b"\n".repeat(500)), (1, 2));
    assert_eq!(piece(json, &b"\n\0".repeat(250)), (500, 2));
    assert_eq!(piece(json, &[b"\n\n\n".as_slice(), json, b"\n\n"].concat()), (3, 3));
    assert_eq!(piece(json, &b"{}\n".repeat(3)), (3, 2));
    assert_eq!(piece(b"msg=a~", &b"~".repeat(500)).1, 2);
    assert_eq!(piece(b"<msg method='a'/>\0", &b"\0".repeat(500)), (1, 2));
}

#[test]
fn only_usual_buffers_are_kept() {
    let mut spare = SpareBuffers::default();
    spare.give_back(Vec::with_capacity(SPARE_BUFFER_BYTES_MAX + 1));
    assert_eq!(spare.take().capacity(), 0);
    let mut used = Vec::with_capacity(100);
    used.extend_from_slice(b"somebody's");
    spare.give_back(used);
    let next = spare.take();
    assert!(next.is_empty() && next.capacity() >= 100);
    for _ in 0..2 * SPARE_BUFFERS_MAX {
        spare.give_back(Vec::with_capacity(10));
    }
    assert_eq!(spare.buffers.len(), SPARE_BUFFERS_MAX);
}
