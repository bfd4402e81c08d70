//! Reads page after page, and tells what is new on them and where the read stands.

use connector_api::{Batch, BoxFuture, Error, Reject, Result, Source};
use fetch::{Address, Client, Reply, Request};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Config, Incremental, Paging,
    place::{Place, Pointer},
    state::{Progress, State, later},
};
use crate::{
    failure::failure,
    records::{Records, text},
    rows::batch,
};

/// A REST interface being read.
pub(super) struct Pages {
    client: Client,
    config: Config,
    /// Where the read stands.
    state: State,
    /// The state of the position given out last.
    stored: State,
    /// The next page, when pages are links.
    link: Option<Address>,
    last_digest: Option<String>,
    /// Rows were given out that no position covers yet.
    is_open: bool,
    /// The read has come to its end, and `next` is to say so.
    is_over: bool,
}

/// What a page says about the one after it.
enum Next {
    Page,
    Cursor(Value),
    Link(Address),
    Nothing,
}

/// The records of one page as rows.
struct Page {
    number: u64,
    records: Records,
    origins: Vec<String>,
    rejects: Vec<Reject>,
    digest: String,
}

impl Page {
    fn is_empty(&self) -> bool {
        self.origins.is_empty() && self.rejects.is_empty()
    }
}

impl Source for Pages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>> {
        Box::pin(async move {
            while !self.is_over {
                let batch = self.next_page().await?;
                if batch.is_some() {
                    return Ok(batch);
                }
            }
            self.is_over = false;
            Ok(None)
        })
    }
}

impl Pages {
    /// `stored` is the position it is resumed from, `state` where reading begins.
    pub(super) fn new(client: Client, config: Config, stored: State, state: State) -> Self {
        Self {
            client,
            config,
            state,
            stored,
            link: None,
            last_digest: None,
            is_open: false,
            is_over: false,
        }
    }

    /// Reads a page. `None` when it holds nothing that is not stored yet.
    async fn next_page(&mut self) -> Result<Option<Batch>> {
        let mut progress = self.state.reading.clone().unwrap_or_default();
        let reply = self
            .client
            .send(&self.request(&progress)?)
            .await
            .map_err(failure)?;
        let body = reply.json().map_err(failure)?;
        self.check_success(&body)?;
        let page = self.page(progress.done + 1, &reply, &body, &mut progress)?;
        let next = self.after(&page, &reply, &body, &progress)?;
        self.note_complete_through(&body, &mut progress)?;

        let is_news = self.note_digest(&page)?;
        let is_last = matches!(next, Next::Nothing);
        progress.done = page.number;
        match next {
            Next::Nothing => self.state.finish(progress, page.is_empty()),
            Next::Page => self.state.reading = Some(progress),
            Next::Cursor(cursor) => {
                self.state.reading = Some(Progress {
                    cursor: Some(cursor),
                    ..progress
                })
            }
            Next::Link(link) => {
                self.link = Some(link);
                self.state.reading = Some(progress);
            }
        }
        if is_last {
            self.is_over = true;
            self.link = None;
            self.last_digest = None;
        }
        self.batch(page, is_news, is_last)
    }

    fn batch(&mut self, page: Page, is_news: bool, is_last: bool) -> Result<Option<Batch>> {
        let is_stored = is_last && !self.is_open && self.state == self.stored;
        let has_rows = is_news && !page.is_empty();
        if !has_rows && (!is_last || is_stored) {
            return Ok(None);
        }
        let can_resume = is_last || !matches!(self.config.paging, Paging::NextLink { .. });
        let complete_through = match self.state.complete_through {
            date if is_last && date != self.stored.complete_through => date,
            _ => None,
        };
        let page = if has_rows {
            page
        } else {
            self.empty_page(page.number)
        };
        self.is_open = !can_resume;
        if can_resume {
            self.stored = self.state.clone();
        }
        Ok(Some(Batch {
            position: can_resume.then(|| self.state.position()).transpose()?,
            complete_through,
            ..batch(page.records.finish()?, page.origins, page.rejects)
        }))
    }

    fn empty_page(&self, number: u64) -> Page {
        Page {
            number,
            records: Records::default(),
            origins: Vec::new(),
            rejects: Vec::new(),
            digest: String::new(),
        }
    }

