//! What of the work is this lander's: the partitions whose slots it has.

use std::collections::BTreeSet;

use bus::{Membership, Topic, slot_of};
use tokio::sync::watch;

/// The slots of this lander, as they come and go.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    slots: watch::Receiver<BTreeSet<u32>>,
    count: u32,
}

impl Share {
    pub(crate) fn of(membership: &dyn Membership) -> Self {
        Self {
            slots: membership.slots(),
            count: membership.count(),
        }
    }

    /// The partitions of `topic` that are this lander's now.
    pub(crate) fn partitions(&self, topic: &Topic) -> BTreeSet<i32> {
        let slots = self.slots.borrow();
        (0..topic.partitions)
            .filter(|partition| {
                let slot = slot_of(&format!("{}/{partition}", topic.name), self.count);
                slots.contains(&slot)
            })
            .collect()
    }

    /// Whether the upkeep of `table` is this lander's now.
    pub(crate) fn has(&self, table: &str) -> bool {
        self.slots.borrow().contains(&slot_of(table, self.count))
    }

    /// Waits until they are others than `known`.
    pub(crate) async fn changed_from(&mut self, known: &BTreeSet<i32>, topic: &Topic) {
        while self.partitions(topic) == *known {
            if self.slots.changed().await.is_err() {
                // The membership is over; so is whoever waits.
                std::future::pending::<()>().await;
            }
        }
    }
}
