//! One digest of those of groups, and of parts of groups: they are added.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Objects and their digest.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    objects: u64,
    digest: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.digest = self.digest.wrapping_add(other.digest);
    }

    fn text(self) -> String {
        format!("{:016x}", self.digest)
    }
}

/// The digest of the node, and of each group where `with_groups`; none when the answer is none.
pub(super) fn of_node(answer: &Value, with_groups: bool) -> Option<Value> {
    let (mut node, mut groups) = (Sum::default(), BTreeMap::<u64, Sum>::new());
    for row in answer["digests"].as_array()? {
        let digest = u64::from_str_radix(row["digest"].as_str()?, 16).ok()?;
        let part = Sum { objects: row["objects"].as_u64()?, digest };
        node.add(part);
        groups.entry(row["group"].as_u64()?).or_default().add(part);
    }
    let mut told = json!({ "objects": node.objects, "digest": node.text() });
    if with_groups {
        let row = |(group, sum): (u64, Sum)| json!({ "group": group, "objects": sum.objects, "digest": sum.text() });
        told["groups"] = groups.into_iter().map(row).collect();
    }
    Some(told)
}
