//! What an audit has to read of each table: everything, or what came since the last.

use std::collections::{BTreeMap, HashMap};

use lake::{Changes, History, Lake};

use super::{
    mark::Mark,
    moment::{Moment, Partition},
    seen::OffsetSet,
};
use crate::{Result, refused::QUARANTINE_TABLE};

/// What is read of a table.
#[derive(Debug)]
pub(super) enum Scope {
    /// All its files; why, if less was asked for.
    All(Option<String>),
    /// The files that came since a version.
    Since(i64, Changes),
}

/// Rows an earlier audit has accounted for, of one partition.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// All offsets below.
    pub(super) below: i64,
    /// And these.
    pub(super) ahead: OffsetSet,
}

/// By topic label and partition.
pub(super) type AllSettled = HashMap<String, BTreeMap<i32, Settled>>;

/// Everything, of every table.
pub(super) fn everything(moment: &Moment, reason: Option<&str>) -> BTreeMap<String, Scope> {
    let all = |name: &String| (name.clone(), Scope::All(reason.map(str::to_owned)));
    moment.tables.keys().map(all).collect()
}

/// What came since `mark`, of every table of which that can be told.
pub(super) async fn since(
    lake: &Lake,
    moment: &Moment,
    mark: &Mark,
) -> Result<BTreeMap<String, Scope>> {
    let mut scopes = BTreeMap::new();
    // A table the mark does not name has come since, and all its files with it.
    let mut refused_too = None;
    for (name, standing) in &moment.tables {
        let scope = match (mark.tables.get(name), broken(moment, mark, name)) {
            (None, _) => Scope::All(Some("it is new".to_owned())),
            (Some(_), Some(reason)) => Scope::All(Some(reason)),
            (Some(marked), None) if marked.id != standing.id => {
                Scope::All(Some("it was deleted and made again".to_owned()))
            }
            (Some(marked), None) => {
                match lake.changes(name, marked.version, standing.version).await? {
                    History::Known(changes) => Scope::Since(marked.version, changes),
                    History::Unknown(reason) => Scope::All(Some(reason)),
                }
            }
        };
        if matches!(scope, Scope::All(_)) && mark.tables.contains_key(name) {
            refused_too = Some(name);
        }
        scopes.insert(name.clone(), scope);
    }
    // Records of theirs that were refused before the mark are needed again.
    if let Some(table) = refused_too.filter(|it| *it != QUARANTINE_TABLE)
        && let Some(Scope::Since(..)) = scopes.get(QUARANTINE_TABLE)
    {
        let reason = format!("all of {table} is audited");
        scopes.insert(QUARANTINE_TABLE.to_owned(), Scope::All(Some(reason)));
    }
    Ok(scopes)
}

/// Why a table's partitions cannot be gone on with, if so.
fn broken(moment: &Moment, mark: &Mark, table: &str) -> Option<String> {
    let of_table = |it: &&Partition| it.table.as_deref() == Some(table);
    moment.partitions.iter().filter(of_table).find_map(|it| {
        let (topic, number) = (&it.topic.name, it.number);
        let marked = mark.partition(topic, number)?;
        if marked.topic_id != it.topic.id {
            Some(format!("topic {topic} was deleted and made again"))
        } else if marked.offset > it.range.high {
            let (offset, high) = (marked.offset, it.range.high);
            Some(format!(
                "{topic}/{number} ends at {high}, before {offset} up to which it was audited"
            ))
        } else {
            None
        }
    })
}

/// What `mark` has settled of the partitions there are.
pub(super) fn settled(moment: &Moment, mark: &Mark) -> AllSettled {
    let mut all = AllSettled::new();
    for it in &moment.partitions {
        let marked = mark.partition(&it.topic.name, it.number);
        let mut settled = Settled {
            below: i64::MIN,
            ahead: OffsetSet::default(),
        };
        if let Some(marked) = marked.filter(|marked| marked.topic_id == it.topic.id) {
            settled.below = marked.offset;
            for (first, last) in &marked.ahead {
                settled.ahead.insert(*first, *last);
            }
        }
        let of_topic = all.entry(it.label.clone()).or_default();
        of_topic.insert(it.number, settled);
    }
    all
}
