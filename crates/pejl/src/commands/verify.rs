//! `pejl verify` and `POST /verify`: the audit of topics against tables.

use std::{collections::BTreeMap, time::Instant};

use bus::{Log, SharedLog};
use contract::FixBy;
use lake::Lake;
use landing::{Audit, Extent, PartitionAudit};
use serde::{Deserialize, Serialize};
use serve_http::{Question, Refusal};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Format,
    commands::owner::{Way, way},
    exit, output,
    progress::Progress,
    settings::Settings,
    wiring,
};

/// The body of `POST /verify`; nothing at all is a full audit.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    since_last: bool,
}

/// An audit as scripts get it.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    audit: Audit,
    verdict: String,
    since_last: bool,
    seconds: f64,
}

pub(crate) async fn run(
    settings: &Settings,
    since_last: bool,
    format: Format,
) -> anyhow::Result<u8> {
    let asked = Asked { since_last };
    let progress = Progress::new();
    let observe = |what: &str| progress.say("verify", what);
    let answer = match way(settings).await? {
        Way::Log(log) => {
            let lake = wiring::open_lake(settings)?;
            audit(log.as_ref(), &lake, asked, &observe).await
        }
        Way::Owner(owner) => {
            observe("by the process that holds the log");
            owner.post("verify", &asked).await
        }
    };
    progress.clear();
    let answer = answer?;
    let audit = &answer.audit;
    match format {
        Format::Json => output::line(&serde_json::to_string(&answer)?)?,
        Format::Csv => output::line(&output::rows(format, &HEADERS, &rows(audit))?)?,
        Format::Table => {
            output::line(&output::table(&HEADERS, &rows(audit)))?;
            tell(audit, since_last)?;
        }
    }
    Ok(if audit.is_clean() { 0 } else { exit::UNCLEAN })
}

/// Answers over HTTP. An audit ends with the process, or when whoever asked goes.
pub(crate) fn question(log: &SharedLog, lake: &Lake, stop: &CancellationToken) -> Question {
    let (log, lake, stop) = (SharedLog::clone(log), lake.clone(), stop.clone());
    let question = Question::new(move |body| {
        let (log, lake, stop) = (SharedLog::clone(&log), lake.clone(), stop.clone());
        async move {
            let asked: Option<Asked> = serde_json::from_value(body).map_err(|err| {
                let step = "send nothing, or {\"since_last\": true}";
                Refusal::failed(FixBy::Settings, &err.to_string(), step)
            })?;
            let asked = asked.unwrap_or_default();
            let stop = stop.child_token();
            let _goes = stop.clone().drop_guard();
            // It is mostly computing, which has no place among what others wait for.
            let work = tokio::task::spawn_blocking(move || {
                let audit = audit(log.as_ref(), &lake, asked, &|_| {});
                Handle::current().block_on(stop.run_until_cancelled(audit))
            });
            let audited = work.await;
            let audited = audited.map_err(|err| Refusal::by(FixBy::Us, &err.to_string()))?;
            let Some(audited) = audited else {
                let step = "ask again once it runs again";
                return Err(Refusal::failed(FixBy::Source, &"it is stopping", step));
            };
            let answer = audited.and_then(|it| Ok(serde_json::to_value(it)?));
            answer.map_err(|err| Refusal::by(FixBy::Source, &format!("{err:#}")))
        }
    });
    question.one_at_a_time()
}

async fn audit(
    log: &dyn Log,
    lake: &Lake,
    asked: Asked,
    observe: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<Answer> {
    let extent = if asked.since_last {
        Extent::SinceLast
    } else {
        Extent::Everything
    };
    let started = Instant::now();
    let audit = landing::verify(log, lake, extent, observe).await?;
    Ok(Answer {
        verdict: verdict(&audit).to_owned(),
        since_last: asked.since_last,
        seconds: started.elapsed().as_secs_f64(),
        audit,
    })
}

/// One word for scripts.
fn verdict(audit: &Audit) -> &'static str {
    match (audit.is_clean(), audit.waiting()) {
        (false, _) => "different",
        (true, 0) => "clean",
        (true, _) => "waiting",
    }
}

const HEADERS: [&str; 12] = [
    "topic",
    "partition",
    "from",
    "delivered",
    "landed",
    "quarantined",
    "waiting",
    "missing",
    "doubled",
    "foreign",
    "out of range",
    "lost",
];

