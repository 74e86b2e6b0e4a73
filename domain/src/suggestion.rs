//! The value that was probably meant by one that does not exist.

/// The nearest candidate, ignoring case: at most two edits away from the typed text, one if that has up to four characters,
/// and fewer than the candidate has characters.
pub fn nearest<'c>(typed: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let typed = typed.to_ascii_lowercase();
    let limit = if typed.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&candidate.to_ascii_lowercase(), &typed), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// AWS Regions in November 2026, for suggestions and completions only: a Region that is missing here works as every other.
/// Source: the table "Regional endpoints" of the AWS General Reference.
pub const REGIONS: [&str; 38] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// The Region that was probably meant. None for a known one, and for a new number of a known area such as `eu-west-9`,
/// which AWS may have opened since.
#[must_use]
pub fn nearest_region(typed: &str) -> Option<&'static str> {
    let area = |region: &str| region.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
    if REGIONS.iter().any(|region| area(region) == area(typed)) {
        return None;
    }
    nearest(typed, REGIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_value_is_at_most_two_edits_away() {
        let profiles = ["prod", "staging", "x"];
        assert_eq!(nearest("prdo", profiles), Some("prod"));
        assert_eq!(nearest("Staging", profiles), Some("staging"));
        assert_eq!(nearest("sped", ["prod"]), None, "two edits are too many for a short word");
        assert_eq!(nearest("q", profiles), None, "one edit makes every one-letter word of another");
        assert_eq!(nearest("development", profiles), None);
    }

    #[test]
    fn an_unknown_area_has_a_suggestion_and_a_new_number_has_none() {
        assert_eq!(nearest_region("eu-wst-1"), Some("eu-west-1"));
        assert_eq!(nearest_region("us-eats-1"), Some("us-east-1"));
        for fine in ["eu-west-1", "eu-west-9", "us-gov-west-1", "nowhere", ""] {
            assert_eq!(nearest_region(fine), None, "{fine}");
        }
    }
}
