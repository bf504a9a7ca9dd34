use std::collections::BTreeSet;

use warren_net::gateway::{DecodeState, Frame, GatewaySettings, Protocol, decode};

use super::*;

fn decoded(protocol: Protocol, bytes: &[u8]) -> Vec<Frame> {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let settings = GatewaySettings { frame_bytes_max: 1 << 20, ..GatewaySettings::default() };
        let frame = decode(protocol, &settings, rest, &mut DecodeState::default(), &mut Vec::new());
        frames.push(frame);
        match frame {
            Frame::Message { consumed } | Frame::Refused { consumed, .. } => {
                rest = &mut rest[consumed..];
            }
            _ => break,
        }
    }
    frames
}

#[test]
fn every_attack_sends_something_and_is_bounded() {
    for scenario in Scenario::value_variants() {
        let shape = scenario.shape(2_000);
        assert!((1..=15_000).contains(&shape.connections), "{scenario:?}");
        let mut sent = 0;
        let mut out = Vec::new();
        for connection in 0..shape.connections.min(64) {
            let place = Place { connection, users: 2_000, world: Some(9) };
            out.clear();
            scenario.begin(place, 0, &mut out);
            if scenario.steps(place) {
                scenario.step(place, 0, &mut out);
            }
            sent += out.len();
        }
        assert!(sent > 0, "{scenario:?}");
    }
}

#[test]
fn what_comes_before_an_attack_is_legal() {
    for (scenario, protocol, count) in [
        (Scenario::Flood, Protocol::Json, 2),
        (Scenario::SlowReaders, Protocol::Json, 2),
        (Scenario::FanOut, Protocol::Json, 2),
        (Scenario::EntityBomb, Protocol::Xml, 1),
    ] {
        let mut out = Vec::new();
        scenario.begin(Place { connection: 3, users: 2_000, world: None }, 0, &mut out);
        let frames = decoded(protocol, &out);
        assert_eq!(frames.len(), count, "{scenario:?}");
        assert!(frames.iter().all(|frame| matches!(frame, Frame::Message { .. })), "{frames:?}");
    }
}

#[test]
fn bombs_are_refused_by_the_gateway() {
    for scenario in [Scenario::EntityBomb, Scenario::AttributeBomb] {
        for number in [0, 9] {
            let mut out = Vec::new();
            scenario.step(Place::default(), number, &mut out);
            let frames = decoded(Protocol::Xml, &out);
            assert!(matches!(frames[..], [Frame::Refused { .. }]), "{scenario:?}: {frames:?}");
        }
    }
}

#[test]
fn every_variant_has_a_name_of_its_own() {
    for names in [FIRST_PACKETS, WEBSOCKET_BOMBS] {
        let distinct: BTreeSet<&str> = names.iter().map(|(name, _)| *name).collect();
        assert_eq!(distinct.len(), names.len());
    }
}
