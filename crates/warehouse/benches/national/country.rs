//! A made-up country in landed tables, as large as the real one or several times as large. Nobody in it exists.

use std::sync::Arc;

use arrow::datatypes::Int32Type;
use contract::Entity;
use datafusion::{arrow::array::AsArray, prelude::SessionContext};
use lake::Lake;

/// Last business day read.
const HORIZON: &str = "2012-11-30";

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Citizens whom the employment services meet.
    pub(crate) citizens: u64,
    /// Their participations in offers, over three years.
    pub(crate) participations: u64,
    /// Their spells of benefit.
    pub(crate) spells: u64,
}

impl Size {
    /// The nation, so many times.
    pub(crate) fn times(scale: f64) -> Self {
        let of = |count: f64| (count * scale) as u64;
        Self {
            citizens: of(2_000_000.0),
            participations: of(3_800_000.0),
            spells: of(7_000_000.0),
        }
    }
}

/// A number that looks random, from 0 to below `below`: another one for each `salt`.
fn mix(of: &str, salt: u64, below: u64) -> String {
    format!("((({of}) * 1103515245 + {salt} * 97561 + 12345) % 2147483648 / 4096 % {below})")
}

/// Lands everything in a lake that is empty.
pub(crate) async fn land(lake: &Lake, size: Size) {
    let country = Country {
        lake,
        ctx: SessionContext::new(),
        codes: codes(),
        offset: Default::default(),
    };
    country.citizens(size).await;
    country.market().await;
    country.participations(size).await;
    country.experience(size).await;
    country.oversight().await;
    country.promises().await;
}

/// One entity's landed rows, as SQL over the numbers from 0: the columns that are not null.
fn rows(entity: &Entity, columns: &[(&str, String)], source: &str, first: i64) -> String {
    let schema = contract::raw_schema(entity);
    let fields = schema.fields().iter().map(|field| {
        let name = field.name().as_str();
        let given = columns
            .iter()
            .find(|it| it.0 == name)
            .map(|it| it.1.clone());
        let value = given.unwrap_or_else(|| match name {
            contract::TOPIC => format!("'{}'", entity.topic()),
            contract::PARTITION => "0".to_owned(),
            contract::OFFSET => format!("{first} + i"),
            contract::TIMESTAMP => "to_timestamp_micros(1354320000000000)".to_owned(),
            contract::DELETED => "false".to_owned(),
            "updated_at" => "to_timestamp_micros(1354320000000000)".to_owned(),
            _ => "null".to_owned(),
        });
        format!("{value} as \"{name}\"")
    });
    format!(
        "select {} from (select value as i from {source})",
        fields.collect::<Vec<_>>().join(", ")
    )
}

/// The codes of all municipalities, as an SQL list.
fn codes() -> String {
    let list = contract::code_list("municipality").unwrap().batch();
    let column = list.column_by_name("municipality_code").unwrap();
    let codes: Vec<String> = match column.as_string_opt::<i32>() {
        Some(codes) => codes.iter().flatten().map(str::to_owned).collect(),
        None => {
            let codes = column.as_primitive::<Int32Type>();
            codes.values().iter().map(ToString::to_string).collect()
        }
    };
    let codes: Vec<String> = codes.into_iter().filter(|it| it != "0").take(98).collect();
    format!("[{}]", codes.join(", "))
}

/// A citizen's pseudonym.
fn pseudonym(number: &str) -> String {
    format!("encode(sha256(cast({number} as varchar)), 'hex')")
}

struct Country<'a> {
    lake: &'a Lake,
    ctx: SessionContext,
    codes: String,
    offset: std::cell::Cell<i64>,
}

