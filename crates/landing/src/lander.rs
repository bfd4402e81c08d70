//! All topics: found, landed side by side, and tried again when one fails.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use bus::{Group, SharedLog, Topic};
use futures::{StreamExt, TryStreamExt, stream};
use lake::Lake;
use telemetry::metric;
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Landed, LandedTopic, LandingSettings, Observe, Result, What,
    backlog::Backlog,
    reader::{PREFIX, Reader, table_of},
    share::Share,
    standing::{self, Noted, Standing},
    topic::{Shared, TopicLander},
    upkeep::{Upkeep, keep_tidy},
};

/// How many topics are landed at a time by [`Lander::catch_up`].
const TOPICS_AT_ONCE: usize = 4;

/// The longest a failing topic waits before it is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Lands all topics of a log in a lake.
#[derive(Debug, Clone)]
pub struct Lander {
    log: SharedLog,
    lake: Lake,
    settings: Arc<LandingSettings>,
    upkeep: Option<Upkeep>,
    standing: Noted,
}

impl Lander {
    /// Nothing is read yet.
    pub fn new(log: SharedLog, lake: Lake, settings: LandingSettings) -> Self {
        Self {
            log,
            lake,
            settings: Arc::new(settings),
            upkeep: None,
            standing: Noted::default(),
        }
    }

    /// Has the tables of its share tidied while [`Lander::run`] runs.
    pub fn with_upkeep(self, upkeep: Upkeep) -> Self {
        let upkeep = Some(upkeep);
        Self { upkeep, ..self }
    }

    /// How this lander stands, as it changes while [`Lander::run`] runs.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Lands everything that is in the log now, and says how much of each topic.
    ///
    /// # Errors
    /// The first error of any topic; what was committed before it stays, and the next call goes on from there.
    pub async fn catch_up(&self, observe: Observe<'_>) -> Result<Vec<Landed>> {
        let (shared, told) = self.shared();
        let topics = self.log.topics(PREFIX).await?;
        // Ends are taken before anything is landed, so that a busy log does not keep this going forever.
        let landed = stream::iter(topics)
            .map({
                let shared = shared.clone();
                move |topic| {
                    let shared = shared.clone();
                    let work = tokio::spawn(async move { catch_up_topic(shared, topic).await });
                    let work = AbortOnDrop(work);
                    async move { joined(work).await }
                }
            })
            .buffer_unordered(TOPICS_AT_ONCE);
        drop(shared);
        let mut landed: Vec<Landed> = observed(told, observe, landed.try_collect()).await?;
        landed.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(landed)
    }

    /// Lands topics as they grow and new ones as they appear, until `stop`; what was read by then is
    /// committed. A topic that fails is tried again and does not keep the others back.
    ///
    /// Any number of landers share the partitions. `member` names this one; no two may have the same name.
    ///
    /// # Errors
    /// Only when the group cannot be joined or is lost for good, or the topics cannot be listed at the start.
    pub async fn run(
        &self,
        member: &str,
        stop: CancellationToken,
        observe: Observe<'_>,
    ) -> Result<()> {
        let membership = self.log.join(Group::Landers, member).await?;
        let share = Share::of(membership.as_ref());
        tokio::spawn(standing::follow(membership.slots(), self.standing.clone()));
        let (shared, told) = self.shared();
        let stop = stop.child_token();
        let mut landing = pin!(self.keep_all_landing(shared, &share, stop.clone()));
        let until_lost = async {
            tokio::select! {
                ended = &mut landing => ended,
                lost = membership.lost() => {
                    // What was read is committed: whoever has its partitions now finds it landed, or has landed it before.
                    stop.cancel();
                    landing.await?;
                    Err(lost.into())
                }
            }
        };
        observed(told, observe, until_lost).await
    }

