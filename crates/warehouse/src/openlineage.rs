//! OpenLineage events: what a build read, made and checked, told in the words that catalogues understand.
//!
//! A build is one run; every model computed in it is a run of its own with the build as its parent. What the checks found belongs to the
//! build, which reads the candidates before it publishes them. Builds that compute nothing are not told.

mod event;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    BuildEvent, BuildReport, Failure, Publication,
    lineage::{Kind, Lineage, Source},
    models::{Catalog, Origin, type_name},
};

use event::{
    Assertion, ColumnLineage, Dataset, DatasetFacets, ErrorMessage, Facet, Field, Fields,
    InputDataset, InputFacets, InputField, Job, JobFacets, JobType, Name, OutputDataset,
    OutputFacets, Parent, RunId, Transformation,
};
pub use event::{EventType, RunEvent};

/// The job that a whole build is.
const BUILD: &str = "build";

/// Tells of one build.
#[derive(Debug)]
pub struct Teller {
    namespace: String,
    catalog: Arc<Catalog>,
    lineage: Arc<Lineage>,
    run: Uuid,
    is_started: bool,
    models: BTreeMap<String, Model>,
}

/// One model of the build.
#[derive(Debug)]
struct Model {
    run: Uuid,
    ended: Option<DateTime<Utc>>,
}

