use proptest::prelude::*;

use super::*;

fn id(digits: &str) -> InstanceId {
    InstanceId::parse(&format!("i-{digits}")).unwrap()
}

fn wish(digits: &str, name: &str) -> Wish {
    Wish {
        id: id(digits),
        account: "111122223333".to_owned(),
        name: Some(name.to_owned()),
        always_suffixed: false,
        rank: 0,
        newest: false,
        launched: 0,
        listed: true,
    }
}

fn of_source(rank: usize, account: &str, wish: Wish) -> Wish {
    Wish { rank, account: account.to_owned(), ..wish }
}

fn free(_: &str, _: bool) -> Option<String> {
    None
}

/// Two syncs: what the second makes of the first one's names.
struct Syncs(Past, u64);

impl Syncs {
    fn run(&mut self, wishes: &[Wish], accept_moves: bool) -> Outcome {
        self.1 += 1000;
        let outcome = assign(wishes, &self.0, &free, accept_moves);
        let mut now = Past::new();
        for (id, names) in &outcome.names {
            let wish = wishes.iter().find(|wish| wish.id == *id).unwrap();
            for name in std::iter::once(&names.alias).chain(&names.others).filter(|_| wish.listed) {
                let holder = Holder { id: id.clone(), account: wish.account.clone(), seen: self.1 };
                now.insert(name.to_ascii_lowercase(), holder);
            }
        }
        let listed: HashSet<String> = now.keys().cloned().collect();
        let memory = memory(&outcome, wishes, &|name| listed.contains(name), &self.0, self.1);
        now.extend(memory);
        self.0 = now;
        outcome
    }
}

fn alias<'a>(outcome: &'a Outcome, digits: &str) -> &'a str {
    &outcome.names[&id(digits)].alias
}

const A: &str = "0abc12def34567890";
const B: &str = "0abc12aef34567890";
const C: &str = "0fff12def34567890";

#[test]
fn a_shared_name_is_suffixed_for_all_who_share_it_at_first() {
    let outcome = assign(&[wish(A, "web"), wish(B, "Web"), wish(C, "db")], &Past::new(), &free, false);
    assert_eq!((alias(&outcome, A), alias(&outcome, B), alias(&outcome, C)), ("web-0abc12d", "web-0abc12a", "db"));
    assert_eq!(outcome.shared["web"], (vec!["web".into(), "Web".into()], Shared::By(vec![id(B), id(A)])));
}

#[test]
fn a_name_stays_while_its_instance_exists_and_moves_in_words_afterwards() {
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[wish(A, "web")], false);
    let both = syncs.run(&[wish(A, "web"), wish(C, "web")], false);
    assert_eq!((alias(&both, A), alias(&both, C)), ("web", "web-0fff12"));
    assert!(both.moves.is_empty() && both.shared.is_empty());
    let after = syncs.run(&[wish(C, "web")], false);
    assert_eq!(after.names[&id(C)], Names { alias: "web".into(), others: vec!["web-0fff12".into()] });
    assert_eq!((after.moves[0].name.as_str(), &after.moves[0].from.id, &after.moves[0].to), ("web", &id(A), &id(C)));
    assert!(syncs.run(&[wish(C, "web")], false).moves.is_empty());
}

#[test]
fn an_instance_that_is_not_listed_keeps_its_name_and_gains_none() {
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[wish(A, "web")], false);
    let stopped = Wish { listed: false, ..wish(A, "web") };
    for _ in 0..2 {
        let outcome = syncs.run(&[stopped.clone(), wish(C, "web")], false);
        assert_eq!(alias(&outcome, C), "web-0fff12");
    }
    assert_eq!(alias(&syncs.run(&[wish(A, "web"), wish(C, "web")], false), A), "web");
    let first = assign(&[stopped, wish(C, "web")], &Past::new(), &free, false);
    assert_eq!(alias(&first, C), "web");
}

#[test]
fn a_name_crosses_accounts_only_when_somebody_says_so() {
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[wish(A, "web")], false);
    syncs.run(&[], false);
    for _ in 0..2 {
        let outcome = syncs.run(&[of_source(0, "222233334444", wish(C, "web"))], false);
        assert_eq!(alias(&outcome, C), "web-0fff12");
        assert!(matches!(&outcome.shared["web"].1, Shared::Waits { was, .. } if was.id == id(A)));
        assert!(outcome.moves.is_empty());
    }
    let accepted = syncs.run(&[of_source(0, "222233334444", wish(C, "web"))], true);
    assert_eq!((alias(&accepted, C), accepted.moves.len()), ("web", 1));
}

