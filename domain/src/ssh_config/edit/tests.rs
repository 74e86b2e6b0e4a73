use proptest::prelude::*;

use super::*;

const LINE: &str = "Include /home/u/.ssh/eic/guard /home/u/.ssh/eic/hosts /home/u/.ssh/eic/hook";
const BODY: &str = "Host web\n    HostName 10.0.0.1\n";

fn inserted(config: &[u8], part: Part<'_>) -> Vec<u8> {
    match insert(config, LINE, part) {
        Edit::Replace(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_line_goes_to_the_very_top_in_the_file_s_own_line_ends() {
    for (config, expected) in [
        ("", format!("{COMMENT}\n{LINE}\n")),
        ("Host a\r\n", format!("{COMMENT}\r\n{LINE}\r\nHost a\r\n")),
        ("# mine", format!("{COMMENT}\n{LINE}\n# mine")),
    ] {
        assert_eq!(inserted(config.as_bytes(), Part::Line), expected.into_bytes());
    }
}

#[test]
fn what_works_stays_where_it_is() {
    let config = format!("# my config\nUser u\n  {LINE}\nHost a\n");
    assert_eq!(insert(config.as_bytes(), LINE, Part::Line), Edit::Nothing);
    let with_block = [b"User u\n".as_slice(), block(BODY).as_bytes(), b"Host a\n"].concat();
    assert_eq!(insert(&with_block, LINE, Part::Block(BODY)), Edit::Nothing);
    let changed = inserted(&with_block, Part::Block("Host db\n"));
    assert_eq!(changed, [b"User u\n".as_slice(), block("Host db\n").as_bytes(), b"Host a\n"].concat());
}

#[test]
fn what_stands_inside_a_block_is_told_and_not_touched() {
    for own in [format!("{LINE}\n"), block(BODY)] {
        let config = format!("User u\nmatch=all\n{own}");
        let trouble = Trouble::Misplaced { line: 3, block: 2 };
        assert_eq!(insert(config.as_bytes(), LINE, Part::Line), Edit::Stop(trouble));
        assert_eq!(insert(config.as_bytes(), LINE, Part::Block(BODY)), Edit::Stop(trouble));
    }
}

#[test]
fn another_spelling_of_our_line_is_as_good() {
    for spelled in [
        "Include ~/.ssh/eic/guard ~/.ssh/eic/hosts ~/.ssh/eic/hook",
        "include eic/guard \"eic/hosts\" eic/hook",
        "Include = eic/guard eic/hosts eic/hook",
    ] {
        let config = format!("{spelled}\nHost a\n");
        assert_eq!(insert(config.as_bytes(), LINE, Part::Line), Edit::Nothing, "{spelled}");
        assert_eq!(remove(config.as_bytes(), LINE).unwrap(), b"Host a\n");
    }
    let other = "Include ~/eic/guard other/guard /x/.ssh/eic/guard\n";
    assert_eq!(remove(other.as_bytes(), LINE).unwrap(), other.as_bytes());
}

#[test]
fn damaged_marks_and_edited_blocks_stop_with_their_line() {
    let own = block(BODY);
    let (begin, rest) = own.split_once('\n').unwrap();
    let end = format!("{END} <<<\n");
    let table = [
        (format!("A b\n{begin}\nHost x\n"), Trouble::Unclosed { line: 2 }),
        (format!("{begin}\n{own}"), Trouble::Unclosed { line: 1 }),
        (format!("Host x\n{end}"), Trouble::Unopened { line: 2 }),
        (format!("{own}{end}"), Trouble::Unopened { line: 6 }),
        (format!("{begin}\n    User me\n{rest}"), Trouble::EditedBlock { line: 1, end: 6 }),
        (own.replace('\n', "\r\n"), Trouble::EditedBlock { line: 1, end: 5 }),
    ];
    for (config, trouble) in table {
        assert_eq!(insert(config.as_bytes(), LINE, Part::Line), Edit::Stop(trouble), "{config}");
        assert_eq!(insert(config.as_bytes(), LINE, Part::Block(BODY)), Edit::Stop(trouble), "{config}");
        assert_eq!(remove(config.as_bytes(), LINE), Err(trouble), "{config}");
    }
}

#[test]
fn an_include_of_an_earlier_version_is_replaced() {
    let config = "Include /home/u/.ssh/eic/guard /home/u/.ssh/eic/old\nHost a\n";
    assert_eq!(inserted(config.as_bytes(), Part::Line), format!("{COMMENT}\n{LINE}\nHost a\n").into_bytes());
}

#[test]
fn a_line_without_its_comment_is_kept_and_removed() {
    let config = format!("User u\n{LINE}\nHost a\n");
    assert_eq!(insert(config.as_bytes(), LINE, Part::Line), Edit::Nothing);
    assert_eq!(remove(config.as_bytes(), LINE).unwrap(), b"User u\nHost a\n");
}

#[test]
fn the_comment_is_removed_also_where_its_line_was_deleted_or_moved() {
    let moved = format!("{COMMENT}\nUser u\n{LINE}\nHost a\n");
    assert_eq!(insert(moved.as_bytes(), LINE, Part::Line), Edit::Nothing);
    assert_eq!(remove(moved.as_bytes(), LINE).unwrap(), b"User u\nHost a\n");
    let deleted = format!("User u\nHost a\n  {COMMENT}\n{COMMENT}\n");
    let inserted = inserted(deleted.as_bytes(), Part::Line);
    assert_eq!(inserted, format!("{COMMENT}\n{LINE}\nUser u\nHost a\n  {COMMENT}\n").into_bytes());
    let parts = present(&inserted, LINE).unwrap();
    assert!(parts[0].line == 2 && !parts[0].is_block && parts.len() == 1);
    assert!(present(block(BODY).as_bytes(), LINE).unwrap()[0].is_block);
}

#[test]
fn lines_of_the_user_s_own_are_never_taken_for_ours() {
    let line = "Include \"/home/a b/.ssh/eic/guard\" \"/home/a b/.ssh/eic/hosts\"";
    let own = "Include \"/home/a b/work.conf\"\nHost mine\n    Include \"/home/a c\"\n";
    assert_eq!(
        insert(own.as_bytes(), line, Part::Line),
        Edit::Replace(format!("{COMMENT}\n{line}\n{own}").into_bytes())
    );
    assert_eq!(remove(own.as_bytes(), line).unwrap(), own.as_bytes());
    let edited = format!("User u\n{LINE} /home/u/.ssh/more\n");
    let trouble = Trouble::EditedLine { line: 2 };
    assert_eq!(insert(edited.as_bytes(), LINE, Part::Line), Edit::Stop(trouble));
}

/// Lines that mean something here, in any mix, and bytes that mean nothing.
fn config() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"Host a b\n".to_vec()),
        Just(b"  match all\r\n".to_vec()),
        Just(b"Include ~/.ssh/conf.d/*\n".to_vec()),
        Just(b"include \"/home/u/.ssh/other/guard\"\r\n".to_vec()),
        Just(b"# >>> mine >>>\n".to_vec()),
        Just(b"\tUser me\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"Port 22".to_vec()),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn removing_gives_back_every_byte_whatever_the_layouts_were(
        config in config(),
        layouts in prop::collection::vec(any::<bool>(), 1..4),
    ) {
        prop_assume!(!config.starts_with(b"\xef\xbb\xbf"));
        let mut edited = config.clone();
        for inline in layouts {
            let part = if inline { Part::Block(BODY) } else { Part::Line };
            edited = match insert(&edited, LINE, part) {
                Edit::Replace(edited) => edited,
                Edit::Nothing => edited,
                other @ Edit::Stop(_) => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(insert(&edited, LINE, part), Edit::Nothing);
        }
        prop_assert_eq!(remove(&edited, LINE), Ok(config));
    }
}
