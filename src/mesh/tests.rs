use warren_core::ids::SessionId;
use warren_core::mesh::MeshMessage;

use super::*;

fn send(outputs: &mut ShardOutputs, to: usize, index: u32) {
    let session = SessionId { shard: ShardId(to as u16), generation: 0, index };
    let message = outputs.mesh[to].push_bytes(&index.to_le_bytes());
    outputs.mesh[to].list.push(MeshMessage::Direct { session, message });
}

fn received(ports: &mut MeshPorts) -> Vec<(u16, u32)> {
    let mut inputs = ShardInputs::default();
    ports.receive(&mut inputs);
    let mut list = vec![];
    for (sender, batch) in &inputs.mesh {
        for message in &batch.list {
            let MeshMessage::Direct { session, message } = message else { panic!("{message:?}") };
            assert_eq!(message.of(&batch.bytes), session.index.to_le_bytes());
            list.push((sender.0, session.index));
        }
    }
    ports.give_back(&mut inputs);
    list
}

#[test]
fn what_a_full_ring_cannot_take_stays_in_order() {
    let mut ports = connect(3, 2);
    let mut outputs = ShardOutputs::new(3);
    let mut staged = vec![];
    for index in 0..5 {
        send(&mut outputs, 2, index);
        let mut told = vec![];
        let published = ports[0].publish(&mut outputs, |peer| told.push(peer.0));
        assert_eq!(told, if index < 2 { vec![2] } else { vec![] });
        staged.push(published.staged_bytes > 0);
    }
    assert_eq!(staged, [false, false, true, true, true]);
    assert!(ports[2].has_input() && !ports[1].has_input());
    assert_eq!(received(&mut ports[2]), [(0, 0), (0, 1)]);
    ports[0].publish(&mut outputs, |_| {});
    assert_eq!(received(&mut ports[2]), [(0, 2), (0, 3), (0, 4)]);
    assert!(outputs.mesh[2].is_empty());
}

#[test]
fn every_two_shards_reach_each_other() {
    let mut ports = connect(4, 1);
    for (one, port) in ports.iter_mut().enumerate() {
        let mut outputs = ShardOutputs::new(4);
        for other in (0..4).filter(|other| *other != one) {
            send(&mut outputs, other, one as u32);
        }
        assert_eq!(port.publish(&mut outputs, |_| {}).batches, 3);
    }
    for (shard, port) in (0..4).zip(&mut ports) {
        let peers = (0..4).filter(|peer| *peer != shard);
        assert_eq!(received(port), peers.map(|peer| (peer, u32::from(peer))).collect::<Vec<_>>());
    }
}

#[test]
fn emptied_batches_come_back_with_their_memory() {
    let mut ports = connect(2, 2);
    let mut outputs = ShardOutputs::new(2);
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..100 {
        send(&mut outputs, 1, index);
        ports[0].publish(&mut outputs, |_| {});
        let mut inputs = ShardInputs::default();
        ports[1].receive(&mut inputs);
        seen.insert(inputs.mesh[0].1.bytes.as_ptr() as usize);
        ports[1].give_back(&mut inputs);
    }
    assert!(seen.len() <= 3, "{} buffers", seen.len());
}
