//! The one thread that writes the file: commands waiting together share one SQLite commit, and so one flush to disk.

use std::sync::Arc;

use contract::Position;
use rusqlite::Connection;
use telemetry::metric;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::{block::Block, file::failed, store::Store};
use crate::{Error, Result, Topic};

/// Most commands in one SQLite commit; bounds how long the first of them waits.
const GROUP: usize = 256;

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A producer's right to write for a task; a later epoch ends it.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) task: Arc<str>,
    pub(super) epoch: u64,
}

/// A block and the partition it belongs to.
#[derive(Debug)]
pub(super) struct Placed {
    /// The topic's number in the file.
    pub(super) topic: i64,
    pub(super) partition: i32,
    pub(super) block: Block,
}

/// What the thread can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    CreateTopic {
        name: String,
        partitions: i32,
        reply: Reply<Topic>,
    },
    /// Makes a new holder of a task and forgets what earlier ones staged.
    Open { task: String, reply: Reply<Holder> },
    /// Stores blocks of an unfinished transaction, invisible.
    Stage {
        holder: Holder,
        blocks: Vec<Placed>,
        reply: Reply<()>,
    },
    /// Makes the staged blocks and `blocks` visible, with the position.
    Commit {
        holder: Holder,
        blocks: Vec<Placed>,
        position: Option<(String, Position)>,
        reply: Reply<()>,
    },
    /// Forgets what the holder staged.
    Abort { holder: Holder },
    Trim {
        topic: String,
        partition: i32,
        before: i64,
        reply: Reply<()>,
    },
    /// Puts a text on a board, or takes it off.
    Post {
        board: &'static str,
        key: String,
        text: Option<String>,
        reply: Reply<()>,
    },
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    /// Whether commits flush to disk, as last told to SQLite.
    flushing: bool,
    /// Transactions committed in the group at hand.
    commits: u64,
}

/// An answer held back until the group is on disk. `Some` is the reason the whole group failed.
type Answer = Box<dyn FnOnce(Option<&str>)>;

impl Writer {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            flushing: true,
            commits: 0,
        }
    }

    /// Works until every sender is gone.
    pub(super) fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(command) = commands.try_recv()
            {
                group.push(command);
            }
            self.serve(group);
        }
    }

    fn serve(&mut self, group: Vec<Command>) {
        let mut answers = Vec::with_capacity(group.len());
        let done = self.commit_group(group, &mut answers);
        if let Err(err) = &done {
            tracing::error!(error = %err, "a group commit failed");
            self.store.start_over();
        } else if self.flushing {
            self.store.publish();
            self.measure();
        }
        self.commits = 0;
        let reason = done.err().map(|err| err.to_string());
        for answer in answers {
            answer(reason.as_deref());
        }
    }

    fn commit_group(&mut self, group: Vec<Command>, answers: &mut Vec<Answer>) -> Result<()> {
        // Staged blocks need no flush of their own: the commit that shows them flushes the whole write-ahead log.
        let flushing = !group
            .iter()
            .all(|command| matches!(command, Command::Stage { .. } | Command::Abort { .. }));
        if flushing != self.flushing {
            let level = if flushing { "full" } else { "normal" };
            self.connection()
                .pragma_update(None, "synchronous", level)
                .map_err(failed)?;
            self.flushing = flushing;
        }
        self.connection()
            .execute_batch("begin immediate")
            .map_err(failed)?;
        for command in group {
            answers.push(self.execute(command));
            if self.connection().is_autocommit() {
                // A full disk makes SQLite roll back by itself; going on would commit the rest one by one.
                return Err(Error::Unavailable("the disk is full or failing".into()));
            }
        }
        self.connection().execute_batch("commit").map_err(failed)
    }

    fn measure(&self) {
        const BYTES: &str =
            "select page_count * page_size from pragma_page_count, pragma_page_size";
        metric::LOG_TRANSACTIONS.add([], self.commits);
        // A size that cannot be had is not worth an error.
        let bytes = self
            .connection()
            .query_row(BYTES, [], |it| it.get::<_, i64>(0));
        if let Ok(bytes) = bytes {
            metric::LOG_BYTES.set([], bytes as f64);
        }
    }

    fn connection(&self) -> &Connection {
        &self.store.file.connection
    }

    fn execute(&mut self, command: Command) -> Answer {
        match command {
            Command::CreateTopic {
                name,
                partitions,
                reply,
            } => answer(reply, self.store.create_topic(&name, partitions)),
            Command::Open { task, reply } => answer(reply, self.store.open(&task)),
            Command::Stage {
                holder,
                blocks,
                reply,
            } => answer(reply, self.store.stage(&holder, blocks)),
            Command::Commit {
                holder,
                blocks,
                position,
                reply,
            } => {
                let committed = self.store.commit(&holder, blocks, position);
                self.commits += u64::from(committed.is_ok());
                answer(reply, committed)
            }
            Command::Abort { holder } => {
                if let Err(err) = self.store.forget(holder.epoch) {
                    tracing::warn!(error = %err, task = %holder.task, "aborted records stay until the next start");
                }
                Box::new(|_| ())
            }
            Command::Trim {
                topic,
                partition,
                before,
                reply,
            } => answer(reply, self.store.trim(&topic, partition, before)),
            Command::Post {
                board,
                key,
                text,
                reply,
            } => answer(reply, self.store.post(board, key, text)),
        }
    }
}

