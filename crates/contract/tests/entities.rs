//! Every entity of the specification is here, column by column, and Avro and Arrow agree on it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
        Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Schema, SchemaRef, TimeUnit},
};
use arrow_avro::{reader::ReaderBuilder, writer::AvroWriter};
use contract::{ContractError, FixBy, Kind, Pii, entities, entity};

/// The specification's tables, written down a second time: `*` key, `?` nullable, then the type.
const SPEC: &str = "
unit: unit_id* municipality_code:int name kind{jobcenter,employment_centre,central} updated_at:ts
provider: provider_id* municipality_code:int name kind{external_supplier,other_actor,employment_centre,education} cvr? updated_at:ts
agreement: agreement_id* municipality_code:int provider_id kind{own_framework,state_framework,internal,single_purchase,ordinary_education} title valid_from:date valid_to?:date sanction_terms:bool bonus_self_support_dkk?:dec bonus_fit_full_dkk?:dec bonus_fit_partial_dkk?:dec updated_at:ts
offer: offer_id* municipality_code:int provider_id agreement_id? name package{job,education,motivation,sickness_benefit,mentor,active_support,none} legal_basis{guidance,special_project,contact_and_activation,job_search_course,internship,wage_subsidy,ordinary_education,mentor,other} hours_per_week_min?:double hours_per_week_max?:double weeks_min?:int weeks_max?:int price_per_week_dkk?:dec capacity?:int accessible?:bool description? valid_from:date valid_to?:date updated_at:ts
requirement: requirement_id* municipality_code:int agreement_id offer_id? topic{content,hours,duration,goal,accessibility,social_clause,working_environment,values,ethnic_equality,competence,facilities} description metric?{hours_per_week,duration_weeks,attendance_share,response_days} minimum?:double maximum?:double updated_at:ts
single_order: order_id* municipality_code:int participation_id goal ordered_date:date due_date:date delivered_date?:date goal_reached?:bool updated_at:ts
citizen: citizen_id* municipality_code:int birth_year:int origin{danish,western,non_western,unknown} exit_date?:date exit_reason?{death,emigration,state_pension} updated_at:ts
benefit_spell: spell_id* municipality_code:int citizen_id benefit match_group?{1,2,3} from_date:date to_date?:date partial:bool end_reason?{employment,education,fit_full,fit_partial,other} updated_at:ts
participation: participation_id* municipality_code:int citizen_id offer_id unit_id target_group{unemployment_benefit,cash_benefit_1,cash_benefit_2,cash_benefit_3,sickness_benefit,rehabilitation} start_date:date planned_end_date?:date end_date?:date end_reason?{completed,employment,education,illness,dropped_out,cancelled,other} hours_per_week?:double workplace{none,internship,wage_subsidy} complaint_guidance_given?:bool updated_at:ts
interview: interview_id* municipality_code:int citizen_id unit_id population{unemployed,sick} due_date:date held_date?:date lapsed_reason?{left_benefit,moved,exempt} no_show_reason? updated_at:ts
attendance: participation_id* date*:date source*{protocol,physical,system} municipality_code:int planned_hours:double attended_hours:double updated_at:ts
progress_measurement: measurement_id* municipality_code:int citizen_id participation_id? measured_date:date instrument_version dimension score:double updated_at:ts
survey_response: response_id* municipality_code:int survey_id instrument_version participation_id? offer_id? unit_id? invited_date:date answered_date?:date satisfaction?:int closer_to_job?:int informed?:int respected?:int moved?:int listened?:int influence?:int job_focus?:int prepared?:int clear_next_step?:int updated_at:ts
complaint: complaint_id* municipality_code:int offer_id? unit_id? citizen_id? received_date:date channel{oral,written,digital} kind{formality,merits,offer} authority{provider,administration,citizens_adviser,appeals_board} outcome?{upheld,partly_upheld,rejected,remitted,withdrawn} closed_date?:date updated_at:ts
supervision_visit: visit_id* municipality_code:int provider_id offer_id? visit_date:date kind{unannounced,announced,follow_up,complaint_driven} agreement{ok,remark,breach,not_checked} working_environment{ok,remark,breach,not_checked} values{ok,remark,breach,not_checked} ethnic_equality{ok,remark,breach,not_checked} attendance_record{ok,remark,breach,not_checked} physical_presence{ok,remark,breach,not_checked} planned_content{ok,remark,breach,not_checked} facilities{ok,remark,breach,not_checked} persons_enrolled?:int persons_on_protocol?:int persons_present?:int follow_up_due?:date note? updated_at:ts
sanction: sanction_id* municipality_code:int provider_id offer_id? step{dialogue,increased_supervision,penalty,termination} decided_date:date lifted_date?:date amount_dkk?:dec reason updated_at:ts
dialogue_meeting: meeting_id* municipality_code:int provider_id held_date:date topics updated_at:ts
improvement_action: action_id* municipality_code:int origin{dialogue_meeting,case_review,audit_remark,supervision_visit,complaint,quality_network} origin_id? description responsible due_date:date done_date?:date updated_at:ts
case_review: review_id* municipality_code:int unit_id review_date:date theme stratum sample_kind{random,risk_based} outcome{correct,error,not_relevant} refund_at_risk_dkk?:dec updated_at:ts
audit_remark: remark_id* municipality_code:int accounting_year:int area description raised_date:date due_date?:date implemented_date?:date updated_at:ts
goal: goal_id* municipality_code:int contract{quality_contract,result_contract} unit_id? focus_area{employment_effort,service_quality,staff_and_organisation,economy} indicator comparator{at_least,at_most} target:double valid_from:date valid_to:date cadence{every_year,at_end} updated_at:ts
labour_force: municipality_code*:int reference_date*:date origin*{all,danish,western,non_western} labour_force:double unemployed:double source_table updated_at:ts
benchmark: municipality_code*:int period* measure* expected?:double actual?:double source_table updated_at:ts
watermark: municipality_code*:int entity* complete_through:date updated_at:ts
delivery: delivery_id* municipality_code:int sender entity period file_name sha256 rows_read:long rows_accepted:long rows_quarantined:long received_at:ts supersedes? updated_at:ts
";

