//! What the simulated case system calls things: its own field names and words for our columns and values.

/// Column, the case system's field.
const FIELDS: [(&str, &str); 98] = [
    ("accessible", "tilgaengeligt"),
    ("accounting_year", "regnskabsaar"),
    ("action_id", "handlingId"),
    ("actual", "faktisk"),
    ("agreement_id", "aftaleId"),
    ("amount_dkk", "beloeb"),
    ("area", "omraade"),
    ("benefit", "ydelse"),
    ("birth_year", "foedselsaar"),
    ("bonus_fit_full_dkk", "bonusRaskmeldt"),
    ("bonus_fit_partial_dkk", "bonusDelvisRaskmeldt"),
    ("bonus_self_support_dkk", "bonusSelvforsoergelse"),
    ("cadence", "opfoelgning"),
    ("capacity", "pladser"),
    ("citizen_id", "cprNummer"),
    ("comparator", "retning"),
    ("complaint_guidance_given", "klagevejledningGivet"),
    ("contract", "kontrakt"),
    ("cvr", "cvrNummer"),
    ("decided_date", "besluttetDato"),
    ("delivered_date", "leveretDato"),
    ("description", "beskrivelse"),
    ("done_date", "udfoertDato"),
    ("due_date", "fristDato"),
    ("end_date", "slutDato"),
    ("end_reason", "slutAarsag"),
    ("exit_date", "udgaaetDato"),
    ("exit_reason", "udgaaetAarsag"),
    ("expected", "forventet"),
    ("focus_area", "fokusomraade"),
    ("from_date", "fraDato"),
    ("goal", "maal"),
    ("goal_id", "maalId"),
    ("goal_reached", "maalNaaet"),
    ("held_date", "afholdtDato"),
    ("hours_per_week", "timerPrUge"),
    ("hours_per_week_max", "timerPrUgeMaks"),
    ("hours_per_week_min", "timerPrUgeMin"),
    ("implemented_date", "gennemfoertDato"),
    ("indicator", "indikator"),
    ("interview_id", "samtaleId"),
    ("kind", "type"),
    ("lapsed_reason", "bortfaldAarsag"),
    ("legal_basis", "hjemmel"),
    ("lifted_date", "ophaevetDato"),
    ("match_group", "matchgruppe"),
    ("maximum", "hoejst"),
    ("measure", "maaling"),
    ("meeting_id", "moedeId"),
    ("metric", "maaleenhed"),
    ("minimum", "mindst"),
    ("municipality_code", "kommunekode"),
    ("name", "navn"),
    ("no_show_reason", "udeblivelsesaarsag"),
    ("offer_id", "tilbudId"),
    ("order_id", "leveranceId"),
    ("ordered_date", "bestiltDato"),
    ("origin", "herkomst"),
    ("origin_id", "udspringId"),
    ("outcome", "udfald"),
    ("package", "tilbudspakke"),
    ("partial", "delvisRaskmeldt"),
    ("participation_id", "forloebId"),
    ("period", "periode"),
    ("planned_end_date", "planlagtSlutDato"),
    ("population", "maalgruppeSamtale"),
    ("price_per_week_dkk", "prisPrUge"),
    ("provider_id", "leverandoerId"),
    ("raised_date", "rejstDato"),
    ("reason", "begrundelse"),
    ("refund_at_risk_dkk", "refusionIRisiko"),
    ("remark_id", "bemaerkningId"),
    ("requirement_id", "kravId"),
    ("responsible", "ansvarlig"),
    ("review_date", "gennemgangDato"),
    ("review_id", "gennemgangId"),
    ("sample_kind", "stikproeve"),
    ("sanction_id", "sanktionId"),
    ("sanction_terms", "sanktionsvilkaar"),
    ("source_table", "kildetabel"),
    ("spell_id", "ydelsesforloebId"),
    ("start_date", "startDato"),
    ("step", "trin"),
    ("stratum", "delgruppe"),
    ("target", "maaltal"),
    ("target_group", "maalgruppe"),
    ("theme", "tema"),
    ("title", "titel"),
    ("to_date", "tilDato"),
    ("topic", "emne"),
    ("topics", "emner"),
    ("unit_id", "enhedId"),
    ("updated_at", "opdateret"),
    ("valid_from", "gyldigFra"),
    ("valid_to", "gyldigTil"),
    ("weeks_max", "ugerMaks"),
    ("weeks_min", "ugerMin"),
    ("workplace", "virksomhedsplads"),
];

/// Words of the case system and our values, for the columns where they differ.
const WORDS: [(&str, &[(&str, &str)]); 3] = [
    (
        "workplace",
        &[
            ("Ingen", "none"),
            ("Virksomhedspraktik", "internship"),
            ("Løntilskud", "wage_subsidy"),
        ],
    ),
    (
        "population",
        &[("Ledig", "unemployed"), ("Sygemeldt", "sick")],
    ),
    ("partial", &[("J", "true"), ("N", "false")]),
];

/// The case system's field for a column; the column's own name where it has none.
pub(crate) fn field(column: &'static str) -> &'static str {
    FIELDS
        .iter()
        .find(|(ours, _)| *ours == column)
        .map_or(column, |(_, theirs)| theirs)
}

/// The case system's word for a value of a column, where it has its own.
pub(crate) fn word(column: &str, value: &str) -> Option<&'static str> {
    words(column)?
        .iter()
        .find(|(_, ours)| *ours == value)
        .map(|(theirs, _)| *theirs)
}

/// Its words for a column with ours, where they differ.
pub(crate) fn words(column: &str) -> Option<&'static [(&'static str, &'static str)]> {
    WORDS
        .iter()
        .find(|(named, _)| *named == column)
        .map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_columns_share_a_field() {
        let fields: BTreeSet<&str> = FIELDS.iter().map(|it| it.1).collect();
        assert_eq!(fields.len(), FIELDS.len());
    }

    #[test]
    fn words_are_translated_both_ways() {
        assert_eq!(word("workplace", "wage_subsidy"), Some("Løntilskud"));
        assert_eq!(word("partial", "true"), Some("J"));
        assert_eq!(word("kind", "jobcenter"), None);
    }
}
