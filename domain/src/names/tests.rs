use proptest::prelude::*;

use super::*;

fn id(digits: &str) -> InstanceId {
    InstanceId::parse(&format!("i-{digits}")).unwrap()
}

fn request(digits: &str, name: &str) -> AliasRequest {
    AliasRequest {
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

fn of_source(rank: usize, account: &str, request: AliasRequest) -> AliasRequest {
    AliasRequest { rank, account: account.to_owned(), ..request }
}

fn free(_: &str, _: bool) -> Option<Conflict> {
    None
}

fn assigned(requests: &[AliasRequest], history: &NameHistory, conflict_of: &Conflicts<'_>, accept: bool) -> Assignment {
    assign(&requests.iter().collect::<Vec<_>>(), history, conflict_of, accept)
}

/// Two syncs: what the second makes of the first one's names.
struct Syncs(NameHistory, u64);

impl Syncs {
    fn run(&mut self, requests: &[AliasRequest], accept_moves: bool) -> Assignment {
        self.1 += 1000;
        let assignment = assigned(requests, &self.0, &free, accept_moves);
        let mut now = NameHistory::new();
        for (id, names) in &assignment.names {
            let request = requests.iter().find(|request| request.id == *id).unwrap();
            for name in std::iter::once(&names.alias).chain(&names.others).filter(|_| request.listed) {
                let holder = Holder { id: id.clone(), account: request.account.clone(), seen: self.1 };
                now.insert(name.to_ascii_lowercase(), holder);
            }
        }
        let listed: HashSet<String> = now.keys().cloned().collect();
        let memory =
            memory(&assignment, &requests.iter().collect::<Vec<_>>(), &|name| listed.contains(name), &self.0, self.1);
        now.extend(memory);
        self.0 = now;
        assignment
    }
}

fn alias<'a>(assignment: &'a Assignment, digits: &str) -> &'a str {
    &assignment.names[&id(digits)].alias
}

const A: &str = "0abc12def34567890";
const B: &str = "0abc12aef34567890";
const C: &str = "0fff12def34567890";

#[test]
fn a_shared_name_is_suffixed_for_all_instances_that_share_it_at_first() {
    let assignment =
        assigned(&[request(A, "web"), request(B, "Web"), request(C, "db")], &NameHistory::new(), &free, false);
    assert_eq!(
        (alias(&assignment, A), alias(&assignment, B), alias(&assignment, C)),
        ("web-0abc12d", "web-0abc12a", "db")
    );
    assert_eq!(assignment.shared["web"], (vec!["web".into(), "Web".into()], Shared::By(vec![id(B), id(A)])));
}

#[test]
fn a_name_stays_while_its_instance_exists_and_then_moves_with_a_report() {
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[request(A, "web")], false);
    let both = syncs.run(&[request(A, "web"), request(C, "web")], false);
    assert_eq!((alias(&both, A), alias(&both, C)), ("web", "web-0fff12"));
    assert!(both.moves.is_empty() && both.shared.is_empty());
    let after = syncs.run(&[request(C, "web")], false);
    assert_eq!(after.names[&id(C)], Names { alias: "web".into(), others: vec!["web-0fff12".into()] });
    assert_eq!((after.moves[0].name.as_str(), &after.moves[0].from.id, &after.moves[0].to), ("web", &id(A), &id(C)));
    assert!(syncs.run(&[request(C, "web")], false).moves.is_empty());
}

#[test]
fn an_instance_that_is_not_listed_keeps_its_name_and_gains_none() {
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[request(A, "web")], false);
    let stopped = AliasRequest { listed: false, ..request(A, "web") };
    for _ in 0..2 {
        let assignment = syncs.run(&[stopped.clone(), request(C, "web")], false);
        assert_eq!(alias(&assignment, C), "web-0fff12");
    }
    assert_eq!(alias(&syncs.run(&[request(A, "web"), request(C, "web")], false), A), "web");
    let first = assigned(&[stopped, request(C, "web")], &NameHistory::new(), &free, false);
    assert_eq!(alias(&first, C), "web");
}

#[test]
fn a_name_crosses_accounts_only_when_somebody_says_so() {
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[request(A, "web")], false);
    syncs.run(&[], false);
    for _ in 0..2 {
        let assignment = syncs.run(&[of_source(0, "222233334444", request(C, "web"))], false);
        assert_eq!(alias(&assignment, C), "web-0fff12");
        assert!(matches!(&assignment.shared["web"].1, Shared::Waits { was, .. } if was.id == id(A)));
        assert!(assignment.moves.is_empty());
    }
    let accepted = syncs.run(&[of_source(0, "222233334444", request(C, "web"))], true);
    assert_eq!((alias(&accepted, C), accepted.moves.len()), ("web", 1));
}

