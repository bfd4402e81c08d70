//! How a lander stands: whether it has a share of the work, and what of it fails.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

/// How a lander stands with its group, the log and the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the group of landers has given it a share of the partitions.
    pub member: bool,
    /// Why the log could not say the last time which topics there are.
    pub unreachable: Option<String>,
    /// Topics whose landing fails, and why; each until what was read of it is landed again.
    pub failing: BTreeMap<String, String>,
}

/// Where it is noted.
pub(crate) type Noted = watch::Sender<Standing>;

/// Notes whether there is a share, as long as there is a membership.
pub(crate) async fn follow(mut slots: watch::Receiver<BTreeSet<u32>>, standing: Noted) {
    loop {
        let member = !slots.borrow_and_update().is_empty();
        standing.send_if_modified(|it| std::mem::replace(&mut it.member, member) != member);
        if slots.changed().await.is_err() {
            standing.send_if_modified(|it| std::mem::take(&mut it.member));
            return;
        }
    }
}

/// Notes what came of asking the log for its topics.
pub(crate) fn listed(standing: &Noted, why: Option<&bus::Error>) {
    let why = why.map(ToString::to_string);
    standing.send_if_modified(|it| {
        let changed = it.unreachable != why;
        it.unreachable = why;
        changed
    });
}

/// Notes that a topic's landing fails.
pub(crate) fn failed(standing: &Noted, topic: &str, why: &str) {
    standing.send_modify(|it| {
        it.failing.insert(topic.to_owned(), why.to_owned());
    });
}

/// Notes that all that was read of a topic has landed, or that it is no longer this lander's.
pub(crate) fn works(standing: &Noted, topic: &str) {
    standing.send_if_modified(|it| it.failing.remove(topic).is_some());
}