fn answer<T: 'static>(reply: Reply<T>, result: Result<T>) -> Answer {
    Box::new(move |lost| {
        let result = match lost {
            Some(reason) => result.and(Err(Error::Unavailable(format!(
                "nothing was written: {reason}"
            )))),
            None => result,
        };
        // The asker may have gone away; what was done stays done.
        reply.send(result).ok();
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use tempfile::TempDir;

    use super::{
        super::{
            block::{Builder, compressor},
            file::LogFile,
        },
        *,
    };
    use crate::{Range, Record};

    fn placed(len: usize) -> Vec<Placed> {
        // Xorshift does not compress.
        let mut state = len as u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let value = noise.take(len).collect::<Vec<_>>();
        let mut builder = Builder::default();
        builder.push(
            &Record {
                value: Some(value.into()),
                ..Record::default()
            },
            1,
        );
        let block = builder.seal(&mut compressor().unwrap()).unwrap().unwrap();
        vec![Placed {
            topic: 1,
            partition: 0,
            block,
        }]
    }

    fn open(writer: &mut Writer, task: &str) -> Holder {
        let (reply, mut answer) = oneshot::channel();
        writer.serve(vec![Command::Open {
            task: task.into(),
            reply,
        }]);
        answer.try_recv().unwrap().unwrap()
    }

    fn commit(holder: &Holder, len: usize) -> (Command, oneshot::Receiver<Result<()>>) {
        let (reply, answer) = oneshot::channel();
        let position = Some((holder.task.to_string(), Position(len.into())));
        (
            Command::Commit {
                holder: holder.clone(),
                blocks: placed(len),
                position,
                reply,
            },
            answer,
        )
    }

    #[test]
    fn a_full_disk_spoils_the_whole_group_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let file = LogFile::open(folder.path()).unwrap();
        // Of 16 KiB each.
        file.connection
            .pragma_update(None, "max_page_count", 40)
            .unwrap();
        let mut writer = Writer::new(Store::new(file).unwrap());
        let (reply, _) = oneshot::channel();
        writer.serve(vec![Command::CreateTopic {
            name: "t".into(),
            partitions: 1,
            reply,
        }]);
        let (small, large) = (open(&mut writer, "small"), open(&mut writer, "large"));
        let (command, mut kept) = commit(&small, 10);
        writer.serve(vec![command]);
        assert!(kept.try_recv().unwrap().is_ok());

        let (before, mut first) = commit(&small, 11);
        let (too_much, mut second) = commit(&large, 4 << 20);
        let (after, mut third) = commit(&small, 12);
        writer.serve(vec![before, too_much, after]);
        for answer in [first.try_recv(), second.try_recv()] {
            assert!(
                matches!(answer, Ok(Err(Error::Unavailable(_)))),
                "{answer:?}"
            );
        }
        // No answer: the asker is told so.
        assert!(third.try_recv().is_err());
        let (command, mut ended) = commit(&small, 13);
        writer.serve(vec![command]);
        assert!(matches!(
            ended.try_recv().unwrap(),
            Err(Error::Unavailable(_))
        ));

        let small = open(&mut writer, "small");
        let (command, mut kept) = commit(&small, 14);
        writer.serve(vec![command]);
        assert!(kept.try_recv().unwrap().is_ok());
        drop(writer);

        let model = LogFile::open(folder.path()).unwrap().model().unwrap();
        assert_eq!(model.topics["t"].ranges, [Range { low: 0, high: 2 }]);
        assert_eq!(
            model.positions,
            [("small".into(), Position(14.into()))].into()
        );
    }
}