#[test]
fn earlier_sources_win_a_free_name_and_a_held_one_only_on_demand() {
    let (first, second) = (request(A, "web"), of_source(1, "222233334444", request(C, "web")));
    let assignment = assigned(&[second.clone(), first.clone()], &NameHistory::new(), &free, false);
    assert_eq!((alias(&assignment, A), alias(&assignment, C)), ("web", "web-0fff12"));
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(std::slice::from_ref(&second), false);
    let assignment = syncs.run(&[first.clone(), second.clone()], false);
    assert_eq!((alias(&assignment, C), &assignment.stayed[..]), ("web", &[("web".into(), id(C), id(A))][..]));
    let assignment = syncs.run(&[first, second], true);
    assert_eq!((alias(&assignment, A), assignment.moves.len()), ("web", 1));
}

#[test]
fn members_of_a_group_have_a_suffix_and_the_newest_the_bare_name_where_asked() {
    let member =
        |digits, launched, newest| AliasRequest { always_suffixed: true, newest, launched, ..request(digits, "asg") };
    let one = assigned(&[member(A, 1, false)], &NameHistory::new(), &free, false);
    assert_eq!((alias(&one, A), &one.shared["asg"].1), ("asg-0abc12", &Shared::By(vec![id(A)])));
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[member(A, 1, true)], false);
    let two = syncs.run(&[member(A, 1, true), member(C, 2, true)], false);
    assert_eq!(two.names[&id(C)], Names { alias: "asg-0fff12".into(), others: vec!["asg".into()] });
    assert_eq!(two.moves.len(), 1);
    assert!(two.shared.is_empty());
}

#[test]
fn a_tag_that_spells_out_a_suffixed_name_wins_nothing() {
    let group = [request(A, "web"), request(C, "web")];
    let alone = assigned(&group, &NameHistory::new(), &free, false);
    let hostile = request("2fff12def34567890", "web-0abc12");
    let assignment = assigned(&[group[0].clone(), group[1].clone(), hostile], &NameHistory::new(), &free, false);
    assert_eq!((alias(&assignment, A), alias(&assignment, C)), (alias(&alone, A), alias(&alone, C)));
    assert_eq!(alias(&assignment, "2fff12def34567890"), "web-0abc12-2fff12");
}

#[test]
fn names_with_another_meaning_get_a_suffix() {
    for name in ["localhost", "10", "0x7f000001", "i-0abc12de", "LOCALHOST"] {
        let assignment = assigned(&[request(A, name)], &NameHistory::new(), &free, false);
        assert_eq!(alias(&assignment, A), format!("{}-0abc12", name.to_ascii_lowercase()));
        assert!(assignment.shared.is_empty());
    }
    let conflict_of = |name: &str, _: bool| (name == "web").then_some(Conflict::Block(7));
    let assignment = assigned(&[request(A, "web")], &NameHistory::new(), &conflict_of, false);
    let refused = RefusedName { id: id(A), name: "web".to_owned(), conflict: Conflict::Block(7) };
    assert_eq!(assignment.refused, [refused]);
    assert_eq!((alias(&assignment, A), assignment.shared.len()), ("web-0abc12", 0));
}

#[test]
fn no_name_reads_as_the_id_of_another_instance() {
    let pool: Vec<AliasRequest> = ["0abc12d1", "0abc12d2", A, "0abc12dee34567890"].map(|id| request(id, "i")).to_vec();
    for (id, names) in &assigned(&pool, &NameHistory::new(), &free, false).names {
        assert!(InstanceId::parse(&names.alias).is_none_or(|read| read == *id), "{names:?}");
    }
}

#[test]
fn another_spelling_is_a_second_name() {
    let assignment = assigned(&[request(A, "Prod-Web")], &NameHistory::new(), &free, false);
    assert_eq!(assignment.names[&id(A)], Names { alias: "prod-web".into(), others: vec!["Prod-Web".into()] });
}

fn pool() -> impl Strategy<Value = Vec<AliasRequest>> {
    let one = ("(web|web-00|Web|i|a{60,70}|web-[0-3]{6})", 0_usize..3, any::<bool>(), any::<bool>());
    prop::collection::btree_map("[0-3]{8}|[0-3]{17}", one, 1..14).prop_map(|pool| {
        let request = |(digits, (name, rank, group, newest)): (String, (String, usize, bool, bool))| AliasRequest {
            always_suffixed: group,
            newest,
            ..of_source(rank, &format!("{rank}"), request(&digits, &name))
        };
        pool.into_iter().map(request).collect()
    })
}

