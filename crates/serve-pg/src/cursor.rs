//! Cursors: a query that is read in steps, by `DECLARE`, `FETCH` and `CLOSE`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use pgwire::error::PgWireResult;
use warehouse::Answering;

use crate::plan::Batches;
use crate::shape::Shape;

/// An open cursor.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) shape: Shape,
    /// Whether it outlives its transaction.
    pub(crate) hold: bool,
    batches: Batches,
    left: Option<RecordBatch>,
}

impl Cursor {
    pub(crate) fn new(shape: Shape, batches: Batches, hold: bool) -> Cursor {
        Cursor {
            shape,
            hold,
            batches,
            left: None,
        }
    }

    /// What is noted of its query, if anything.
    pub(crate) fn answering(&self) -> Option<&Arc<Answering>> {
        self.batches.answering()
    }

    /// Up to `count` further rows, all of them for `None`; when it only `moves`, they are not sent.
    pub(crate) async fn fetch(
        &mut self,
        count: Option<usize>,
        moves: bool,
    ) -> PgWireResult<Vec<RecordBatch>> {
        let mut fetched = Vec::new();
        let mut wanted = count.unwrap_or(usize::MAX);
        while wanted > 0 {
            let batch = match self.left.take() {
                Some(batch) => batch,
                None => match self.batches.next().await? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            let taken = wanted.min(batch.num_rows());
            if taken < batch.num_rows() {
                self.left = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            wanted -= taken;
            if !moves {
                self.batches.sent(taken);
            }
            fetched.push(batch.slice(0, taken));
        }
        Ok(fetched)
    }
}
