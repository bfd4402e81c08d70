//! One transaction of a source: everything between two positions, visible together or not at all.

use std::{collections::BTreeMap, time::Instant};

use bus::{Producer, SharedLog};
use chrono::{NaiveDate, SecondsFormat, Utc};
use connector_api::{Batch, Delivery};
use contract::{Period, Position, PseudonymKey, QUARANTINE_TOPIC, Violation};
use spec::Pipeline;
use telemetry::{SPANS, Traceparent, metric};
use tracing::{Span, field::Empty};

use crate::{
    Error, ReadReport, Result,
    mapping::{Mapped, Mapping},
    record::{SetAside, Stamp, entity_records, raw_row, single},
};

/// The rule that a row breaks which cannot be read as one.
const UNREADABLE: &str = "unreadable";

pub(crate) struct Transaction<'a> {
    producer: Box<dyn Producer>,
    pipeline: &'a Pipeline,
    key: Option<&'a PseudonymKey>,
    stamp: Stamp,
    /// The read it is part of.
    round: Traceparent,
    counts: Counts,
    /// When its first batch came, and its span; `None` between transactions.
    begun: Option<(Instant, Span)>,
}

#[derive(Default)]
struct Counts {
    rows: u64,
    accepted: u64,
    quarantined: u64,
    filtered: u64,
    /// Rows set aside, by the first rule they broke.
    broken: BTreeMap<&'static str, u64>,
}

impl<'a> Transaction<'a> {
    /// Makes sure of the topics; nothing is begun yet.
    pub(crate) async fn new(
        log: &SharedLog,
        producer: Box<dyn Producer>,
        pipeline: &'a Pipeline,
        key: Option<&'a PseudonymKey>,
        partitions: i32,
        round: Traceparent,
    ) -> Result<Self> {
        let bookkeeping = [bookkeeper("delivery")?, bookkeeper("watermark")?];
        for entity in bookkeeping.into_iter().chain([pipeline.entity]) {
            log.ensure_topic(&entity.topic(), partitions).await?;
        }
        log.ensure_topic(QUARANTINE_TOPIC, partitions).await?;
        // A first rise is only seen as one where the series was there before.
        for rule in contract::RULES.iter().chain(&[UNREADABLE]) {
            metric::SOURCE_REJECTED.add([&pipeline.name, rule], 0);
        }
        Ok(Self {
            producer,
            pipeline,
            key,
            stamp: Stamp::new(&pipeline.name, round, Utc::now()),
            round,
            counts: Counts::default(),
            begun: None,
        })
    }

    /// The span of the transaction that is open, or is opened by this: what is done for it is done in that span, and its records name it.
    pub(crate) fn begin(&mut self) -> Span {
        if let Some((_, span)) = &self.begun {
            return span.clone();
        }
        let span = tracing::info_span!(
            target: SPANS,
            "transaction",
            source = self.pipeline.name,
            topic = self.pipeline.entity.topic(),
            rows = Empty,
            accepted = Empty,
            quarantined = Empty,
        );
        self.stamp.name(self.round.below(&span));
        self.begun = Some((Instant::now(), span.clone()));
        span
    }

    /// Adds a mapped batch: good rows to the entity's topic, the others to the quarantine's.
    pub(crate) async fn add(
        &mut self,
        mapped: Mapped,
        batch: &Batch,
        report: &mut ReadReport,
    ) -> Result<()> {
        let entity = self.pipeline.entity;
        self.stamp.at = Utc::now();
        let coerced = &mapped.coerced;
        let good = entity_records(
            entity,
            &coerced.batch,
            |row| {
                batch
                    .origins
                    .get(coerced.rows[row])
                    .map_or("", String::as_str)
            },
            &self.stamp,
        )?;
        let mut aside = Vec::new();
        let mut by_row: BTreeMap<usize, Vec<&Violation>> = BTreeMap::new();
        for violation in &coerced.violations {
            by_row.entry(violation.row).or_default().push(violation);
        }
        for (row, violations) in &by_row {
            let set_aside = SetAside {
                entity: &entity.name,
                municipality_code: self.pipeline.municipality_code,
                origin: batch.origins.get(*row).map_or("", String::as_str),
                raw: raw_row(&batch.rows, *row, &mapped.secret, self.key),
                violations,
            };
            aside.push(set_aside.into_record(&self.stamp));
        }
        for reject in &batch.rejects {
            let violation = Violation {
                row: 0,
                field: String::new(),
                rule: UNREADABLE,
                value: None,
                message: contract::scrub(&reject.reason).into_owned(),
            };
            let set_aside = SetAside {
                entity: &entity.name,
                municipality_code: self.pipeline.municipality_code,
                origin: &reject.origin,
                raw: contract::scrub(&reject.raw).into_owned(),
                violations: &[&violation],
            };
            aside.push(set_aside.into_record(&self.stamp));
        }
        let rows = (batch.rows.num_rows() + batch.rejects.len()) as u64;
        let (accepted, quarantined) = (good.len() as u64, aside.len() as u64);
        report.rows += rows;
        report.accepted += accepted;
        report.quarantined += quarantined;
        report.filtered += mapped.filtered;
        self.counts.rows += rows;
        self.counts.accepted += accepted;
        self.counts.quarantined += quarantined;
        self.counts.filtered += mapped.filtered;
        let first = by_row
            .values()
            .filter_map(|it| it.first())
            .map(|it| it.rule);
        for rule in first.chain(batch.rejects.iter().map(|_| UNREADABLE)) {
            *self.counts.broken.entry(rule).or_default() += 1;
        }
        metric::SOURCE_BATCH.record([&self.pipeline.name], rows as f64);
        if !good.is_empty() {
            self.producer.send(&entity.topic(), good).await?;
        }
        if !aside.is_empty() {
            self.producer.send(QUARANTINE_TOPIC, aside).await?;
        }
        Ok(())
    }