proptest! {
    #[test]
    fn all_names_differ_and_do_not_depend_on_the_order(pool in pool(), turn in 0_usize..14, history in pool()) {
        let mut syncs = Syncs(NameHistory::new(), 0);
        syncs.run(&history, false);
        let assignment = assigned(&pool, &syncs.0, &free, false);
        let mut seen = BTreeSet::new();
        for names in assignment.names.values() {
            for name in std::iter::once(&names.alias).chain(&names.others) {
                prop_assert!(seen.insert(name.clone()), "{} twice", name);
                prop_assert!(name.len() <= LONGEST);
            }
        }
        for (spellings, _) in assignment.shared.values() {
            for name in spellings {
                prop_assert!(seen.insert(name.clone()), "{} twice", name);
            }
        }
        prop_assert_eq!(assignment.names.len(), pool.len());
        let mut turned = pool.clone();
        turned.rotate_left(turn % pool.len());
        prop_assert_eq!(assigned(&turned, &syncs.0, &free, false), assignment);
    }

    #[test]
    fn a_second_sync_changes_nothing(pool in pool()) {
        let mut syncs = Syncs(NameHistory::new(), 0);
        let first = syncs.run(&pool, false);
        let second = syncs.run(&pool, false);
        prop_assert!(second.moves.is_empty());
        prop_assert_eq!(first.names, second.names);
    }

    #[test]
    fn whoever_comes_or_goes_nobody_else_of_the_account_is_renamed(pool in pool(), gone in 0_usize..14) {
        let mut syncs = Syncs(NameHistory::new(), 0);
        let first = syncs.run(&pool, false);
        let gone = pool[gone % pool.len()].id.clone();
        let rest: Vec<AliasRequest> = pool.into_iter().filter(|request| request.id != gone).collect();
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
    let member = |digits| AliasRequest { always_suffixed: true, ..request(digits, "grp") };
    let thief = |digits, name| of_source(1, "222233334444", request(digits, name));
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[member(A), member(C)], false);
    for _ in 0..3 {
        let assignment = syncs.run(&[member(C), thief("1fff12def34567890", "grp-0abc12")], false);
        assert_eq!(alias(&assignment, "1fff12def34567890"), "grp-0abc12-1fff12");
        assert!(matches!(&assignment.shared["grp-0abc12"].1, Shared::Waits { .. }));
    }
    // One that has got the bare name keeps its suffixed one.
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[request(A, "app"), request(C, "app")], false);
    syncs.run(&[request(A, "app")], false);
    for _ in 0..3 {
        let assignment = syncs.run(&[request(A, "app"), thief("1fff12def34567890", "app-0abc12")], false);
        assert_eq!(assignment.names[&id(A)], Names { alias: "app".into(), others: vec!["app-0abc12".into()] });
        assert!(assignment.moves.is_empty() && assignment.shared.is_empty());
    }
}

#[test]
fn the_newest_of_a_later_source_keeps_the_name_from_an_earlier_one() {
    let newest =
        |rank, digits, launched| AliasRequest { newest: true, launched, ..of_source(rank, "1", request(digits, "db")) };
    let mut syncs = Syncs(NameHistory::new(), 0);
    syncs.run(&[newest(1, A, 1)], false);
    for _ in 0..2 {
        let assignment = syncs.run(&[newest(0, C, 5), newest(1, A, 1), newest(1, B, 3)], false);
        assert!(assignment.names[&id(B)].others.contains(&"db".to_owned()), "{assignment:?}");
        assert_eq!(assignment.stayed.len(), 1);
    }
    let assignment = syncs.run(&[newest(0, C, 5), newest(1, B, 3)], true);
    assert_eq!(alias(&assignment, C), "db");
}

#[test]
fn no_spelling_shadows_an_existing_name() {
    let conflict_of = |name: &str, _: bool| (name == "Bastion").then_some(Conflict::Block(7));
    for newest in [false, true] {
        let one = AliasRequest { newest, ..request(A, "Bastion") };
        let two = AliasRequest { newest, ..request(C, "bastion") };
        let assignment = assigned(&[one, two], &NameHistory::new(), &conflict_of, false);
        let all = assignment.names.values().flat_map(|names| std::iter::once(&names.alias).chain(&names.others));
        let shared = assignment.shared.values().flat_map(|(spellings, _)| spellings);
        assert!(all.chain(shared).all(|name| name != "Bastion"), "{assignment:?}");
    }
}