#[test]
fn earlier_sources_win_a_free_name_and_a_held_one_only_on_demand() {
    let (first, second) = (wish(A, "web"), of_source(1, "222233334444", wish(C, "web")));
    let outcome = assign(&[second.clone(), first.clone()], &Past::new(), &free, false);
    assert_eq!((alias(&outcome, A), alias(&outcome, C)), ("web", "web-0fff12"));
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(std::slice::from_ref(&second), false);
    let outcome = syncs.run(&[first.clone(), second.clone()], false);
    assert_eq!((alias(&outcome, C), &outcome.stayed[..]), ("web", &[("web".into(), id(C), id(A))][..]));
    let outcome = syncs.run(&[first, second], true);
    assert_eq!((alias(&outcome, A), outcome.moves.len()), ("web", 1));
}

#[test]
fn members_of_a_group_have_a_suffix_and_the_newest_the_bare_name_where_asked() {
    let member = |digits, launched, newest| Wish { always_suffixed: true, newest, launched, ..wish(digits, "asg") };
    let one = assign(&[member(A, 1, false)], &Past::new(), &free, false);
    assert_eq!((alias(&one, A), &one.shared["asg"].1), ("asg-0abc12", &Shared::By(vec![id(A)])));
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[member(A, 1, true)], false);
    let two = syncs.run(&[member(A, 1, true), member(C, 2, true)], false);
    assert_eq!(two.names[&id(C)], Names { alias: "asg-0fff12".into(), others: vec!["asg".into()] });
    assert_eq!(two.moves.len(), 1);
    assert!(two.shared.is_empty());
}

#[test]
fn a_tag_that_spells_out_a_suffixed_name_wins_nothing() {
    let group = [wish(A, "web"), wish(C, "web")];
    let alone = assign(&group, &Past::new(), &free, false);
    let hostile = wish("2fff12def34567890", "web-0abc12");
    let outcome = assign(&[group[0].clone(), group[1].clone(), hostile], &Past::new(), &free, false);
    assert_eq!((alias(&outcome, A), alias(&outcome, C)), (alias(&alone, A), alias(&alone, C)));
    assert_eq!(alias(&outcome, "2fff12def34567890"), "web-0abc12-2fff12");
}

#[test]
fn what_means_something_else_is_suffixed() {
    for name in ["localhost", "10", "0x7f000001", "i-0abc12de", "LOCALHOST"] {
        let outcome = assign(&[wish(A, name)], &Past::new(), &free, false);
        assert_eq!(alias(&outcome, A), format!("{}-0abc12", name.to_ascii_lowercase()));
        assert!(outcome.shared.is_empty());
    }
    let taken = |name: &str, _: bool| (name == "web").then(|| "Host web".to_owned());
    let outcome = assign(&[wish(A, "web")], &Past::new(), &taken, false);
    assert_eq!(outcome.refused, [(id(A), "web".to_owned(), "Host web".to_owned())]);
    assert_eq!((alias(&outcome, A), outcome.shared.len()), ("web-0abc12", 0));
}

#[test]
fn no_name_reads_as_another_s_id() {
    let pool: Vec<Wish> = ["0abc12d1", "0abc12d2", A, "0abc12dee34567890"].map(|id| wish(id, "i")).to_vec();
    for (id, names) in &assign(&pool, &Past::new(), &free, false).names {
        assert!(InstanceId::parse(&names.alias).is_none_or(|read| read == *id), "{names:?}");
    }
}

#[test]
fn another_spelling_is_a_second_name() {
    let outcome = assign(&[wish(A, "Prod-Web")], &Past::new(), &free, false);
    assert_eq!(outcome.names[&id(A)], Names { alias: "prod-web".into(), others: vec!["Prod-Web".into()] });
}

fn pool() -> impl Strategy<Value = Vec<Wish>> {
    let one = ("(web|web-00|Web|i|a{60,70}|web-[0-3]{6})", 0_usize..3, any::<bool>(), any::<bool>());
    prop::collection::btree_map("[0-3]{8}|[0-3]{17}", one, 1..14).prop_map(|pool| {
        let wish = |(digits, (name, rank, group, newest)): (String, (String, usize, bool, bool))| Wish {
            always_suffixed: group,
            newest,
            ..of_source(rank, &format!("{rank}"), wish(&digits, &name))
        };
        pool.into_iter().map(wish).collect()
    })
}