    /// Closes the transaction with the bookkeeping that `batch` calls for and the new position.
    pub(crate) async fn commit(
        &mut self,
        position: &Position,
        batch: &Batch,
        mapping: &Mapping,
    ) -> Result<()> {
        self.stamp.at = Utc::now();
        if let Some(delivery) = &batch.delivery {
            self.report_missing_columns(delivery, mapping).await?;
            self.send_delivery(delivery).await?;
        }
        if let Some(through) = batch.complete_through {
            self.send_watermark(through).await?;
        }
        self.producer
            .commit(Some((&self.pipeline.name, position)))
            .await?;
        self.measure();
        self.counts = Counts::default();
        self.begun = None;
        Ok(())
    }

    pub(crate) async fn abort(&mut self) -> Result<()> {
        self.counts = Counts::default();
        if let Some((_, span)) = self.begun.take() {
            telemetry::failed(&span, "given up");
        }
        Ok(self.producer.abort().await?)
    }

    fn measure(&self) {
        let source = self.pipeline.name.as_str();
        metric::SOURCE_READ.add([source], self.counts.rows);
        metric::SOURCE_SENT.add([source], self.counts.accepted);
        metric::SOURCE_FILTERED.add([source], self.counts.filtered);
        for (rule, rows) in &self.counts.broken {
            metric::SOURCE_REJECTED.add([source, rule], *rows);
        }
        if let Some((begun, span)) = &self.begun {
            metric::SOURCE_TRANSACTION.record([source], begun.elapsed().as_secs_f64());
            span.record("rows", self.counts.rows);
            span.record("accepted", self.counts.accepted);
            span.record("quarantined", self.counts.quarantined);
        }
    }

    /// A file without a column that the mapping names is read, but its sender is told.
    async fn report_missing_columns(
        &mut self,
        delivery: &Delivery,
        mapping: &Mapping,
    ) -> Result<()> {
        let mut records = Vec::new();
        let origin = format!("{}:1", delivery.file_name);
        for column in mapping.missing() {
            let violation = Violation {
                row: 0,
                field: column.clone(),
                rule: "missing_column",
                value: None,
                message: format!(
                    "the header has no column `{column}`; it was read as empty in every row"
                ),
            };
            let set_aside = SetAside {
                entity: &self.pipeline.entity.name,
                municipality_code: self.pipeline.municipality_code,
                origin: &origin,
                raw: String::new(),
                violations: &[&violation],
            };
            records.push(set_aside.into_record(&self.stamp));
        }
        if !records.is_empty() {
            self.producer.send(QUARANTINE_TOPIC, records).await?;
        }
        Ok(())
    }

    async fn send_delivery(&mut self, delivery: &Delivery) -> Result<()> {
        let entity = bookkeeper("delivery")?;
        // A file may be named after a citizen.
        let file_name = contract::scrub(&delivery.file_name).into_owned();
        let short = delivery.sha256.get(..16).unwrap_or(&delivery.sha256);
        let mut delivery_id = format!("{}/{short}", self.pipeline.name);
        if self.counts.rows == 0 {
            // Files without rows are alike, and each says that there was nothing.
            delivery_id = format!("{delivery_id}/{file_name}");
        }
        let values = [
            ("delivery_id", delivery_id),
            (
                "municipality_code",
                self.pipeline.municipality_code.unwrap_or(0).to_string(),
            ),
            ("sender", self.pipeline.sender.clone()),
            ("entity", self.pipeline.entity.name.clone()),
            ("period", period(delivery)),
            ("file_name", file_name),
            ("sha256", delivery.sha256.clone()),
            ("rows_read", self.counts.rows.to_string()),
            ("rows_accepted", self.counts.accepted.to_string()),
            ("rows_quarantined", self.counts.quarantined.to_string()),
            ("received_at", self.now()),
            ("updated_at", self.now()),
        ];
        let record = single(entity, &values, &delivery.file_name, &self.stamp)?;
        self.producer.send(&entity.topic(), vec![record]).await?;
        Ok(())
    }

    fn now(&self) -> String {
        self.stamp.at.to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Says how far the source is complete, but never past today: nobody has read all of a day that has not come.
    async fn send_watermark(&mut self, through: NaiveDate) -> Result<()> {
        let source = &self.pipeline.name;
        let Some(municipality) = self.pipeline.municipality_code else {
            tracing::warn!(
                source,
                %through,
                "nobody is told how far the source is complete: its file says no municipality_code (0 is the whole country)"
            );
            return Ok(());
        };
        let today = contract::civil_day(self.stamp.at);
        if through > today {
            tracing::warn!(source, %through, "the source says it is complete through a day to come; taken as today");
        }
        let entity = bookkeeper("watermark")?;
        let values = [
            ("municipality_code", municipality.to_string()),
            ("entity", self.pipeline.entity.name.clone()),
            ("complete_through", through.min(today).to_string()),
            ("updated_at", self.now()),
        ];
        let record = single(entity, &values, "", &self.stamp)?;
        self.producer.send(&entity.topic(), vec![record]).await?;
        Ok(())
    }
}

/// The period a file was delivered for. When it came says nothing about that.
fn period(delivery: &Delivery) -> String {
    let period = delivery
        .period
        .or_else(|| Period::named_in(&delivery.file_name));
    period.map_or_else(|| "unknown".to_owned(), |it| it.to_string())
}

fn bookkeeper(name: &str) -> Result<&'static contract::Entity> {
    contract::entity(name).ok_or_else(|| Error::Encode {
        source_name: name.to_owned(),
        reason: "the entity is not among the schemas".to_owned(),
    })
}
