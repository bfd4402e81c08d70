//! The models: written ones from files, current state from the contract, in the order of who reads whom.

mod current;
mod graph;
mod set_aside;
mod storable;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use contract::Entity;
use datafusion::{
    catalog::TableProvider,
    prelude::{DataFrame, SessionContext},
};
use sha2::{Digest, Sha256};
use spec::{
    Definition, DefinitionRef, Mistake, Model, Question, parse_definitions, parse_model,
    parse_question,
};

use crate::{Error, Result, build::MUNICIPALITY, functions, reference, release::REVISION, session};

pub(crate) use current::{News, in_memory, schema as current_schema};
pub(crate) use set_aside::FAILED;
pub use storable::{storable, type_name};

/// The schemas a model can live in.
pub const SCHEMAS: [&str; 2] = ["core", "mart"];

/// Every table the warehouse builds, and the definitions they name.
#[derive(Debug)]
pub struct Catalog {
    nodes: BTreeMap<String, Node>,
    order: Vec<String>,
    definitions: Vec<Definition>,
    questions: Vec<Asked>,
}

/// A check that is a query of its own.
#[derive(Debug)]
pub struct Asked {
    /// As it is written.
    pub question: Question,
    /// The tables it reads.
    pub reads: BTreeSet<String>,
}

/// One table to build.
#[derive(Debug)]
pub struct Node {
    /// Where its rows come from.
    pub origin: Origin,
    /// The tables it reads: `raw.…`, `core.…`, `mart.…`, `ref.…`.
    pub reads: BTreeSet<String>,
    /// The numbers in the definitions it follows.
    parameters: String,
}

/// Where a table's rows come from.
#[derive(Debug)]
pub enum Origin {
    /// A model file.
    Written(Box<Model>),
    /// The latest version of each thing of an entity, deleted ones left out.
    Current(&'static Entity),
}

impl Asked {
    /// Changes with the query.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.question.sql))
    }
}