proptest! {
    #[test]
    fn all_names_differ_and_do_not_depend_on_the_order(pool in pool(), turn in 0_usize..14, past in pool()) {
        let mut syncs = Syncs(Past::new(), 0);
        syncs.run(&past, false);
        let outcome = assign(&pool, &syncs.0, &free, false);
        let mut seen = BTreeSet::new();
        for names in outcome.names.values() {
            for name in std::iter::once(&names.alias).chain(&names.others) {
                prop_assert!(seen.insert(name.clone()), "{} twice", name);
                prop_assert!(name.len() <= LONGEST);
            }
        }
        for (spellings, _) in outcome.shared.values() {
            for name in spellings {
                prop_assert!(seen.insert(name.clone()), "{} twice", name);
            }
        }
        prop_assert_eq!(outcome.names.len(), pool.len());
        let mut turned = pool.clone();
        turned.rotate_left(turn % pool.len());
        prop_assert_eq!(assign(&turned, &syncs.0, &free, false), outcome);
    }

    #[test]
    fn a_second_sync_changes_nothing(pool in pool()) {
        let mut syncs = Syncs(Past::new(), 0);
        let first = syncs.run(&pool, false);
        let second = syncs.run(&pool, false);
        prop_assert!(second.moves.is_empty());
        prop_assert_eq!(first.names, second.names);
    }

    #[test]
    fn whoever_comes_or_goes_nobody_else_of_the_account_is_renamed(pool in pool(), gone in 0_usize..14) {
        let mut syncs = Syncs(Past::new(), 0);
        let first = syncs.run(&pool, false);
        let gone = pool[gone % pool.len()].id.clone();
        let rest: Vec<Wish> = pool.into_iter().filter(|wish| wish.id != gone).collect();
        let second = syncs.run(&rest, false);
        for (id, names) in &second.names {
            // A bare name may come, what was there before stays.
            let now: Vec<&String> = std::iter::once(&names.alias).chain(&names.others).collect();
            prop_assert!(now.contains(&&first.names[id].alias), "{:?} {:?}", first.names[id], names);
        }
    }
}

#[test]
fn a_suffixed_name_is_as_safe_from_others_as_a_bare_one() {
    // A member of a group is gone, and another account spells out its name.
    let member = |digits| Wish { always_suffixed: true, ..wish(digits, "grp") };
    let thief = |digits, name| of_source(1, "222233334444", wish(digits, name));
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[member(A), member(C)], false);
    for _ in 0..3 {
        let outcome = syncs.run(&[member(C), thief("1fff12def34567890", "grp-0abc12")], false);
        assert_eq!(alias(&outcome, "1fff12def34567890"), "grp-0abc12-1fff12");
        assert!(matches!(&outcome.shared["grp-0abc12"].1, Shared::Waits { .. }));
    }
    // One that has got the bare name keeps its suffixed one.
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[wish(A, "app"), wish(C, "app")], false);
    syncs.run(&[wish(A, "app")], false);
    for _ in 0..3 {
        let outcome = syncs.run(&[wish(A, "app"), thief("1fff12def34567890", "app-0abc12")], false);
        assert_eq!(outcome.names[&id(A)], Names { alias: "app".into(), others: vec!["app-0abc12".into()] });
        assert!(outcome.moves.is_empty() && outcome.shared.is_empty());
    }
}

#[test]
fn the_newest_of_a_later_source_keeps_the_name_from_an_earlier_one() {
    let newest = |rank, digits, launched| Wish { newest: true, launched, ..of_source(rank, "1", wish(digits, "db")) };
    let mut syncs = Syncs(Past::new(), 0);
    syncs.run(&[newest(1, A, 1)], false);
    for _ in 0..2 {
        let outcome = syncs.run(&[newest(0, C, 5), newest(1, A, 1), newest(1, B, 3)], false);
        assert!(outcome.names[&id(B)].others.contains(&"db".to_owned()), "{outcome:?}");
        assert_eq!(outcome.stayed.len(), 1);
    }
    let outcome = syncs.run(&[newest(0, C, 5), newest(1, B, 3)], true);
    assert_eq!(alias(&outcome, C), "db");
}

#[test]
fn no_spelling_shadows_what_is_reached_already() {
    let taken = |name: &str, _: bool| (name == "Bastion").then(|| "Host Bastion".to_owned());
    for newest in [false, true] {
        let one = Wish { newest, ..wish(A, "Bastion") };
        let two = Wish { newest, ..wish(C, "bastion") };
        let outcome = assign(&[one, two], &Past::new(), &taken, false);
        let all = outcome.names.values().flat_map(|names| std::iter::once(&names.alias).chain(&names.others));
        let shared = outcome.shared.values().flat_map(|(spellings, _)| spellings);
        assert!(all.chain(shared).all(|name| name != "Bastion"), "{outcome:?}");
    }
}
