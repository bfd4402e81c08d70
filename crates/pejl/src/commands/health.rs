//! Whether the roles of this process work, in words for `/readyz`: what is wrong, and what to do about it.

use std::time::Duration;

use lake::Lake;
use serve_http::{Obstacle, Readiness};
use tokio::{sync::watch, time::timeout};
use warehouse::Warehouse;

/// How often the store is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A store that does not answer within this is away.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const READING: &str = "reading";
pub(crate) const LANDING: &str = "landing";
pub(crate) const SERVING: &str = "serving";

const BROKERS: &str = "see to the brokers, or [log] in pejl.toml; it is tried again by itself";
const SHARE: &str = "wait: a share comes within the session timeout; if it lasts see to the brokers, or run fewer than 64 processes of this role";
const STORE: &str = "see to the store, or [lake] in pejl.toml; it is tried again by itself";

/// A worker works when it has a share of the sources and the log answers.
pub(crate) fn follow_worker(readiness: &Readiness, standing: watch::Receiver<ingest::Standing>) {
    let readiness = readiness.clone();
    tokio::spawn(follow(standing, move |it| {
        readiness.set(READING, membership(it.member, it.unreachable.as_deref()));
    }));
}

/// A lander works when it has a share of the partitions, log and store answer, and no topic's landing fails.
pub(crate) fn follow_lander(
    readiness: &Readiness,
    standing: watch::Receiver<landing::Standing>,
    lake: &Lake,
) {
    let readiness = readiness.clone();
    let asked = ask_again_and_again(lake.clone(), |lake| async move { away(&lake).await });
    tokio::spawn(follow_both(standing, asked, move |it, away| {
        let failing = || {
            let (topic, why) = it.failing.first_key_value()?;
            obstacle(
                format!("landing {topic} fails: {why}"),
                "see to what it says; it is tried again by itself within a minute",
            )
        };
        let obstacle = membership(it.member, it.unreachable.as_deref());
        readiness.set(LANDING, obstacle.or_else(|| away.clone()).or_else(failing));
    }));
}

/// Serving works when its port is open, which is before this is called, and there is a publication to answer from.
pub(crate) fn follow_publications(readiness: &Readiness, warehouse: &Warehouse) {
    let readiness = readiness.clone();
    let asked = ask_again_and_again(
        warehouse.clone(),
        |it| async move { unpublished(&it).await },
    );
    tokio::spawn(follow(asked, move |it| readiness.set(SERVING, it.clone())));
}

fn membership(member: bool, unreachable: Option<&str>) -> Option<Obstacle> {
    match unreachable {
        Some(why) => obstacle(format!("the log does not answer: {why}"), BROKERS),
        None if member => None,
        None => obstacle(
            "its group has given it no share of the work".to_owned(),
            SHARE,
        ),
    }
}

/// Whether the store is away. Any file will do to ask for, also one that is not there.
async fn away(lake: &Lake) -> Option<Obstacle> {
    let why = match timeout(PATIENCE, lake.get("_publications/none")).await {
        Ok(Ok(_)) => return None,
        Ok(Err(err)) => err.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    obstacle(format!("the store does not answer: {why}"), STORE)
}

async fn unpublished(warehouse: &Warehouse) -> Option<Obstacle> {
    let why = match timeout(PATIENCE, warehouse.publication()).await {
        Ok(Ok(Some(_))) => return None,
        Ok(Ok(None)) => {
            let step = "`pejl build`, once something has landed; `pejl up` does it by itself, and its log tells what stops a build";
            return obstacle("nothing is published yet".to_owned(), step);
        }
        Ok(Err(err)) => err.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    obstacle(
        format!("the current publication cannot be read: {why}"),
        STORE,
    )
}

fn obstacle(why: String, step: &str) -> Option<Obstacle> {
    let step = step.to_owned();
    Some(Obstacle { why, step })
}

/// What keeps coming of asking; it ends with whoever listens.
fn ask_again_and_again<T, A>(
    of: T,
    ask: impl Fn(T) -> A + Send + 'static,
) -> watch::Receiver<Option<Obstacle>>
where
    T: Clone + Send + Sync + 'static,
    A: Future<Output = Option<Obstacle>> + Send,
{
    let (tell, told) = watch::channel(obstacle("it has not begun yet".to_owned(), "wait"));
    tokio::spawn(async move {
        while !tell.is_closed() {
            tell.send_replace(ask(of.clone()).await);
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    told
}

async fn follow<T>(mut changing: watch::Receiver<T>, tell: impl Fn(&T)) {
    loop {
        tell(&changing.borrow_and_update());
        if changing.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_both<A, B>(
    mut one: watch::Receiver<A>,
    mut other: watch::Receiver<B>,
    tell: impl Fn(&A, &B),
) {
    loop {
        tell(&one.borrow_and_update(), &other.borrow_and_update());
        let ended = tokio::select! {
            changed = one.changed() => changed,
            changed = other.changed() => changed,
        };
        if ended.is_err() {
            return;
        }
    }
}