impl Teller {
    pub(crate) fn new(namespace: &str, catalog: Arc<Catalog>, lineage: Arc<Lineage>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            catalog,
            lineage,
            run: Uuid::now_v7(),
            is_started: false,
            models: BTreeMap::new(),
        }
    }

    /// Takes in what happens. The events are those that can be told by now: that something has begun.
    pub fn observe(&mut self, event: &BuildEvent, at: DateTime<Utc>) -> Vec<RunEvent> {
        match event {
            BuildEvent::Building { model } if !self.models.contains_key(model) => {
                let mut events = self.start(at);
                let run = Uuid::now_v7();
                let begun = Model { run, ended: None };
                self.models.insert(model.clone(), begun);
                events.push(self.model_event(EventType::Start, model, run, at));
                events
            }
            BuildEvent::Built { model, .. } | BuildEvent::Failed { model } => {
                if let Some(begun) = self.models.get_mut(model) {
                    begun.ended = Some(at);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// What came of the build and its models. `publication` is what it published.
    pub fn end(
        &mut self,
        report: &BuildReport,
        publication: Option<&Publication>,
        at: DateTime<Utc>,
    ) -> Vec<RunEvent> {
        if self.models.is_empty() {
            return Vec::new();
        }
        let failed: BTreeMap<&str, &str> = report
            .failures()
            .iter()
            .filter_map(|it| match it {
                Failure::Model { model, reason } => Some((model.as_str(), reason.as_str())),
                _ => None,
            })
            .collect();
        let mut events = Vec::new();
        for (model, begun) in &self.models {
            let ended = begun.ended.unwrap_or(at);
            let made = report.built.iter().find(|it| &it.model == model);
            let kind = match made {
                Some(_) => EventType::Complete,
                None => EventType::Fail,
            };
            let mut event = self.model_event(kind, model, begun.run, ended);
            if let Some(made) = made {
                let output = event
                    .outputs
                    .iter_mut()
                    .find(|it| &it.dataset.name == model);
                if let Some(output) = output {
                    output.dataset.facets.version = Some(Facet::version(made.version));
                    output.output_facets.output_statistics = Some(Facet::rows(made.rows));
                }
            } else {
                let reason = failed.get(model.as_str()).copied();
                event.run.facets.error_message = Some(error(reason.unwrap_or("not computed")));
            }
            if let Some(publication) = publication {
                for input in &mut event.inputs {
                    let version = version(publication, &input.dataset.name);
                    input.dataset.facets.version = version.map(Facet::version);
                }
            }
            events.push(event);
        }
        events.push(self.build_end(report, at));
        events
    }

    /// That the build did not come to its end.
    pub fn broken(&mut self, reason: &str, at: DateTime<Utc>) -> Vec<RunEvent> {
        let mut events = self.start(at);
        for (model, begun) in &self.models {
            let mut event = self.model_event(EventType::Fail, model, begun.run, at);
            event.run.facets.error_message = Some(error(reason));
            events.push(event);
        }
        let mut event = self.build_event(EventType::Fail, at);
        event.run.facets.error_message = Some(error(reason));
        events.push(event);
        events
    }

    fn start(&mut self, at: DateTime<Utc>) -> Vec<RunEvent> {
        if std::mem::replace(&mut self.is_started, true) {
            return Vec::new();
        }
        vec![self.build_event(EventType::Start, at)]
    }

    fn build_end(&self, report: &BuildReport, at: DateTime<Utc>) -> RunEvent {
        let kind = if report.is_publishable() {
            EventType::Complete
        } else {
            EventType::Fail
        };
        let mut event = self.build_event(kind, at);
        if !report.is_publishable() {
            let reasons: Vec<String> = report.failures().iter().map(ToString::to_string).collect();
            event.run.facets.error_message = Some(error(&reasons.join("; ")));
        }
        let mut assertions: BTreeMap<&str, Vec<Assertion>> = BTreeMap::new();
        for it in &report.checks {
            let checks = assertions.entry(&it.result.model).or_default();
            checks.push(Assertion {
                assertion: it.result.check.clone(),
                success: it.result.passed(),
                severity: if it.result.is_error { "error" } else { "warn" },
            });
        }
        event.inputs = assertions
            .into_iter()
            .map(|(table, assertions)| InputDataset {
                dataset: self.dataset(table),
                input_facets: InputFacets {
                    data_quality_assertions: Some(Facet::assertions(assertions)),
                },
            })
            .collect();
        if report.published.is_some() {
            let outputs = report.built.iter().map(|it| OutputDataset {
                dataset: Dataset {
                    facets: DatasetFacets {
                        version: Some(Facet::version(it.version)),
                        ..DatasetFacets::default()
                    },
                    ..self.dataset(&it.model)
                },
                output_facets: OutputFacets {
                    output_statistics: Some(Facet::rows(it.rows)),
                },
            });
            event.outputs = outputs.collect();
        }
        event
    }

    fn build_event(&self, kind: EventType, at: DateTime<Utc>) -> RunEvent {
        let job = Job {
            name: self.name(BUILD),
            facets: JobFacets {
                job_type: Some(Facet::job_type(JobType::BUILD)),
                ..JobFacets::default()
            },
        };
        RunEvent::new(kind, at, self.run, job)
    }

    fn model_event(&self, kind: EventType, table: &str, run: Uuid, at: DateTime<Utc>) -> RunEvent {
        let node = self.catalog.node(table);
        let query = node.and_then(|it| match &it.origin {
            Origin::Written(model) => Some(model.sql.clone()),
            Origin::Current(_) => None,
        });
        let job = Job {
            name: self.name(table),
            facets: JobFacets {
                job_type: Some(Facet::job_type(JobType::MODEL)),
                sql: query.map(Facet::sql),
            },
        };
        let mut event = RunEvent::new(kind, at, run, job);
        event.run.facets.parent = Some(Facet::parent(Parent {
            run: RunId { run_id: self.run },
            job: self.name(BUILD),
        }));
        let reads = node.into_iter().flat_map(|it| &it.reads);
        event.inputs = reads
            .map(|it| InputDataset {
                dataset: self.dataset(it),
                input_facets: InputFacets::default(),
            })
            .collect();
        event.outputs = vec![OutputDataset {
            dataset: Dataset {
                facets: self.described(table),
                ..self.dataset(table)
            },
            output_facets: OutputFacets::default(),
        }];
        event
    }

    fn name(&self, name: &str) -> Name {
        Name {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }

    fn dataset(&self, table: &str) -> Dataset {
        Dataset {
            namespace: self.namespace.clone(),
            name: table.to_owned(),
            facets: DatasetFacets::default(),
        }
    }

    /// Schema, documentation and column lineage of a table.
    fn described(&self, table: &str) -> DatasetFacets {
        let node = self.catalog.node(table);
        let docs: BTreeMap<&str, &str> =
            node.map(|it| it.columns()).into_iter().flatten().collect();
        let schema = self.lineage.schemas().get(table);
        let fields = schema.into_iter().flat_map(|it| it.fields());
        let fields = fields.map(|it| Field {
            name: it.name().clone(),
            kind: type_name(it.data_type()),
            description: docs.get(it.name().as_str()).map(|it| (*it).to_owned()),
        });
        DatasetFacets {
            documentation: node.map(|it| Facet::documentation(it.doc())),
            schema: Some(Facet::schema(fields.collect())),
            column_lineage: self.lineage.table(table).map(|it| {
                let fields = it.columns.iter().map(|(name, sources)| {
                    let input_fields = self.input_fields(sources.iter());
                    (name.clone(), Fields { input_fields })
                });
                Facet::column_lineage(ColumnLineage {
                    fields: fields.collect(),
                    dataset: self.input_fields(it.rows.iter()),
                })
            }),
            version: None,
        }
    }

    /// Sources that are columns; those of one column together.
    fn input_fields<'a>(&self, sources: impl Iterator<Item = &'a Source>) -> Vec<InputField> {
        let mut by_column: BTreeMap<(&str, &str), Vec<Transformation>> = BTreeMap::new();
        for source in sources {
            let (Some(column), Some(how)) = (&source.column, transformation(source.kind)) else {
                continue;
            };
            by_column
                .entry((&source.table, column))
                .or_default()
                .push(how);
        }
        by_column
            .into_iter()
            .map(|((table, column), transformations)| InputField {
                name: self.name(table),
                field: column.to_owned(),
                transformations,
            })
            .collect()
    }
}

fn version(publication: &Publication, table: &str) -> Option<i64> {
    let version = publication.tables.get(table);
    version.or_else(|| publication.inputs.get(table)).copied()
}

fn error(reason: &str) -> Facet<ErrorMessage> {
    Facet::error_message(contract::scrub(reason).into_owned())
}

/// The kind in the words of the specification; what only counts rows has none.
fn transformation(kind: Kind) -> Option<Transformation> {
    let (kind, subtype) = match kind {
        Kind::Copy => ("DIRECT", "IDENTITY"),
        Kind::Computed => ("DIRECT", "TRANSFORMATION"),
        Kind::Aggregated => ("DIRECT", "AGGREGATION"),
        Kind::Condition => ("INDIRECT", "CONDITIONAL"),
        Kind::Window => ("INDIRECT", "WINDOW"),
        Kind::Filter => ("INDIRECT", "FILTER"),
        Kind::Join => ("INDIRECT", "JOIN"),
        Kind::Group => ("INDIRECT", "GROUP_BY"),
        Kind::Sort => ("INDIRECT", "SORT"),
        Kind::Rows => return None,
    };
    Some(Transformation { kind, subtype })
}

#[cfg(test)]
mod tests;
