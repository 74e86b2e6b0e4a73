//! Cases without a policy, because it would be wider than acceptable.

use super::*;

#[test]
fn filters_that_iam_cannot_express_never_allow_the_whole_account() {
    let long = "k".repeat(129);
    let table: [(Pairs<'_>, &str); 6] = [
        (&[("Name", &["日本"])], "Name = \"日本\""),
        (&[("Name", &["web", "日?"])], "Name = \"日?\""),
        (&[("日本", &["x"])], "\"日本\""),
        (&[(&long, &["x"])], &long),
        (&[("Env", &["a"]), ("env", &["b"])], "\"env\""),
        (&[("Env", &[])], "\"Env\""),
    ];
    for (tags, words) in table {
        let one = Access { tags: filters(tags), ..access(ONE, &["eu-west-1"], &["ubuntu"]) };
        let accesses = [one, access(TWO, &["eu-west-1"], &["ubuntu"])];
        match document(&accesses, &Origin::default()).map(|document| document.notes) {
            Err(PolicyError::Unfiltered { reason }) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{tags:?} {other:?}"),
        }
    }
    let any = Access { tags: filters(&[("Name", &["*"])]), ..access(ONE, &["eu-west-1"], &["ubuntu"]) };
    assert!(written(&[any]).notes.is_empty(), "IAM can express the filter *");
}

#[test]
fn widening_keeps_the_tag_condition_of_a_user_from_a_tag() {
    let accesses = |accounts: usize, tagged: usize| -> Vec<Access> {
        let tagged_users: BTreeSet<String> =
            (1..tagged).map(|n| format!("tagged-{n}")).chain(["root".to_owned()]).collect();
        let various = |n: usize| access(&account(n), &SIX[..=n % 6], &[&format!("user-{n}")]);
        (0..accounts).map(|n| Access { tagged_users: tagged_users.clone(), ..various(n) }).collect()
    };
    for (accounts, words) in [(40, "each OS user"), (200, "any account")] {
        let Written { policy, notes } = written(&accesses(accounts, 1));
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
        let may = |user, tags: &[(&str, &str)]| allows(&policy, &push(&account(7), "us-east-1", user, tags));
        assert!(may("user-7", &[]) && may("user-8", &[]) && may("root", &[(TAG_USER, "root")]));
        assert!(!may("root", &[]) && !may("root", &[(TAG_USER, "user-7")]), "{policy:#}");
    }
    let refused = document(&accesses(40, 60), &Origin::default()).map(|document| document.notes);
    assert!(matches!(refused, Err(PolicyError::TooLong { length }) if length > LIMIT), "{refused:?}");
}