#[test]
fn entities_are_those_of_the_specification() {
    let mut spec: Vec<String> = SPEC.trim().lines().map(str::to_owned).collect();
    spec.sort();
    let ours: Vec<String> = entities().iter().map(in_shorthand).collect();
    assert_eq!(ours, spec);
}

#[test]
fn entities_are_sorted_and_found_by_name() {
    assert!(entities().is_sorted_by_key(|entity| &entity.name));
    for found in entities() {
        assert_eq!(entity(&found.name).unwrap().name, found.name);
    }
    assert!(entity("quarantine").is_none());
    assert!(entity("").is_none());
}

#[test]
fn names_of_topics_and_tables() {
    let participation = entity("participation").unwrap();
    assert_eq!(participation.topic(), "pejl.participation");
    assert_eq!(participation.raw_table(), "raw.participation");
    assert_eq!(participation.core_table(), "core.participation");
}

#[test]
fn ranges_and_order_hold_where_the_specification_implies_them() {
    let bounds = |entity_name: &str, field: &str| {
        let field = entity(entity_name).unwrap().field(field).unwrap();
        (field.minimum, field.maximum)
    };
    let hours = bounds("participation", "hours_per_week");
    assert_eq!(hours, (Some(0.0), Some(59.0)));
    let answers = "satisfaction closer_to_job informed respected moved listened influence \
                   job_focus prepared clear_next_step";
    for answer in answers.split_whitespace() {
        assert_eq!(bounds("survey_response", answer), (Some(1.0), Some(5.0)));
    }
    for (name, low, high) in [
        ("participation", "start_date", "end_date"),
        ("benefit_spell", "from_date", "to_date"),
        ("agreement", "valid_from", "valid_to"),
        ("offer", "valid_from", "valid_to"),
        ("offer", "weeks_min", "weeks_max"),
        ("goal", "valid_from", "valid_to"),
    ] {
        let pair = (low.to_owned(), high.to_owned());
        assert!(entity(name).unwrap().ordered.contains(&pair), "{name}");
    }
}

