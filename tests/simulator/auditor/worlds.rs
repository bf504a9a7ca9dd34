//! What members of worlds see. Everybody is in one cell here, NPCs too, so who has seen all of a world
//! knows of as many entities as it has members and NPCs.

use std::collections::BTreeSet;

use warren_core::world::frame::Frame;

use super::Auditor;

/// How many NPCs a world has that was made with these.
pub(super) fn npc_count(npcs: &str) -> usize {
    npcs.split('|').map(|entry| entry.split(':').nth(1).unwrap().parse::<usize>().unwrap()).sum()
}

impl Auditor {
    /// A client has got a frame. The first that it gets on a line, and the next after one that it did not
    /// take, is a whole one.
    pub(crate) fn seen(&mut self, conversation: usize, line: usize, frame: Frame<'_>) {
        let view = &mut self.views[conversation];
        if view.is_over || view.bond.line != Some(line) {
            return;
        }
        self.reached.entry(("frame".to_owned(), "seen")).and_modify(|n| *n += 1).or_insert(1);
        let world = frame.header.world;
        if frame.header.is_whole {
            view.seen.insert(world, BTreeSet::new());
        }
        let known = view.seen.get_mut(&world);
        let known = known.unwrap_or_else(|| {
            panic!("client {conversation} is told of changes before it was told all: {frame:?}")
        });
        for section in frame.sections() {
            if section.is_key {
                known.clear();
            }
            known.extend(section.updates().map(|update| update.entity));
            for leave in section.leaves() {
                assert!(leave.now.is_none(), "everybody stands in one cell");
                known.remove(&leave.entity);
            }
        }
    }

    /// A client has missed a frame: of no world it is told anything before it is told all.
    pub(crate) fn forget_seen(&mut self, conversation: usize, line: usize) {
        let view = &mut self.views[conversation];
        if view.bond.line == Some(line) {
            view.seen.clear();
        }
    }

    /// Somebody who has not seen all of a world: the client, the world, and how many it knows of.
    pub(crate) fn unseen(&self) -> Option<(usize, u64, usize, usize)> {
        for (conversation, view) in self.views.iter().enumerate() {
            if view.is_over || !view.bond.is_attached || view.session.is_none() {
                continue;
            }
            for stay in view.stays.values() {
                let room = self.oracle.stays[stay.stay].room;
                if self.oracle.objects[&room].kind != "world" {
                    continue;
                }
                let fields = self.oracle.objects[&room].history.last().expect("it was made");
                let npcs = fields.get("npcs").map_or(0, |npcs| npc_count(npcs));
                let entities = self.oracle.rooms[&room].members.len() + npcs;
                let known = view.seen.get(&room).map_or(0, BTreeSet::len);
                if known != entities {
                    return Some((conversation, room, known, entities));
                }
            }
        }
        None
    }
}