    async fn keep_all_landing(
        &self,
        shared: Shared,
        share: &Share,
        stop: CancellationToken,
    ) -> Result<()> {
        let mut found = self.log.topics(PREFIX).await?;
        // By name, id and partitions: a topic deleted and made again, or grown, gets a lander of its
        // own, and the one before ends by itself.
        let mut known: BTreeSet<(String, String, i32)> = BTreeSet::new();
        let mut working = JoinSet::new();
        let backlog = shared.backlog.clone();
        working.spawn(backlog.keep_measured(SharedLog::clone(&shared.log), stop.clone()));
        if let Some(upkeep) = self.upkeep.clone() {
            let (lake, share) = (self.lake.clone(), share.clone());
            working.spawn(keep_tidy(lake, share, upkeep, stop.clone()));
        }
        loop {
            for topic in found {
                if known.insert((topic.name.clone(), topic.id.clone(), topic.partitions)) {
                    let (shared, share) = (shared.clone(), share.clone());
                    working.spawn(keep_landing(shared, topic, share, stop.clone()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.settings.discover_every) => {}
            }
            let listed = self.log.topics(PREFIX).await;
            standing::listed(&self.standing, listed.as_ref().err());
            found = listed.unwrap_or_else(|err| {
                tracing::warn!(error = %err, "topics not listed");
                Vec::new()
            });
        }
        while let Some(worked) = working.join_next().await {
            if let Err(err) = worked {
                tracing::error!(error = %err, "landing of a topic stopped halfway");
            }
        }
        Ok(())
    }

    fn shared(&self) -> (Shared, UnboundedReceiver<LandedTopic>) {
        let (tell, told) = unbounded_channel();
        let shared = Shared {
            log: Arc::clone(&self.log),
            lake: self.lake.clone(),
            settings: Arc::clone(&self.settings),
            held: Arc::default(),
            committing: Arc::default(),
            backlog: Backlog::default(),
            tell,
            standing: self.standing.clone(),
        };
        (shared, told)
    }
}

/// Passes on what is told until `work` is done, and what was told by then.
async fn observed<T>(
    mut told: UnboundedReceiver<LandedTopic>,
    observe: Observe<'_>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let done = loop {
        tokio::select! {
            Some(landed) = told.recv() => observe(landed),
            done = &mut work => break done,
        }
    };
    while let Ok(landed) = told.try_recv() {
        observe(landed);
    }
    done
}

async fn catch_up_topic(shared: Shared, topic: Topic) -> Result<Landed> {
    let name = topic.name.clone();
    let Some(reader) = Reader::of(&name)? else {
        unknown(&shared, &name);
        return Ok(Landed {
            topic: name,
            table: None,
            rows: 0,
            quarantined: 0,
        });
    };
    let all = 0..topic.partitions;
    let mut lander = TopicLander::open(shared, topic, reader, all).await?;
    let ranges = lander.ranges().await?;
    let counts = lander.land_up_to(&ranges).await?;
    lander.trim().await?;
    Ok(Landed {
        topic: name,
        table: Some(lander.table().to_owned()),
        rows: counts.rows,
        quarantined: counts.quarantined,
    })
}

async fn keep_landing(shared: Shared, topic: Topic, mut share: Share, stop: CancellationToken) {
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let mine = share.partitions(&topic);
        shared.backlog.keep(&topic.name, &mine);
        if mine.is_empty() {
            standing::works(&shared.standing, &topic.name);
            tokio::select! {
                () = stop.cancelled() => return,
                () = share.changed_from(&mine, &topic) => continue,
            }
        }
        let started = std::time::Instant::now();
        // What was read is committed before other partitions are taken up: whoever has a lost one by then
        // finds it landed, or we find it landed by them.
        let until = stop.child_token();
        let work = async {
            let Some(reader) = Reader::of(&topic.name)? else {
                unknown(&shared, &topic.name);
                until.cancelled().await;
                return Ok(());
            };
            let partitions = mine.iter().copied();
            let lander = TopicLander::open(shared.clone(), topic.clone(), reader, partitions);
            lander.await?.land_until(&until).await
        };
        let mut work = Box::pin(work);
        let ended = tokio::select! {
            ended = &mut work => ended,
            () = share.changed_from(&mine, &topic) => {
                until.cancel();
                work.await
            }
        };
        let error = match ended {
            Ok(()) if !stop.is_cancelled() => continue,
            // The topic as it is now gets a lander of its own.
            Ok(()) | Err(Error::Replaced { .. }) => {
                standing::works(&shared.standing, &topic.name);
                return;
            }
            Err(error) => error,
        };
        if started.elapsed() > LONGEST_RETRY {
            failures = 0;
        }
        failures += 1;
        metric::LANDING_FAILURES.add([&topic.name], 1);
        let retry_in = if error.is_retryable() {
            LONGEST_RETRY.min(Duration::from_millis(250) * (1 << failures.min(10)))
        } else {
            LONGEST_RETRY
        };
        let fix_by = error.fix_by();
        let why = format!("{error} (to be fixed by {fix_by})");
        standing::failed(&shared.standing, &topic.name, &why);
        tracing::warn!(topic = topic.name, %error, %fix_by, ?retry_in, "landing failed");
        shared.tell(LandedTopic {
            topic: topic.name.clone(),
            table: table_of(&topic.name),
            rows: 0,
            quarantined: 0,
            what: What::Failed {
                error: why,
                retry_in,
            },
        });
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(retry_in) => {}
        }
    }
}

fn unknown(shared: &Shared, topic: &str) {
    tracing::warn!(
        topic,
        "no entity has this topic; its records are not landed"
    );
    shared.tell(LandedTopic {
        topic: topic.to_owned(),
        table: None,
        rows: 0,
        quarantined: 0,
        what: What::UnknownEntity,
    });
}

/// A task that does not outlive whoever waits for it.
struct AbortOnDrop(JoinHandle<Result<Landed>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn joined(mut work: AbortOnDrop) -> Result<Landed> {
    (&mut work.0)
        .await
        .map_err(|err| Error::rows("landing", err))?
}