#[test]
fn citizens_are_pseudonyms_and_every_code_list_exists() {
    for entity in entities() {
        for field in &entity.fields {
            let citizen = field.name == "citizen_id";
            assert_eq!(field.pii == Pii::Pseudonym, citizen, "{}", entity.name);
            if field.name == "municipality_code" {
                assert_eq!(field.code_list.as_ref().unwrap().list, "municipality");
            }
            if let Some(code) = &field.code_list {
                assert!(contract::code_list(&code.list).is_some(), "{}", code.list);
            }
        }
    }
    let benefit = entity("benefit_spell").unwrap().field("benefit").unwrap();
    let code = benefit.code_list.as_ref().unwrap();
    assert_eq!(code.date.as_deref(), Some("from_date"));
}

#[test]
fn avro_and_arrow_have_the_same_columns() {
    for entity in entities() {
        let avro = apache_avro::Schema::parse_str(entity.avro()).unwrap();
        let apache_avro::Schema::Record(record) = avro else {
            panic!("{} is no record", entity.name);
        };
        let arrow = entity.arrow_schema();
        assert_eq!(record.fields.len(), arrow.fields().len());
        for (avro, arrow) in record.fields.iter().zip(arrow.fields()) {
            assert_eq!(&avro.name, arrow.name());
            let (nullable, ty) = arrow_of(&avro.schema);
            assert_eq!((nullable, &ty), (arrow.is_nullable(), arrow.data_type()));
        }
    }
}

#[test]
fn every_entity_survives_avro() {
    for entity in entities() {
        for null in [false, true] {
            let batch = sample(entity, null);
            let metadata = [("avro.schema".to_owned(), entity.avro().to_owned())];
            let schema = Schema::clone(&entity.arrow_schema()).with_metadata(metadata.into());
            let mut writer = AvroWriter::new(Vec::new(), schema.clone()).unwrap();
            let columns = batch.columns().to_vec();
            let tagged = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
            writer.write(&tagged).unwrap();
            writer.finish().unwrap();
            let bytes = writer.into_inner();

            let reader = ReaderBuilder::new().build(bytes.as_slice()).unwrap();
            let back: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            assert_eq!(back.len(), 1, "{}", entity.name);
            assert_eq!(in_our_types(&back[0], &entity.arrow_schema()), batch);
        }
    }
}

#[test]
fn keys_go_there_and_back() {
    let labour_force = entity("labour_force").unwrap();
    let batch = sample(labour_force, false);
    let key = labour_force.key_of(&batch, 0);
    assert_eq!(
        String::from_utf8(key.clone()).unwrap(),
        r#"["101","2010-02-28","all"]"#
    );
    let values = labour_force.key_values(&key).unwrap();
    assert_eq!(values, ["101", "2010-02-28", "all"]);

    let views = arrow::compute::cast(batch.column(2), &DataType::Utf8View).unwrap();
    let mut columns: BTreeMap<&str, ArrayRef> = BTreeMap::from([("origin", views)]);
    for name in ["municipality_code", "reference_date"] {
        columns.insert(name, Arc::clone(batch.column_by_name(name).unwrap()));
    }
    let viewed = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(labour_force.key_of(&viewed, 0), key);
}