    fn request(&self, progress: &Progress) -> Result<Request> {
        let config = &self.config;
        let address = self.link.as_ref().unwrap_or(&config.url);
        let mut request = Request::new(config.method, address.clone());
        let mut body = config.body.clone();
        if self.link.is_none() {
            for (name, value) in &config.query {
                request = request.query(name, value);
            }
            let mut put = |place: &Place, value: &Value| {
                request = place.put(value, request.clone(), &mut body)?;
                Ok::<_, Error>(())
            };
            if let Some(incremental) = &config.incremental {
                let since = self.state.since.as_ref().or(incremental.start.as_ref());
                since.map_or(Ok(()), |since| {
                    put(&incremental.param, &since.as_str().into())
                })?;
            }
            match (&config.paging, &progress.cursor) {
                (
                    Paging::Page {
                        param,
                        start,
                        step,
                        size_param,
                        size,
                    },
                    _,
                ) => {
                    put(
                        param,
                        &start
                            .saturating_add(progress.done.saturating_mul(*step))
                            .into(),
                    )?;
                    size_param
                        .as_ref()
                        .map_or(Ok(()), |place| put(place, &(*size).into()))?;
                }
                (Paging::Cursor { param, .. }, Some(cursor)) => put(param, cursor)?,
                _ => {}
            }
        }
        for (name, value) in &config.headers {
            request = request.header(name, value);
        }
        Ok(match &body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn check_success(&self, body: &Value) -> Result<()> {
        let found = text_at(self.config.error_pointer.as_ref(), body);
        match found.filter(|it| !it.is_empty()) {
            None => Ok(()),
            Some(says) => {
                let says: String = contract::scrub(&says).chars().take(200).collect();
                Err(Error::Source(format!(
                    "{} answered with an error: {says}",
                    self.config.url
                )))
            }
        }
    }

    /// Makes rows of the records of a page and notes the latest value among them.
    fn page(
        &self,
        number: u64,
        reply: &Reply,
        body: &Value,
        progress: &mut Progress,
    ) -> Result<Page> {
        let found = match self.config.records.find(body) {
            Some(Value::Array(found)) => found.as_slice(),
            Some(Value::Null) => &[],
            _ => {
                let pointer = &self.config.records;
                return Err(failure(reply.unreadable(format!(
                    "there is no array of records at `{pointer}`"
                ))));
            }
        };
        let mut page = self.empty_page(number);
        page.digest = digest(found);
        for (i, record) in found.iter().enumerate() {
            let origin = format!("page {number} record {}", i + 1);
            let pushed = match record {
                Value::Object(record) => page.records.push(record),
                _ => Err("the record is not a JSON object".to_owned()),
            };
            if let Err(reason) = pushed {
                let raw = record.to_string();
                page.rejects.push(Reject {
                    origin,
                    raw,
                    reason,
                });
                continue;
            }
            page.origins.push(origin);
            if let Some(incremental) = &self.config.incremental {
                later(&mut progress.seen, page.records.last(&incremental.field));
            }
        }
        match &self.config.incremental {
            Some(Incremental { field, .. })
                if progress.seen.is_none() && page.records.len() > 0 =>
            {
                Err(Error::Settings(format!(
                    "no record on page {number} has the incremental field `{field}`"
                )))
            }
            _ => Ok(page),
        }
    }

    fn after(&self, page: &Page, reply: &Reply, body: &Value, progress: &Progress) -> Result<Next> {
        let stuck = |what: &str| {
            let number = page.number;
            Error::Source(format!(
                "{}: page {number} names itself as the next page ({what})",
                self.config.url
            ))
        };
        Ok(match &self.config.paging {
            Paging::None {} => Next::Nothing,
            Paging::Page { .. } if page.is_empty() => Next::Nothing,
            Paging::Page { .. } => Next::Page,
            Paging::Cursor { pointer, .. } => match pointer.find(body) {
                None | Some(Value::Null | Value::Bool(_)) => Next::Nothing,
                Some(Value::String(cursor)) if cursor.is_empty() => Next::Nothing,
                Some(cursor) if progress.cursor.as_ref() == Some(cursor) => {
                    return Err(stuck("same cursor"));
                }
                Some(cursor) => Next::Cursor(cursor.clone()),
            },
            Paging::NextLink { pointer } => {
                let link = match pointer {
                    Some(pointer) => pointer.find(body).and_then(Value::as_str),
                    None => reply.next_link(),
                };
                let from = self.link.as_ref().unwrap_or(&self.config.url);
                match link.filter(|it| !it.is_empty()) {
                    None => Next::Nothing,
                    Some(link) => match from.join(link).map_err(failure)? {
                        link if link == *from => return Err(stuck("same link")),
                        link => Next::Link(link),
                    },
                }
            }
        })
    }

    fn note_complete_through(&self, body: &Value, progress: &mut Progress) -> Result<()> {
        let found = text_at(self.config.complete_through.as_ref(), body);
        let Some(found) = found else { return Ok(()) };
        let date = found.get(..10).and_then(|it| it.parse().ok());
        let date = date.ok_or_else(|| {
            let found = contract::scrub(&found);
            Error::Delivery(format!(
                "{}: `complete_through` is no date: {found}",
                self.config.url
            ))
        })?;
        progress.complete_through = Some(progress.complete_through.map_or(date, |it| it.min(date)));
        Ok(())
    }

    /// Whether the page is other than it was last time. Incremental reads take every page as news.
    fn note_digest(&mut self, page: &Page) -> Result<bool> {
        if page.is_empty() {
            return Ok(false);
        }
        if self.last_digest.as_ref() == Some(&page.digest) {
            let number = page.number;
            return Err(Error::Settings(format!(
                "{}: page {number} is the same as the one before it; the source takes no notice of the paging parameter",
                self.config.url
            )));
        }
        self.last_digest = Some(page.digest.clone());
        if self.config.incremental.is_some() {
            return Ok(true);
        }
        Ok(self.state.note_page(page.number, &page.digest))
    }
}

fn text_at(pointer: Option<&Pointer>, body: &Value) -> Option<String> {
    pointer?.find(body).and_then(text)
}

fn digest(records: &[Value]) -> String {
    let mut sha256 = Sha256::new();
    for record in records {
        sha256.update(record.to_string());
        sha256.update([0]);
    }
    hex::encode(&sha256.finalize()[..8])
}
