//! What a simulated world promises: repeatable, whole, impossible people, growing only, and true to its truth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use chrono::{Datelike, Days, Months, NaiveDate};
use contract::PseudonymKey;
use simulator::{
    BenefitSpell, Citizen, Complaint, Goal, Interview, LabourForce, Municipalities, Offer,
    Participation, ProgressMeasurement, Record, Settings, SingleOrder, SupervisionVisit,
    SurveyResponse, Unit, World, generate_canonical, write_canonical,
};

fn key() -> PseudonymKey {
    PseudonymKey::new(&[7; 32]).unwrap()
}

fn small() -> Settings {
    Settings {
        municipalities: Municipalities::Codes(vec![101, 751]),
        citizens_per_municipality: 300,
        ..Settings::default()
    }
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// Every file under `dir` with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(dir).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn canonical(settings: &Settings) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    write_canonical(&World::generate(settings).unwrap(), dir.path(), &key()).unwrap();
    files(dir.path())
}

/// A CSV file as text columns.
fn batch(bytes: &[u8]) -> RecordBatch {
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let columns: Vec<ArrayRef> = (0..headers.len())
        .map(|column| {
            let values = rows.iter().map(|it| &it[column]);
            Arc::new(StringArray::from_iter_values(values)) as ArrayRef
        })
        .collect();
    let fields: Vec<Field> = headers
        .iter()
        .map(|it| Field::new(it, DataType::Utf8, true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn equal_settings_make_equal_bytes_and_others_do_not() {
    let once = canonical(&small());
    assert!(
        once == canonical(&small()),
        "the same settings made another world"
    );
    let other = canonical(&Settings { seed: 2, ..small() });
    assert_eq!(once.len(), other.len());
    assert!(once != other, "another seed made the same world");
}

#[test]
fn a_municipality_is_the_same_in_any_company() {
    let dir = tempfile::tempdir().unwrap();
    let written = generate_canonical(&small(), dir.path(), &key()).unwrap();
    let together = canonical(&small());
    assert!(files(dir.path()) == together);
    assert_eq!(written.files, together.len() as u64);
}

#[test]
fn canonical_files_keep_the_contract() {
    let files = canonical(&small());
    let mut entities = BTreeSet::new();
    for (name, bytes) in &files {
        let entity = contract::entity(name.split('/').next().unwrap()).unwrap();
        let rows = batch(bytes);
        let expected: Vec<&str> = entity.fields.iter().map(|it| it.name.as_str()).collect();
        let schema = rows.schema();
        let columns: Vec<&str> = schema
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        assert_eq!(columns, expected, "{name}");
        let coerced = contract::coerce(entity, &rows);
        assert!(
            coerced.violations.is_empty(),
            "{name}: {:?}",
            coerced.violations.first()
        );
        assert_eq!(contract::check(entity, &coerced.batch).len(), 0, "{name}");
        assert!(rows.num_rows() > 0, "{name} is empty");
        let keys: HashSet<Vec<u8>> = (0..rows.num_rows())
            .map(|row| entity.key_of(&coerced.batch, row))
            .collect();
        assert_eq!(keys.len(), rows.num_rows(), "{name}: a key twice");
        entities.insert(entity.name.as_str());
    }
    let missing: Vec<&str> = contract::entities()
        .iter()
        .map(|it| it.name.as_str())
        .filter(|it| *it != "delivery" && !entities.contains(it))
        .collect();
    assert!(missing.is_empty(), "no rows of {missing:?}");
}

#[test]
fn nobody_in_it_can_exist_and_nobody_is_there_twice() {
    let world = World::generate(&small()).unwrap();
    let mut seen = HashSet::new();
    for area in world.municipalities() {
        assert_eq!(area.people(), 300);
        for citizen in &area.citizens {
            let number = area.cpr(citizen.citizen_id).unwrap();
            let digits = number.digits();
            let days: u32 = digits[..2].parse().unwrap();
            assert!((61..=91).contains(&days), "a day that exists");
            assert_eq!(digits[4..6], format!("{:02}", citizen.birth_year % 100));
            assert!(seen.insert(digits), "two people share a number");
        }
    }
    // Nor does any number leave in the files.
    for (name, bytes) in canonical(&small()) {
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(contract::scrub(&text), text, "{name} holds a CPR number");
    }
}

/// The keys of everything of `R` that the sources show.
fn keys<R: Record>(world: &World, id: impl Fn(&R) -> String) -> HashSet<String> {
    world.seen::<R>().map(|it| id(&it)).collect()
}

#[test]
fn every_reference_leads_somewhere_on_any_day() {
    let whole = World::generate(&small()).unwrap();
    for date in [
        day(2010, 1, 20),
        day(2010, 9, 30),
        day(2011, 12, 31),
        day(2014, 1, 1),
    ] {
        let world = whole.as_of(date);
        let offers = keys::<Offer>(&world, |it| it.offer_id.to_string());
        let units = keys::<Unit>(&world, |it| it.unit_id.to_string());
        let citizens = keys::<Citizen>(&world, |it| {
            format!("{} {:?}", it.municipality_code, it.citizen_id)
        });
        let courses = keys::<Participation>(&world, |it| it.participation_id.to_string());
        let citizen = |code: i32, person| citizens.contains(&format!("{code} {person:?}"));
        for it in world.seen::<Participation>() {
            assert!(citizen(it.municipality_code, it.citizen_id), "{it:?}");
            assert!(offers.contains(&it.offer_id.to_string()), "{it:?}");
            assert!(units.contains(&it.unit_id.to_string()), "{it:?}");
        }
        for it in world.seen::<BenefitSpell>() {
            assert!(citizen(it.municipality_code, it.citizen_id), "{it:?}");
        }
        for it in world.seen::<Interview>() {
            assert!(citizen(it.municipality_code, it.citizen_id), "{it:?}");
            assert!(units.contains(&it.unit_id.to_string()), "{it:?}");
        }
        for it in world.seen::<SingleOrder>() {
            assert!(courses.contains(&it.participation_id.to_string()), "{it:?}");
        }
        for it in world.seen::<ProgressMeasurement>() {
            let course = it.participation_id.unwrap().to_string();
            assert!(courses.contains(&course), "{it:?}");
        }
        for it in world.seen::<SurveyResponse>() {
            assert!(
                it.participation_id
                    .is_none_or(|id| courses.contains(&id.to_string()))
            );
            assert!(
                it.offer_id
                    .is_none_or(|id| offers.contains(&id.to_string()))
            );
            assert!(it.unit_id.is_none_or(|id| units.contains(&id.to_string())));
        }
        for it in world.seen::<Complaint>() {
            assert!(
                it.offer_id
                    .is_none_or(|id| offers.contains(&id.to_string()))
            );
        }
        assert!(!courses.is_empty() || date == day(2010, 1, 1));
    }
}

/// Everything the sources show, by entity and key, with its `updated_at` and its line.
fn shown(world: &World) -> HashMap<(String, Vec<u8>), (String, String)> {
    let dir = tempfile::tempdir().unwrap();
    write_canonical(world, dir.path(), &key()).unwrap();
    let mut all = HashMap::new();
    for (name, bytes) in files(dir.path()) {
        let entity = contract::entity(name.split('/').next().unwrap()).unwrap();
        if entity.name == "watermark" {
            continue;
        }
        let rows = contract::coerce(entity, &batch(&bytes)).batch;
        let text = String::from_utf8(bytes).unwrap();
        for (row, line) in text.lines().skip(1).enumerate() {
            let updated = line.rsplit(',').next().unwrap().to_owned();
            let identity = (entity.name.clone(), entity.key_of(&rows, row));
            all.insert(identity, (updated, line.to_owned()));
        }
    }
    all
}

#[test]
fn a_later_day_only_adds_and_renews() {
    let world = World::generate(&Settings {
        citizens_per_municipality: 120,
        ..small()
    })
    .unwrap();
    let mut before = shown(&world.as_of(day(2010, 6, 30)));
    for date in [
        day(2010, 7, 31),
        day(2010, 12, 31),
        day(2012, 2, 29),
        day(2013, 6, 30),
    ] {
        let now = shown(&world.as_of(date));
        assert!(now.len() > before.len(), "nothing new by {date}");
        let mut renewed = 0;
        for (identity, (updated, line)) in &before {
            let (later, newer) = now.get(identity).expect("something vanished");
            assert!(later >= updated, "{identity:?} became older");
            assert_eq!(
                later == updated,
                newer == line,
                "{identity:?} changed in silence"
            );
            renewed += usize::from(later > updated);
        }
        assert!(renewed > 0, "nothing renewed by {date}");
        before = now;
    }
}

/// Whether a citizen was supported on a day, by the definition, day by day.
struct Support<'a>(HashMap<(i32, simulator::Person), Vec<&'a BenefitSpell>>);

impl<'a> Support<'a> {
    fn of(spells: &'a [BenefitSpell]) -> Self {
        let benefits = contract::code_list("benefit").unwrap().batch();
        let text = |name: &str| {
            let column = benefits.column_by_name(name).unwrap();
            arrow::compute::cast(column, &DataType::Utf8).unwrap()
        };
        let (codes, supports) = (text("code"), text("counts_as_support"));
        let all = |it: &ArrayRef| -> Vec<String> {
            let column = it.as_any().downcast_ref::<StringArray>().unwrap();
            column.iter().map(|it| it.unwrap().to_owned()).collect()
        };
        let supporting: HashSet<String> = all(&codes)
            .into_iter()
            .zip(all(&supports))
            .filter(|(_, supports)| supports == "true")
            .map(|(code, _)| code)
            .collect();
        assert!(!supporting.contains("su") && supporting.contains("cash_benefit"));
        let mut by_citizen: HashMap<_, Vec<&BenefitSpell>> = HashMap::new();
        for spell in spells.iter().filter(|it| supporting.contains(it.benefit)) {
            let citizen = (spell.municipality_code, spell.citizen_id);
            by_citizen.entry(citizen).or_default().push(spell);
        }
        Self(by_citizen)
    }

    fn on(&self, citizen: (i32, simulator::Person), date: NaiveDate) -> bool {
        self.0.get(&citizen).is_some_and(|spells| {
            spells
                .iter()
                .any(|it| it.from_date <= date && it.to_date.is_none_or(|to| date <= to))
        })
    }
}

/// By offer: participations whose effect after three months is known, and how many succeeded.
fn effects(world: &World) -> BTreeMap<String, (u32, u32)> {
    let spells: Vec<BenefitSpell> = world
        .seen::<BenefitSpell>()
        .map(|it| it.into_owned())
        .collect();
    let support = Support::of(&spells);
    let exits: HashMap<(i32, simulator::Person), NaiveDate> = world
        .seen::<Citizen>()
        .filter_map(|it| Some(((it.municipality_code, it.citizen_id), it.exit_date?)))
        .collect();
    let mut effects: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for course in world.seen::<Participation>() {
        let Some(end) = course
            .end_date
            .filter(|_| course.end_reason != Some("cancelled"))
        else {
            continue;
        };
        let citizen = (course.municipality_code, course.citizen_id);
        let on = end.checked_add_months(Months::new(3)).unwrap();
        if on > world.date() || exits.get(&citizen).is_some_and(|exit| *exit <= on) {
            continue;
        }
        let counts = effects.entry(course.offer_id.to_string()).or_default();
        counts.0 += 1;
        counts.1 += u32::from(!support.on(citizen, on));
    }
    effects
}

#[test]
fn statistics_are_complete_to_the_date_they_speak_of() {
    let files = canonical(&small());
    let marks = String::from_utf8(files["watermark/watermark-751.csv"].clone()).unwrap();
    assert!(marks.contains("751,benefit_spell,2012-12-31,"), "{marks}");
    // The count of November 2012 is published in October 2013.
    assert!(marks.contains("751,labour_force,2011-11-30,"), "{marks}");
    assert!(marks.contains("751,benchmark,2011-12-31,"), "{marks}");
}

fn large() -> World {
    world_of(1)
}

/// Seen so late that every outcome is known.
fn world_of(seed: u64) -> World {
    let settings = Settings {
        seed,
        citizens_per_municipality: 2500,
        as_of: day(2015, 12, 31),
        ..Settings::default()
    };
    World::generate(&settings).unwrap()
}

#[test]
fn the_planted_effects_can_be_read_from_the_records() {
    for seed in 1..=3 {
        planted_effects(&world_of(seed));
    }
}

fn planted_effects(world: &World) {
    let effects = effects(world);
    let mut ranked = Vec::new();
    for (offer, truth) in &world.truth().offers {
        let Some(planted) = truth.self_support else {
            continue;
        };
        let (ended, successes) = effects[offer];
        assert_eq!(
            (ended, successes),
            (truth.ended, truth.successes),
            "{offer}"
        );
        assert!(ended >= 30, "{offer} has only {ended}");
        let spread = (truth.expected * (1.0 - truth.expected / f64::from(ended))).sqrt();
        let off = (f64::from(successes) - truth.expected).abs() / spread;
        assert!(
            off < 4.0,
            "{offer}: {successes} of {ended}, {off} deviations off"
        );
        ranked.push((planted, f64::from(successes) / f64::from(ended)));
    }
    assert!(ranked.len() > 15);
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let quarter = ranked.len() / 4;
    let worst = ranked[..quarter].iter().map(|it| it.1).fold(0.0, f64::max);
    let best = ranked[ranked.len() - quarter..]
        .iter()
        .map(|it| it.1)
        .fold(1.0, f64::min);
    assert!(
        best > worst,
        "the best quarter ({best}) is not above the worst ({worst})"
    );
}

#[test]
fn the_planted_contract_figures_can_be_read_from_the_records() {
    let world = large();
    let truth = &world.truth().municipalities[&101];
    for (year, planted) in &truth.timely_unemployed {
        let due: Vec<bool> = world
            .seen::<Interview>()
            .filter(|it| it.population == "unemployed" && it.lapsed_reason.is_none())
            .filter(|it| it.due_date.year() == *year)
            .map(|it| it.held_date.is_some_and(|held| held <= it.due_date))
            .collect();
        let timely = due.iter().filter(|it| **it).count() as f64 / due.len() as f64;
        let deviation = (planted * (1.0 - planted) / due.len() as f64).sqrt();
        assert!(
            (timely - planted).abs() < 4.0 * deviation,
            "{year}: {timely}, not {planted}"
        );
    }
    for (year, planted) in &truth.excess_unemployment {
        let rate = |origin: &str| {
            let row = world
                .seen::<LabourForce>()
                .find(|it| {
                    it.municipality_code == 101
                        && it.origin == origin
                        && it.reference_date == day(*year, 11, 30)
                })
                .unwrap();
            row.unemployed / row.labour_force
        };
        let excess = 100.0 * (rate("non_western") - rate("all"));
        assert!(
            (excess - planted).abs() < 1e-9,
            "{year}: {excess}, not {planted}"
        );
    }
    // The seed's baseline at the end of 2009.
    assert!((truth.excess_unemployment[&2009] - 10.6).abs() < 0.05);
    assert!((world.truth().municipalities[&0].excess_unemployment[&2009] - 9.9).abs() < 0.05);
    let answered = world
        .seen::<SurveyResponse>()
        .filter(|it| it.answered_date.is_some())
        .count();
    let rate = answered as f64 / world.seen::<SurveyResponse>().count() as f64;
    assert!((0.40..0.50).contains(&rate), "response rate {rate}");
}

#[test]
fn the_edges_of_the_definitions_occur() {
    let world = large().as_of(day(2012, 12, 31));
    let mut lives: BTreeMap<_, Vec<BenefitSpell>> = BTreeMap::new();
    for spell in world.seen::<BenefitSpell>().filter(|it| it.benefit != "su") {
        lives
            .entry(spell.citizen_id)
            .or_default()
            .push(spell.into_owned());
    }
    let (mut gaps, mut overlaps, mut open, mut partial) = (BTreeSet::new(), 0, 0, 0);
    for spells in lives.values_mut() {
        spells.sort_by_key(|it| it.from_date);
        let mut reached = NaiveDate::MIN;
        for spell in spells {
            if reached > NaiveDate::MIN {
                let gap = (spell.from_date - reached).num_days() - 1;
                overlaps += usize::from(gap < 0);
                gaps.insert(gap);
            }
            open += usize::from(spell.to_date.is_none());
            partial += usize::from(spell.partial);
            reached = reached.max(spell.to_date.unwrap_or(day(9999, 12, 31)));
        }
    }
    assert!(gaps.contains(&0), "no adjacent spells");
    assert!(
        gaps.contains(&28) && gaps.contains(&29),
        "no gap on the edge"
    );
    assert!(gaps.iter().any(|it| *it > 29), "no re-entry");
    assert!(
        overlaps > 10 && open > 100 && partial > 10,
        "{overlaps} {open} {partial}"
    );

    let births: HashMap<_, i32> = world
        .seen::<Citizen>()
        .map(|it| (it.citizen_id, it.birth_year))
        .collect();
    let courses: Vec<_> = world.seen::<Participation>().collect();
    let ended = |reason| {
        courses
            .iter()
            .filter(|it| it.end_reason == Some(reason))
            .count()
    };
    assert!(ended("cancelled") > 20 && ended("dropped_out") > 20);
    assert!(courses.iter().filter(|it| it.end_date.is_none()).count() > 50);
    let on_the_30th = |it: &Participation| it.start_date.year() - births[&it.citizen_id] == 30;
    assert!(
        courses.iter().any(|it| on_the_30th(it)),
        "nobody is exactly 30"
    );
    let last_of_month = |it: NaiveDate| it.checked_add_days(Days::new(1)).unwrap().day() == 1;
    let clamped = |it: NaiveDate| {
        let later = it.checked_add_months(Months::new(3)).unwrap();
        last_of_month(it) && later.day() < it.day()
    };
    assert!(
        courses.iter().filter_map(|it| it.end_date).any(clamped),
        "no clamped month"
    );
    let mut per_citizen: HashMap<_, Vec<_>> = HashMap::new();
    for it in &courses {
        per_citizen.entry(it.citizen_id).or_default().push(it);
    }
    assert!(
        per_citizen.values().any(|it| it.len() >= 3),
        "nobody came three times"
    );
    let overlapping = per_citizen.values().flatten().any(|a| {
        per_citizen[&a.citizen_id].iter().any(|b| {
            a.participation_id < b.participation_id
                && a.end_date
                    .is_some_and(|end| a.start_date < b.start_date && b.start_date < end)
        })
    });
    assert!(overlapping, "nobody is in two offers at once");
    assert!(
        world.seen::<Citizen>().any(|it| it.exit_date.is_some()),
        "nobody left"
    );
    let complaints: Vec<_> = world.seen::<Complaint>().collect();
    assert!(complaints.iter().any(|it| it.offer_id.is_none()));
    assert!(complaints.iter().any(|it| it.offer_id.is_some()));
    let red = |it: &SupervisionVisit| it.planned_content == "breach" || it.agreement == "breach";
    assert!(
        world.seen::<SupervisionVisit>().any(|it| red(&it)),
        "no visit found a breach"
    );
    let targets: BTreeSet<String> = world
        .seen::<Goal>()
        .map(|it| format!("{} {}", it.indicator, it.target))
        .collect();
    for goal in [
        "interview_timeliness 95",
        "interview_timeliness_unemployed 95",
        "interview_timeliness_sick 95",
        "workplace_share 15",
        "excess_unemployment 7",
    ] {
        assert!(targets.contains(goal), "no goal {goal}");
    }
}

#[test]
fn every_package_is_offered_and_used() {
    let world = large();
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    let packages: HashMap<_, &str> = world
        .municipalities()
        .iter()
        .flat_map(|it| &it.offers)
        .map(|it| (it.offer_id, it.package))
        .collect();
    for course in world.seen::<Participation>() {
        *used.entry(packages[&course.offer_id]).or_default() += 1;
    }
    let entity = contract::entity("offer").unwrap();
    for package in &entity.field("package").unwrap().values {
        assert!(
            used.get(package.as_str()).is_some_and(|it| *it > 20),
            "{package}: {used:?}"
        );
    }
}

#[test]
fn impossible_settings_are_refused_with_a_reason() {
    let refused = |settings: Settings| World::generate(&settings).unwrap_err().to_string();
    let years = refused(Settings {
        years: 11,
        ..small()
    });
    assert!(years.contains("years is 11"), "{years}");
    let place = Municipalities::Codes(vec![999]);
    let unknown = refused(Settings {
        municipalities: place,
        ..small()
    });
    assert!(unknown.contains("999"), "{unknown}");
    let many = refused(Settings {
        municipalities: Municipalities::First(99),
        ..small()
    });
    assert!(many.contains("1 to 98"), "{many}");
    let early = refused(Settings {
        as_of: day(2009, 12, 31),
        ..small()
    });
    assert!(early.contains("before the first day"), "{early}");
}