#[test]
fn a_wrong_key_names_what_was_expected() {
    let labour_force = entity("labour_force").unwrap();
    for key in [&b"101"[..], b"[101]", br#"["101"]"#, b"", b"\xff"] {
        let err: ContractError = labour_force.key_values(key).unwrap_err();
        assert_eq!(err.fix_by(), FixBy::Record);
        let text = err.to_string();
        let expected = "municipality_code, reference_date, origin";
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn landed_columns_are_nullable_and_carry_coordinates() {
    for entity in entities() {
        let raw = contract::raw_schema(entity);
        let (columns, coordinates) = raw.fields().split_at(entity.fields.len());
        assert!(columns.iter().all(|column| column.is_nullable()));
        let names: Vec<_> = coordinates.iter().map(|field| field.name()).collect();
        let expected =
            "_topic _partition _offset _timestamp _source _source_position _trace_id _deleted";
        assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    }
    let names = |schema: &SchemaRef| {
        let fields = schema.fields().iter();
        fields
            .map(|field| field.name().clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        names(&contract::quarantine_schema()),
        "entity municipality_code field rule value reason violations origin raw source trace_id stage quarantined_at"
    );
    assert!(names(&contract::quarantine_raw_schema()).ends_with("_trace_id _deleted"));
}

/// The entity as one line of [`SPEC`].
fn in_shorthand(entity: &contract::Entity) -> String {
    let columns = entity.fields.iter().map(|field| {
        let key = if entity.key.contains(&field.name) {
            "*"
        } else {
            ""
        };
        let nullable = if field.nullable { "?" } else { "" };
        let ty = match field.kind {
            Kind::Text if field.values.is_empty() => String::new(),
            Kind::Text => format!("{{{}}}", field.values.join(",")),
            Kind::Int => ":int".to_owned(),
            Kind::Long => ":long".to_owned(),
            Kind::Double => ":double".to_owned(),
            Kind::Bool => ":bool".to_owned(),
            Kind::Date => ":date".to_owned(),
            Kind::Timestamp => ":ts".to_owned(),
            Kind::Decimal {
                precision: 12,
                scale: 2,
            } => ":dec".to_owned(),
            other => format!(":{other:?}"),
        };
        format!("{}{key}{nullable}{ty}", field.name)
    });
    let columns: Vec<String> = columns.collect();
    let keys = columns.iter().take_while(|column| column.contains('*'));
    assert_eq!(keys.count(), entity.key.len(), "the key comes first");
    format!("{}: {}", entity.name, columns.join(" "))
}

fn arrow_of(schema: &apache_avro::Schema) -> (bool, DataType) {
    use apache_avro::Schema as Avro;
    let ty = match schema {
        Avro::Union(union) => match union.variants() {
            [Avro::Null, ty] => return (true, arrow_of(ty).1),
            _ => panic!("a union of {:?}", union.variants()),
        },
        Avro::Int => DataType::Int32,
        Avro::Long => DataType::Int64,
        Avro::Double => DataType::Float64,
        Avro::Boolean => DataType::Boolean,
        Avro::String => DataType::Utf8,
        Avro::Date => DataType::Date32,
        Avro::TimestampMicros => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Avro::Decimal(decimal) => DataType::Decimal128(
            u8::try_from(decimal.precision).unwrap(),
            i8::try_from(decimal.scale).unwrap(),
        ),
        other => panic!("{other:?} is not used"),
    };
    (false, ty)
}

/// One row with a value in every column, or with nulls wherever they may be.
fn sample(entity: &contract::Entity, null: bool) -> RecordBatch {
    let columns = entity.fields.iter().map(|field| -> ArrayRef {
        let some = !(null && field.nullable);
        let text = field.values.first().map_or("x", String::as_str);
        match field.kind {
            Kind::Int => Arc::new(Int32Array::from(vec![some.then_some(101)])),
            Kind::Long => Arc::new(Int64Array::from(vec![some.then_some(i64::MAX)])),
            Kind::Double => Arc::new(Float64Array::from(vec![some.then_some(7.5)])),
            Kind::Bool => Arc::new(BooleanArray::from(vec![some.then_some(true)])),
            Kind::Text => Arc::new(StringArray::from(vec![some.then_some(text)])),
            Kind::Date => Arc::new(Date32Array::from(vec![some.then_some(14_668)])),
            Kind::Timestamp => Arc::new(
                TimestampMicrosecondArray::from(vec![some.then_some(1_267_315_200_000_001)])
                    .with_timezone("UTC"),
            ),
            Kind::Decimal { precision, scale } => Arc::new(
                Decimal128Array::from(vec![some.then_some(-123_456)])
                    .with_precision_and_scale(precision, scale)
                    .unwrap(),
            ),
        }
    });
    RecordBatch::try_new(entity.arrow_schema(), columns.collect()).unwrap()
}

/// Avro libraries name the zone `+00:00`; everything else must already be right.
fn in_our_types(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                let instants = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
                Arc::new(instants.clone().with_timezone("UTC")) as ArrayRef
            }
            _ => Arc::clone(column),
        });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}
