//! The shape of an event: OpenLineage 2-0-2, <https://openlineage.io/spec/2-0-2/OpenLineage.json>, as far as it is used here.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use uuid::Uuid;

const PRODUCER: &str = concat!("urn:pejl:", env!("CARGO_PKG_VERSION"));

const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// It began.
    Start,
    /// It came to its end.
    Complete,
    /// It did not.
    Fail,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// What happened.
    pub event_type: EventType,
    #[serde(serialize_with = "moment")]
    event_time: DateTime<Utc>,
    pub(super) run: Run,
    pub(super) job: Job,
    pub(super) inputs: Vec<InputDataset>,
    pub(super) outputs: Vec<OutputDataset>,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
}

impl RunEvent {
    pub(super) fn new(
        event_type: EventType,
        event_time: DateTime<Utc>,
        run: Uuid,
        job: Job,
    ) -> Self {
        Self {
            event_type,
            event_time,
            run: Run {
                run_id: run,
                facets: RunFacets::default(),
            },
            job,
            inputs: Vec::new(),
            outputs: Vec::new(),
            producer: PRODUCER,
            schema_url: EVENT,
        }
    }

    /// The job's name: `build`, or the table it makes.
    pub fn job(&self) -> &str {
        &self.job.name.name
    }
}

fn moment<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) run_id: Uuid,
    pub(super) facets: RunFacets,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunId {
    pub(super) run_id: Uuid,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunFacets {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Facet<Parent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_message: Option<Facet<ErrorMessage>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Job {
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) facets: JobFacets,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobFacets {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job_type: Option<Facet<JobType>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sql: Option<Facet<Sql>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Dataset {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) facets: DatasetFacets,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DatasetFacets {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) documentation: Option<Facet<Documentation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Facet<Schema>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column_lineage: Option<Facet<ColumnLineage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Facet<Version>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InputDataset {
    #[serde(flatten)]
    pub(super) dataset: Dataset,
    pub(super) input_facets: InputFacets,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InputFacets {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_quality_assertions: Option<Facet<Assertions>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutputDataset {
    #[serde(flatten)]
    pub(super) dataset: Dataset,
    pub(super) output_facets: OutputFacets,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutputFacets {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_statistics: Option<Facet<Statistics>>,
}

/// A facet with what every facet says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Facet<T> {
    #[serde(rename = "_producer")]
    producer: &'static str,
    #[serde(rename = "_schemaURL")]
    schema_url: &'static str,
    #[serde(flatten)]
    of: T,
}

/// The address of a facet's schema.
macro_rules! facet {
    ($version:literal, $name:literal) => {
        concat!(
            "https://openlineage.io/spec/facets/",
            $version,
            "/",
            $name,
            ".json#/$defs/",
            $name
        )
    };
}

impl<T> Facet<T> {
    fn of(schema_url: &'static str, of: T) -> Self {
        Self {
            producer: PRODUCER,
            schema_url,
            of,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Parent {
    pub(super) run: RunId,
    pub(super) job: Name,
}

impl Facet<Parent> {
    pub(super) fn parent(parent: Parent) -> Self {
        Self::of(facet!("1-1-0", "ParentRunFacet"), parent)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorMessage {
    message: String,
    programming_language: &'static str,
}

impl Facet<ErrorMessage> {
    pub(super) fn error_message(message: String) -> Self {
        let of = ErrorMessage {
            message,
            programming_language: "SQL",
        };
        Self::of(facet!("1-0-1", "ErrorMessageRunFacet"), of)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobType {
    processing_type: &'static str,
    integration: &'static str,
    job_type: &'static str,
}

impl JobType {
    pub(super) const BUILD: Self = Self::called("JOB");
    pub(super) const MODEL: Self = Self::called("MODEL");

    const fn called(job_type: &'static str) -> Self {
        Self {
            processing_type: "BATCH",
            integration: "PEJL",
            job_type,
        }
    }
}

impl Facet<JobType> {
    pub(super) fn job_type(of: JobType) -> Self {
        Self::of(facet!("2-0-3", "JobTypeJobFacet"), of)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sql {
    query: String,
    dialect: &'static str,
}

impl Facet<Sql> {
    pub(super) fn sql(query: String) -> Self {
        let of = Sql {
            query,
            dialect: "datafusion",
        };
        Self::of(facet!("1-1-0", "SQLJobFacet"), of)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Documentation {
    description: String,
}

impl Facet<Documentation> {
    pub(super) fn documentation(text: &str) -> Self {
        let description = text.to_owned();
        Self::of(
            facet!("1-1-0", "DocumentationDatasetFacet"),
            Documentation { description },
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Schema {
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

impl Facet<Schema> {
    pub(super) fn schema(fields: Vec<Field>) -> Self {
        Self::of(facet!("1-1-1", "SchemaDatasetFacet"), Schema { fields })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ColumnLineage {
    pub(super) fields: BTreeMap<String, Fields>,
    /// What decides which rows there are.
    pub(super) dataset: Vec<InputField>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields {
    pub(super) input_fields: Vec<InputField>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InputField {
    #[serde(flatten)]
    pub(super) name: Name,
    pub(super) field: String,
    pub(super) transformations: Vec<Transformation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Transformation {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) subtype: &'static str,
}

impl Facet<ColumnLineage> {
    pub(super) fn column_lineage(of: ColumnLineage) -> Self {
        Self::of(facet!("1-2-0", "ColumnLineageDatasetFacet"), of)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    dataset_version: String,
}

impl Facet<Version> {
    pub(super) fn version(version: i64) -> Self {
        let dataset_version = version.to_string();
        Self::of(
            facet!("1-0-1", "DatasetVersionDatasetFacet"),
            Version { dataset_version },
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Assertions {
    assertions: Vec<Assertion>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Assertion {
    pub(super) assertion: String,
    pub(super) success: bool,
    pub(super) severity: &'static str,
}

impl Facet<Assertions> {
    pub(super) fn assertions(assertions: Vec<Assertion>) -> Self {
        Self::of(
            facet!("1-0-2", "DataQualityAssertionsDatasetFacet"),
            Assertions { assertions },
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statistics {
    row_count: u64,
}

impl Facet<Statistics> {
    pub(super) fn rows(row_count: u64) -> Self {
        Self::of(
            facet!("1-0-2", "OutputStatisticsOutputDatasetFacet"),
            Statistics { row_count },
        )
    }
}