fn rows(audit: &Audit) -> Vec<Vec<String>> {
    let row = |it: &PartitionAudit| {
        vec![
            it.topic.clone(),
            it.partition.to_string(),
            it.from.to_string(),
            it.delivered.to_string(),
            it.landed.to_string(),
            it.quarantined.to_string(),
            it.waiting.to_string(),
            it.missing.to_string(),
            it.doubled.to_string(),
            it.foreign.to_string(),
            it.out_of_range.to_string(),
            it.lost.to_string(),
        ]
    };
    audit.partitions.iter().map(row).collect()
}

fn tell(audit: &Audit, since_last: bool) -> anyhow::Result<()> {
    for it in &audit.strangers {
        let whose = if it.earlier {
            "of an earlier topic by that name, which is as it should be"
        } else {
            "of no topic partition in the log"
        };
        output::line(&format!(
            "\n{}: {} rows name {}/{} (offsets {} to {}): {whose}",
            it.table, it.rows, it.topic, it.partition, it.first, it.last
        ))?;
    }
    for it in &audit.deliveries {
        output::line(&format!(
            "\n{} ({}): {} rows accepted and {} landed, {} set aside and {} in quarantine",
            it.file_name, it.delivery_id, it.accepted, it.landed, it.quarantined, it.set_aside
        ))?;
    }
    let mut whole: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for it in &audit.tables {
        if let Some(reason) = &it.reason {
            whole.entry(reason).or_default().push(&it.table);
        }
    }
    for (reason, tables) in whole {
        let tables = if tables.len() == audit.tables.len() {
            "all tables".to_owned()
        } else {
            tables.join(", ")
        };
        output::line(&format!("\naudited as a whole: {tables}, because {reason}"))?;
    }
    let partitions = audit.partitions.len();
    let (files, tables) = (audit.files_read(), audit.tables.len());
    let read = format!("{files} files of {tables} tables read");
    let what = if since_last {
        "every record since the last audit"
    } else {
        "every record"
    };
    let text = match verdict(audit) {
        "clean" => format!(
            "\nclean: {what} of {partitions} topic partitions is in its table exactly once, and {} delivered files are in as their senders sent them ({read})",
            audit.deliveries_counted
        ),
        "waiting" => format!(
            "\nnothing wrong so far; {} records are still to be landed (`pejl land --once`) ({read})",
            audit.waiting()
        ),
        _ => {
            let unclean = audit.partitions.iter().filter(|it| !it.is_clean()).count();
            let strange = audit.strangers.iter().filter(|it| !it.earlier).count();
            format!(
                "\nNOT CLEAN: {unclean} of {partitions} topic partitions differ from their tables, {strange} groups of rows belong to none, {} deliveries differ ({read}); next: {}",
                audit.deliveries.len(),
                next_step(audit)
            )
        }
    };
    output::line(&text)?;
    Ok(())
}

/// What to do first about an audit that did not pass: losses before what is there too often.
fn next_step(audit: &Audit) -> String {
    let of = |is: fn(&PartitionAudit) -> bool| audit.partitions.iter().find(|it| is(it));
    if of(|it| it.lost > 0 || !it.missing.is_empty()).is_some() {
        return "let nothing be removed from the log (no [landing] keep_days), then docs/delivery.md, \"When it is not clean\"".to_owned();
    }
    let surplus = |it: &PartitionAudit| {
        let offsets = [&it.doubled, &it.foreign, &it.out_of_range];
        let first = offsets.into_iter().find(|it| !it.is_empty())?;
        Some((
            it.table.clone()?,
            it.topic.clone(),
            it.partition,
            first.first.clone(),
        ))
    };
    let strange = audit.strangers.iter().filter(|it| !it.earlier);
    let strange = strange.map(|it| {
        (
            it.table.clone(),
            it.topic.clone(),
            it.partition,
            vec![it.first],
        )
    });
    let surplus = audit.partitions.iter().find_map(surplus);
    if let Some((table, topic, partition, offsets)) = surplus.or_else(|| strange.clone().next()) {
        let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
        return format!(
            "see who wrote these rows: pejl query \"select * from {table} where _topic = '{topic}' and _partition = {partition} and _offset in ({})\"",
            offsets.join(", ")
        );
    }
    "compare the files with raw.quarantine and docs/delivery.md, \"When it is not clean\""
        .to_owned()
}
