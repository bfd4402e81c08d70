//! `pejl connector check`: reads the first rows, maps and checks them, and writes nothing.

use arrow::array::RecordBatch;
use connector_api::{Batch, Entry};
use contract::{PseudonymKey, Violation};
use spec::Pipeline;

use crate::{
    Result, find_connector,
    mapping::{Mapping, rows_of},
};

/// What a source's first rows look like.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The source's own column names.
    pub source_columns: Vec<String>,
    /// Columns the mapping names and the source does not have.
    pub missing_columns: Vec<String>,
    /// Rows looked at.
    pub rows: usize,
    /// The first good rows as the entity; CPR numbers already pseudonyms.
    pub sample: Option<RecordBatch>,
    /// Where each violation is, and what it is.
    pub violations: Vec<(String, Violation)>,
    /// Rows that could not be read as rows: place and reason.
    pub unreadable: Vec<(String, String)>,
}

/// Opens the source at its start and looks at its first batch with rows: settings, network,
/// authentication, mapping and contract are all tried, nothing is written.
pub async fn preview(
    connectors: &'static [Entry],
    key: Option<&PseudonymKey>,
    pipeline: &Pipeline,
    sample: usize,
) -> Result<Preview> {
    let entry = find_connector(connectors, pipeline)?;
    let mut mapping = Mapping::new(pipeline, key)?;
    (entry.check)(&pipeline.settings)?;
    let mut source = (entry.open)(pipeline.settings.clone(), None).await?;
    let mut preview = Preview {
        source_columns: Vec::new(),
        missing_columns: Vec::new(),
        rows: 0,
        sample: None,
        violations: Vec::new(),
        unreadable: Vec::new(),
    };
    while let Some(batch) = source.next().await? {
        let unreadable = batch.rejects.iter().map(|it| {
            let reason = contract::scrub(&it.reason).into_owned();
            (it.origin.clone(), reason)
        });
        preview.unreadable.extend(unreadable);
        if batch.rows.num_rows() == 0 {
            continue;
        }
        look(&mut preview, &mut mapping, &batch, sample)?;
        break;
    }
    Ok(preview)
}

fn look(preview: &mut Preview, mapping: &mut Mapping, batch: &Batch, sample: usize) -> Result<()> {
    preview.rows = batch.rows.num_rows();
    preview.source_columns = batch
        .rows
        .schema()
        .fields()
        .iter()
        .map(|it| it.name().clone())
        .collect();
    let mapped = mapping.apply(batch)?;
    let first: Vec<usize> = (0..mapped.coerced.batch.num_rows().min(sample)).collect();
    preview.sample = Some(rows_of(&mapped.coerced.batch, &first)?);
    preview.violations = mapped
        .coerced
        .violations
        .into_iter()
        .map(|it| (batch.origins.get(it.row).cloned().unwrap_or_default(), it))
        .collect();
    preview.missing_columns = mapping.missing().iter().cloned().collect();
    Ok(())
}