impl Catalog {
    /// Reads `<models>/<schema>/<name>.sql`, the checks of each in `<models>/<schema>/<name>/*.sql`, and `<definitions>/*.yaml`.
    ///
    /// # Errors
    /// [`Error::Models`] with every mistake found, each naming file and line.
    pub fn read(models: &Path, definitions: &Path) -> Result<Self> {
        let mut mistakes = Vec::new();
        let mut known = Vec::new();
        for file in files(definitions, "yaml", true)? {
            match parse_definitions(&shown(&file), &read(&file)?) {
                Ok(found) => known.extend(found),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let mut written = Vec::new();
        let mut questions = Vec::new();
        for folder in folders(models)? {
            let schema = name_of(&folder);
            for model in folders(&folder)? {
                let table = format!("{schema}.{}", name_of(&model));
                for file in files(&model, "sql", false)? {
                    match parse_question(&table, &name_of(&file), &shown(&file), &read(&file)?) {
                        Ok(question) => questions.push(question),
                        Err(mistake) => mistakes.push(mistake),
                    }
                }
            }
            for file in files(&folder, "sql", false)? {
                match parse_model(&schema, &name_of(&file), &shown(&file), &read(&file)?) {
                    Ok(model) => written.push(model),
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
        Self::new(written, questions, known, mistakes)
    }

    /// Puts models in order. `mistakes` are those already found in their files.
    pub fn new(
        written: Vec<Model>,
        questions: Vec<Question>,
        definitions: Vec<Definition>,
        mut mistakes: Vec<Mistake>,
    ) -> Result<Self> {
        let mut nodes: BTreeMap<String, Node> = contract::entities()
            .iter()
            .map(|entity| (entity.core_table(), Node::current(entity)))
            .collect();
        for model in written {
            match Node::written(model, &definitions) {
                Ok(node) => {
                    let table = node.table();
                    if let Some(taken) = nodes.insert(table.clone(), node)
                        && let Some(Node {
                            origin: Origin::Written(model),
                            ..
                        }) = nodes.get(&table)
                    {
                        mistakes.push(
                            model.mistake(None, format!("`{table}` is there already: {taken}")),
                        );
                    }
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let order = graph::order(&nodes, &mut mistakes);
        let mut asked = Vec::new();
        for question in questions {
            match graph::asked(question, &nodes) {
                Ok(question) => asked.push(question),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() {
            Ok(Self {
                nodes,
                order,
                definitions,
                questions: asked,
            })
        } else {
            Err(Error::Models(mistakes))
        }
    }

    /// The tables, each after those it reads.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// The table of this name, `core.offer`.
    pub fn node(&self, table: &str) -> Option<&Node> {
        self.nodes.get(table)
    }

    /// All tables by name.
    pub fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// The checks that are queries of their own.
    pub fn questions(&self) -> &[Asked] {
        &self.questions
    }

    /// The definitions models can name, as rows of `ref.definition`.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The definition a model names.
    pub fn definition(&self, wanted: &DefinitionRef) -> Option<&Definition> {
        let is_wanted = |it: &&Definition| it.reference() == *wanted;
        self.definitions.iter().find(is_wanted)
    }

    /// The tables whose models name a definition.
    pub fn named_by(&self, definition: &Definition) -> impl Iterator<Item = &String> {
        let wanted = definition.reference();
        let names = move |node: &Node| node.definitions().contains(&wanted);
        self.nodes
            .iter()
            .filter(move |it| names(it.1))
            .map(|it| it.0)
    }
}

impl Node {
    fn current(entity: &'static Entity) -> Self {
        Self {
            origin: Origin::Current(entity),
            reads: BTreeSet::from([entity.raw_table()]),
            parameters: String::new(),
        }
    }

    fn written(model: Model, definitions: &[Definition]) -> Result<Self, Mistake> {
        if !SCHEMAS.contains(&model.schema.as_str()) {
            let message = format!("a model lives in core or mart, not in `{}`", model.schema);
            return Err(model.mistake(None, message));
        }
        if model.table() == REVISION {
            let message = format!("{REVISION} is Pejl's own; give the file another name");
            return Err(model.mistake(None, message));
        }
        let mut parameters = String::new();
        for wanted in &model.definitions {
            let Some(found) = definitions.iter().find(|it| it.reference() == *wanted) else {
                let message = format!(
                    "no definition {}@{} in the definitions folder",
                    wanted.id, wanted.version
                );
                return Err(model.mistake(Some(1), message));
            };
            parameters.push_str(&format!("{wanted} {}\n", found.parameters));
        }
        let reads = graph::reads(&model)?;
        Ok(Self {
            origin: Origin::Written(Box::new(model)),
            reads,
            parameters,
        })
    }

    /// Its table, `core.offer`.
    pub fn table(&self) -> String {
        match &self.origin {
            Origin::Written(model) => model.table(),
            Origin::Current(entity) => entity.core_table(),
        }
    }

    /// What its table holds.
    pub fn doc(&self) -> &str {
        match &self.origin {
            Origin::Written(model) => &model.doc,
            Origin::Current(entity) => &entity.doc,
        }
    }

    /// The columns that tell its rows apart.
    pub fn grain(&self) -> &[String] {
        match &self.origin {
            Origin::Written(model) => &model.grain,
            Origin::Current(entity) => &entity.key,
        }
    }

    /// The columns its table is split by.
    pub fn partition_by(&self) -> &[String] {
        static BY_MUNICIPALITY: LazyLock<[String; 1]> = LazyLock::new(|| [MUNICIPALITY.to_owned()]);
        match &self.origin {
            Origin::Written(model) => &model.partition_by,
            Origin::Current(_) => BY_MUNICIPALITY.as_slice(),
        }
    }

    /// Whether some of its rows are kept out of its table.
    pub(crate) fn sets_aside(&self) -> bool {
        match &self.origin {
            Origin::Written(model) => set_aside::checks(model).next().is_some(),
            Origin::Current(_) => false,
        }
    }

    /// The definitions its numbers follow.
    pub fn definitions(&self) -> &[DefinitionRef] {
        match &self.origin {
            Origin::Written(model) => &model.definitions,
            Origin::Current(_) => &[],
        }
    }

    /// Its columns, each with what it holds.
    pub fn columns(&self) -> Vec<(&str, &str)> {
        match &self.origin {
            Origin::Written(model) => {
                let columns = model.columns.iter();
                columns
                    .map(|it| (it.name.as_str(), it.doc.as_str()))
                    .collect()
            }
            Origin::Current(entity) => current::columns(entity),
        }
    }

    /// Changes whenever the same inputs could give other rows: with the model's text, the numbers of its definitions, the entity,
    /// the functions.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(functions::VERSION);
        hash.update([0]);
        match &self.origin {
            Origin::Written(model) => {
                hash.update(&model.sql);
                hash.update([0]);
                hash.update(&self.parameters);
            }
            Origin::Current(entity) => {
                hash.update(current::VERSION);
                hash.update(entity.avro());
            }
        }
        hex::encode(hash.finalize())
    }

    /// Its rows, in types that tables store, without those set aside. The session knows every table in [`Node::reads`].
    ///
    /// # Errors
    /// [`Error::Models`] where the query cannot be planned, naming the file.
    pub async fn rows(&self, ctx: &SessionContext) -> Result<DataFrame> {
        let rows = self.all_rows(ctx).await?;
        match &self.origin {
            Origin::Written(model) => set_aside::left(rows, model),
            Origin::Current(_) => Ok(rows),
        }
    }

    /// Its rows with a column behind the others, [`FAILED`], that names the check for which a row is to be set aside; `None` where it
    /// sets none aside.
    pub(crate) async fn marked_rows(&self, ctx: &SessionContext) -> Result<Option<DataFrame>> {
        match &self.origin {
            Origin::Written(model) if self.sets_aside() => {
                let rows = self.all_rows(ctx).await?;
                set_aside::marked(rows, model).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The same rows as [`Node::rows`] gives, planned for being computed at once: the plan may stand on what has landed.
    pub(crate) async fn rows_at_once(&self, ctx: &SessionContext) -> Result<DataFrame> {
        match &self.origin {
            Origin::Current(entity) => current::rows_at_once(ctx, entity)
                .await
                .and_then(storable)
                .map_err(|err| Error::query(format!("computing {}", entity.core_table()), err)),
            Origin::Written(_) => self.rows(ctx).await,
        }
    }

    async fn all_rows(&self, ctx: &SessionContext) -> Result<DataFrame> {
        match &self.origin {
            Origin::Current(entity) => current::rows(ctx, entity)
                .await
                .and_then(storable)
                .map_err(|err| Error::query(format!("planning {}", entity.core_table()), err)),
            Origin::Written(model) => {
                let planned = match ctx.sql(&model.sql).await {
                    Ok(rows) => storable(rows),
                    Err(err) => Err(err),
                };
                let rows =
                    planned.map_err(|err| Error::Models(vec![graph::mistake_of(model, &err)]))?;
                let given: Vec<&String> =
                    rows.schema().fields().iter().map(|it| it.name()).collect();
                if given
                    .iter()
                    .ne(&model.columns.iter().map(|it| &it.name).collect::<Vec<_>>())
                {
                    let message =
                        format!("the query gives {given:?}, which are not the commented columns");
                    return Err(Error::Models(vec![model.mistake(None, message)]));
                }
                Ok(rows)
            }
        }
    }
}

impl Node {
    /// What `landed`, rows that have come since, make of the current state `built`; `None` where this is not current state, or
    /// where it makes no difference. `is_sent`: other processes have to understand the queries.
    pub(crate) async fn news(
        &self,
        ctx: &SessionContext,
        built: Arc<dyn TableProvider>,
        landed: Arc<dyn TableProvider>,
        is_sent: bool,
    ) -> Result<Option<News>> {
        let Origin::Current(entity) = &self.origin else {
            return Ok(None);
        };
        let news = current::news(ctx, entity, built, landed, is_sent).await;
        let stored = news.and_then(|news| match news {
            Some(news) => storable(news.rows).map(|rows| Some(News { rows, ..news })),
            None => Ok(None),
        });
        stored.map_err(|err| Error::query(format!("planning {}", entity.core_table()), err))
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.origin {
            Origin::Written(model) => write!(f, "from {}", model.file),
            Origin::Current(entity) => write!(f, "the current state of entity `{}`", entity.name),
        }
    }
}

/// Whether a table is there without being built: landed records, code lists.
pub(crate) fn is_given(table: &str) -> bool {
    match table.split_once('.') {
        Some(("raw", _)) => session::landed(table).is_some(),
        Some(("ref", name)) => reference::is_table(name),
        _ => false,
    }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(listing(path)?
        .into_iter()
        .filter(|it| it.is_dir())
        .collect())
}

fn files(path: &Path, extension: &str, may_be_missing: bool) -> Result<Vec<PathBuf>> {
    if may_be_missing && !path.exists() {
        return Ok(Vec::new());
    }
    let is_wanted = |it: &PathBuf| it.extension().is_some_and(|it| it == extension);
    Ok(listing(path)?.into_iter().filter(is_wanted).collect())
}

fn listing(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).and_then(|it| it.collect::<std::io::Result<Vec<_>>>());
    let mut paths: Vec<PathBuf> = entries
        .map_err(|err| unreadable(path, &err))?
        .into_iter()
        .map(|it| it.path())
        .collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|err| unreadable(path, &err))
}

fn unreadable(path: &Path, err: &std::io::Error) -> Error {
    Error::Folder {
        path: shown(path),
        reason: err.to_string(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn name_of(path: &Path) -> String {
    path.file_stem()
        .map(|it| it.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
