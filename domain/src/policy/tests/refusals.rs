//! What is refused rather than allowed to more than asked for.

use super::*;

#[test]
fn a_policy_over_the_whole_account_is_refused_where_there_are_filters() {
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
        let one = Ask { tags: filters(tags), ..ask(ONE, &["eu-west-1"], &["ubuntu"]) };
        let asks = [one, ask(TWO, &["eu-west-1"], &["ubuntu"])];
        match document(&asks, &Origin::default()).map(|document| document.notes) {
            Err(Refusal::Unfiltered { why }) => assert!(why.contains(words), "{why}"),
            other => panic!("{tags:?} {other:?}"),
        }
    }
    let any = Ask { tags: filters(&[("Name", &["*"])]), ..ask(ONE, &["eu-west-1"], &["ubuntu"]) };
    assert!(written(&[any]).notes.is_empty(), "what was asked for is no matter of words");
}

#[test]
fn a_user_named_by_a_tag_is_bound_to_it_however_little_room_there_is() {
    let asks = |accounts: usize, tagged: usize| -> Vec<Ask> {
        let tagged_users: BTreeSet<String> =
            (1..tagged).map(|n| format!("tagged-{n}")).chain(["root".to_owned()]).collect();
        let various = |n: usize| ask(&account(n), &SIX[..=n % 6], &[&format!("user-{n}")]);
        (0..accounts).map(|n| Ask { tagged_users: tagged_users.clone(), ..various(n) }).collect()
    };
    for (accounts, words) in [(40, "each OS user"), (200, "any account")] {
        let Written { policy, notes } = written(&asks(accounts, 1));
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
        let may = |user, tags: &[(&str, &str)]| allows(&policy, &push(&account(7), "us-east-1", user, tags));
        assert!(may("user-7", &[]) && may("user-8", &[]) && may("root", &[(TAG_USER, "root")]));
        assert!(!may("root", &[]) && !may("root", &[(TAG_USER, "user-7")]), "{policy:#}");
    }
    let refused = document(&asks(40, 60), &Origin::default()).map(|document| document.notes);
    assert!(matches!(refused, Err(Refusal::TooLong { length }) if length > LIMIT), "{refused:?}");
}