impl Country<'_> {
    fn municipality(&self, number: &str) -> String {
        format!("({})[({number}) % 98 + 1]", self.codes)
    }

    async fn write(&self, entity: &str, count: u64, columns: &[(&str, String)]) {
        let entity = contract::entity(entity).unwrap();
        let source = format!("generate_series(0, {})", count.max(1) - 1);
        let sql = rows(entity, columns, &source, self.offset.get());
        let rows = self.ctx.sql(&sql).await.unwrap();
        let stream = rows.execute_stream().await.unwrap();
        let schema = Arc::new(contract::raw_schema(entity).as_ref().clone());
        self.lake
            .replace(&entity.raw_table(), &schema, stream, &[])
            .await
            .unwrap();
    }

    async fn citizens(&self, size: Size) {
        let citizens = size.citizens;
        self.write(
            "citizen",
            citizens,
            &[
                ("citizen_id", pseudonym("i")),
                ("municipality_code", self.municipality("i")),
                ("birth_year", format!("1948 + {}", mix("i", 1, 45))),
                (
                    "origin",
                    "(['danish', 'western', 'non_western', 'danish', 'danish'])[i % 5 + 1]"
                        .to_owned(),
                ),
                (
                    "exit_date",
                    format!(
                        "case when {} = 0 then date '2010-06-01' + cast({} as int) end",
                        mix("i", 2, 60),
                        mix("i", 3, 900)
                    ),
                ),
            ],
        )
        .await;
        let (who, turn) = (format!("(i % {citizens})"), format!("(i / {citizens})"));
        let from = format!(
            "date '2008-06-01' + cast({turn} * 430 + {} as int)",
            mix(&who, 4, 120)
        );
        let to = format!("{from} + cast(60 + {} as int)", mix("i", 5, 300));
        self.write(
            "benefit_spell",
            size.spells,
            &[
                ("spell_id", "concat('s-', i)".to_owned()),
                // One spell in twenty is paid by the municipality next to it.
                ("municipality_code", self.municipality(&format!("{who} + case when {} = 0 then 1 else 0 end", mix("i", 6, 20)))),
                ("citizen_id", pseudonym(&who)),
                ("benefit", format!("(['cash_benefit', 'unemployment_benefit', 'sickness_benefit', 'cash_benefit', 'su'])[{} + 1]", mix("i", 7, 5))),
                ("from_date", from.clone()),
                ("to_date", format!("case when {to} <= date '{HORIZON}' then {to} end")),
                ("partial", "false".to_owned()),
                ("end_reason", format!("(['employment', 'education', 'fit_full', 'fit_partial', 'other'])[{} + 1]", mix("i", 8, 5))),
            ],
        )
        .await;
    }

    async fn market(&self) {
        let of = |count: u64| self.municipality(&format!("i / {count}"));
        let id =
            |kind: &str, count: u64| format!("concat('{kind}-', {}, '-', i % {count})", of(count));
        self.write(
            "unit",
            98 * 3,
            &[
                ("unit_id", id("u", 3)),
                ("municipality_code", of(3)),
                ("name", "concat('Unit ', i)".to_owned()),
                ("kind", "'jobcenter'".to_owned()),
            ],
        )
        .await;
        self.write(
            "provider",
            98 * 8,
            &[
                ("provider_id", id("p", 8)),
                ("municipality_code", of(8)),
                ("name", "concat('Provider ', i)".to_owned()),
                ("kind", "(['external_supplier', 'other_actor', 'employment_centre', 'education'])[i % 4 + 1]".to_owned()),
            ],
        )
        .await;
        self.write(
            "agreement",
            98 * 8,
            &[
                ("agreement_id", id("a", 8)),
                ("municipality_code", of(8)),
                ("provider_id", id("p", 8)),
                ("kind", "(['own_framework', 'state_framework', 'internal', 'own_framework'])[i % 4 + 1]".to_owned()),
                ("title", "concat('Agreement ', i)".to_owned()),
                ("valid_from", "date '2009-01-01'".to_owned()),
                ("sanction_terms", "i % 2 = 0".to_owned()),
                ("bonus_self_support_dkk", "case when i % 2 = 0 then 5000 end".to_owned()),
                ("bonus_fit_full_dkk", "case when i % 2 = 0 then 8000 end".to_owned()),
            ],
        )
        .await;
        self.write(
            "offer",
            98 * 60,
            &[
                ("offer_id", id("o", 60)),
                ("municipality_code", of(60)),
                (
                    "provider_id",
                    format!("concat('p-', {}, '-', i % 8)", of(60)),
                ),
                (
                    "agreement_id",
                    format!("concat('a-', {}, '-', i % 8)", of(60)),
                ),
                ("name", "concat('Offer ', i)".to_owned()),
                (
                    "package",
                    "(['job', 'education', 'motivation', 'mentor', 'active_support'])[i % 5 + 1]"
                        .to_owned(),
                ),
                ("legal_basis", "'guidance'".to_owned()),
                ("hours_per_week_min", "10".to_owned()),
                ("hours_per_week_max", "37".to_owned()),
                ("price_per_week_dkk", "1000 + i % 900".to_owned()),
                ("valid_from", "date '2009-01-01'".to_owned()),
            ],
        )
        .await;
    }

    async fn participations(&self, size: Size) {
        let who = format!("((i * 48271) % {})", size.citizens);
        let code = self.municipality(&who);
        let start = format!("date '2010-01-01' + cast({} as int)", mix("i", 11, 1060));
        let end = format!("{start} + cast(6 + {} as int)", mix("i", 12, 84));
        self.write(
            "participation",
            size.participations,
            &[
                ("participation_id", "concat('c-', i)".to_owned()),
                ("municipality_code", code.clone()),
                ("citizen_id", pseudonym(&who)),
                ("offer_id", format!("concat('o-', {code}, '-', {})", mix("i", 13, 60))),
                ("unit_id", format!("concat('u-', {code}, '-', {})", mix("i", 14, 3))),
                ("target_group", format!("(['unemployment_benefit', 'cash_benefit_1', 'cash_benefit_2', 'cash_benefit_3', 'sickness_benefit', 'rehabilitation'])[{} + 1]", mix("i", 15, 6))),
                ("start_date", start.clone()),
                ("planned_end_date", end.clone()),
                ("end_date", format!("case when {end} <= date '{HORIZON}' then {end} end")),
                ("end_reason", format!("case when {end} <= date '{HORIZON}' then (['completed', 'employment', 'completed', 'dropped_out', 'illness', 'education', 'completed', 'completed', 'other', 'cancelled'])[{} + 1] end", mix("i", 16, 10))),
                ("hours_per_week", format!("15 + {}", mix("i", 17, 23))),
                ("workplace", format!("(['none', 'none', 'none', 'internship', 'wage_subsidy'])[{} + 1]", mix("i", 18, 5))),
            ],
        )
        .await;
    }

    async fn experience(&self, size: Size) {
        // Of every third participation; the numbers of its own columns are found again from its number.
        let it = "(i * 3)";
        let who = format!("(({it} * 48271) % {})", size.citizens);
        let code = self.municipality(&who);
        let invited = format!("date '2010-02-01' + cast({} as int)", mix(it, 11, 1000));
        let is_answered = format!("{} < 6", mix("i", 20, 10));
        let answer = |salt| format!("case when {is_answered} then 1 + {} end", mix("i", salt, 5));
        self.write(
            "survey_response",
            size.participations / 3,
            &[
                ("response_id", "concat('r-', i)".to_owned()),
                ("municipality_code", code.clone()),
                ("survey_id", "'s'".to_owned()),
                ("instrument_version", "'1'".to_owned()),
                ("participation_id", format!("concat('c-', {it})")),
                ("invited_date", invited.clone()),
                (
                    "answered_date",
                    format!(
                        "case when {is_answered} then {invited} + cast({} as int) end",
                        mix("i", 21, 20)
                    ),
                ),
                ("satisfaction", answer(22)),
                ("closer_to_job", answer(23)),
                ("informed", answer(24)),
                ("respected", answer(25)),
                ("moved", answer(26)),
                ("listened", answer(27)),
                ("influence", answer(28)),
            ],
        )
        .await;
        let due = format!("date '2010-01-01' + cast({} as int)", mix("i", 31, 1060));
        self.write(
            "interview",
            size.participations / 2,
            &[
                ("interview_id", "concat('i-', i)".to_owned()),
                ("municipality_code", self.municipality("i")),
                ("citizen_id", pseudonym(&format!("(i % {})", size.citizens))),
                (
                    "unit_id",
                    format!(
                        "concat('u-', {}, '-', {})",
                        self.municipality("i"),
                        mix("i", 32, 3)
                    ),
                ),
                (
                    "population",
                    "(['unemployed', 'sick'])[i % 2 + 1]".to_owned(),
                ),
                ("due_date", due.clone()),
                (
                    "held_date",
                    format!(
                        "case when {} > 0 then {due} + cast({} as int) end",
                        mix("i", 33, 20),
                        mix("i", 34, 3)
                    ),
                ),
            ],
        )
        .await;
    }

    async fn oversight(&self) {
        let code = self.municipality("i / 60");
        let offer = format!("concat('o-', {code}, '-', i % 60)");
        self.write(
            "complaint",
            98 * 60 * 4,
            &[
                ("complaint_id", "concat('k-', i)".to_owned()),
                ("municipality_code", code.clone()),
                ("offer_id", offer.clone()),
                (
                    "received_date",
                    format!("date '2010-01-01' + cast({} as int)", mix("i", 41, 1060)),
                ),
                ("channel", "'written'".to_owned()),
                (
                    "kind",
                    "(['formality', 'merits', 'offer'])[i % 3 + 1]".to_owned(),
                ),
                (
                    "authority",
                    "(['provider', 'administration'])[i % 2 + 1]".to_owned(),
                ),
            ],
        )
        .await;
        let check = |salt| {
            format!(
                "(['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'remark', 'remark', 'ok', 'breach'])[{} + 1]",
                mix("i", salt, 10)
            )
        };
        let checks = [
            "agreement",
            "working_environment",
            "values",
            "ethnic_equality",
            "attendance_record",
            "physical_presence",
            "planned_content",
            "facilities",
        ];
        let mut columns = vec![
            ("visit_id", "concat('v-', i)".to_owned()),
            ("municipality_code", code.clone()),
            ("provider_id", format!("concat('p-', {code}, '-', i % 8)")),
            ("offer_id", offer),
            (
                "visit_date",
                format!("date '2010-01-01' + cast({} as int)", mix("i", 51, 1060)),
            ),
            (
                "kind",
                "(['unannounced', 'announced', 'follow_up'])[i % 3 + 1]".to_owned(),
            ),
            ("persons_enrolled", "20".to_owned()),
            ("persons_present", mix("i", 52, 20)),
        ];
        columns.extend(
            checks
                .iter()
                .zip(60..)
                .map(|(name, salt)| (*name, check(salt))),
        );
        self.write("supervision_visit", 98 * 60 * 5, &columns).await;
    }

    async fn promises(&self) {
        let goals = "(['effect_3m', 'workplace_share', 'interview_timeliness', 'satisfaction_share'])[i % 4 + 1]";
        self.write(
            "goal",
            98 * 4,
            &[
                ("goal_id", "concat('g-', i)".to_owned()),
                ("municipality_code", self.municipality("i / 4")),
                ("contract", "'quality_contract'".to_owned()),
                ("focus_area", "'employment_effort'".to_owned()),
                ("indicator", goals.to_owned()),
                ("comparator", "'at_least'".to_owned()),
                ("target", "50".to_owned()),
                ("valid_from", "date '2010-01-01'".to_owned()),
                ("valid_to", "date '2013-12-31'".to_owned()),
                ("cadence", "'every_year'".to_owned()),
            ],
        )
        .await;
        let entities = [
            "benefit_spell",
            "citizen",
            "complaint",
            "interview",
            "participation",
            "sanction",
            "supervision_visit",
            "survey_response",
        ];
        let list = entities.map(|it| format!("'{it}'")).join(", ");
        self.write(
            "watermark",
            98 * entities.len() as u64,
            &[
                (
                    "municipality_code",
                    self.municipality(&format!("i / {}", entities.len())),
                ),
                ("entity", format!("([{list}])[i % {} + 1]", entities.len())),
                ("complete_through", format!("date '{HORIZON}'")),
            ],
        )
        .await;
    }
}
