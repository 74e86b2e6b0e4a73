//! A reader of `known_hosts` files: names, patterns, hashed names and markers (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! [`entries`] reads every line for any purpose; [`keys_for`] collects the keys that are listed for one name. Lines that
//! ssh ignores are ignored: comments, unknown markers, keys of an unknown type or with a wrong structure.
//! Not here: writing such files, and keys from a console (`console`).

use crate::hashed_name::HashedName;
use crate::host_key::HostKey;
use crate::pattern;

/// What a key on a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A host's own key.
    Host,
    /// `@cert-authority`: signs host certificates.
    Authority,
    /// `@revoked`: not accepted as either.
    Revoked,
}

/// A line of a `known_hosts` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The line's number, from 1.
    pub line: usize,
    /// What the key is for.
    pub role: Role,
    /// The field of names as it is in the file.
    hosts: &'a str,
    /// The key, or `None` if its type is unknown or its structure is wrong.
    pub key: Option<HostKey>,
}

impl<'a> Entry<'a> {
    /// Reads one line; `None` for blank lines, comments, unknown markers and lines with too few fields.
    fn parse(line: usize, text: &'a [u8]) -> Option<Self> {
        // ssh reads bytes and allows any in a comment, which follows the fields that are read here.
        let mut fields = text.split(|b| b" \t\r".contains(b)).filter(|field| !field.is_empty());
        let mut field = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
        let mut hosts = field()?;
        let role = match hosts {
            "@cert-authority" => Role::Authority,
            "@revoked" => Role::Revoked,
            marker if marker.starts_with(['@', '#']) => return None,
            _ => Role::Host,
        };
        if role != Role::Host {
            hosts = field()?;
        }
        let (type_name, base64) = (field()?, field()?);
        Some(Self { line, role, hosts, key: HostKey::from_fields(type_name, base64) })
    }

    /// Whether the line applies to `name`: what ssh looks up, so a HostKeyAlias, or [`name_with_port`].
    ///
    /// Letter case does not count, except in a hashed name. A negated pattern that matches excludes the line.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.hosts.starts_with('|') {
            return HashedName::is_hash_of(self.hosts, name);
        }
        let hosts = self.hosts.to_ascii_lowercase();
        pattern::matches_list(hosts.split(','), &name.to_ascii_lowercase())
    }
}

/// Every line that has names and a key, in the file's order.
pub fn entries(file: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    file.split(|&b| b == b'\n').enumerate().filter_map(|(index, text)| Entry::parse(index + 1, text))
}

/// The name that ssh looks up for a host without a HostKeyAlias: `[host]:port` unless the port is 22.
#[must_use]
pub fn name_with_port(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// A key and where it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: HostKey,
    /// The file, as the caller named it.
    pub file: String,
    /// The line's number, from 1.
    pub line: usize,
}

/// The keys that files list for one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownKeys {
    /// Keys of the host itself.
    pub hosts: Vec<ListedKey>,
    /// Keys that sign certificates for the host.
    pub authorities: Vec<ListedKey>,
    /// Keys that are not accepted, neither for the host nor as an authority.
    pub revoked: Vec<ListedKey>,
}

impl KnownKeys {
    /// Adds the keys that the content of `file` lists for `name`.
    pub fn add(&mut self, file: &str, content: &[u8], name: &str) {
        for entry in entries(content) {
            // The key first: a name is not compared with the patterns of a line that ssh ignores.
            let Some(key) = entry.key.clone().filter(|_| entry.matches(name)) else { continue };
            let listed = ListedKey { key, file: file.to_owned(), line: entry.line };
            match entry.role {
                Role::Host => self.hosts.push(listed),
                Role::Authority => self.authorities.push(listed),
                Role::Revoked => self.revoked.push(listed),
            }
        }
    }
}

/// The keys that one file lists for `name`.
#[must_use]
pub fn keys_for(file: &str, content: &[u8], name: &str) -> KnownKeys {
    let mut keys = KnownKeys::default();
    keys.add(file, content, name);
    keys
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "i-0123456789abcdef0";
    const ED25519: &str = include_str!("testdata/kex/ed25519.pub");
    const RSA: &str = include_str!("testdata/kex/rsa.pub");

    const NOTHING: [Vec<usize>; 3] = [Vec::new(), Vec::new(), Vec::new()];

    fn roles(file: &str, name: &str) -> [Vec<usize>; 3] {
        let keys = keys_for("f", file.as_bytes(), name);
        [keys.hosts, keys.authorities, keys.revoked].map(|keys| keys.iter().map(|key| key.line).collect())
    }

    #[test]
    fn names_patterns_negation_and_ports() {
        let table: [(&str, &str, bool); 14] = [
            (ID, ID, true),
            ("web-1,i-0123456789abcdef0", ID, true),
            ("web-1,10.0.0.1", ID, false),
            ("i-*", ID, true),
            ("i-0123456789abcdef?", ID, true),
            ("*,!i-0*", ID, false),
            ("!i-0*,*", ID, false),
            ("!i-1*", ID, false),
            ("!i-1*,i-*", ID, true),
            ("WEB-1", "web-1", true),
            ("web-1", "Web-1", true),
            ("[web-1]:2222", &name_with_port("web-1", 2222), true),
            ("web-1", &name_with_port("web-1", 2222), false),
            ("web-1", &name_with_port("web-1", 22), true),
        ];
        for (hosts, name, expected) in table {
            let file = format!("{hosts} {ED25519}");
            let [lines, ..] = roles(&file, name);
            assert_eq!(lines == [1], expected, "{hosts} {name}");
        }
    }

    #[test]
    fn markers_give_the_key_its_role() {
        let file = format!(
            "# comment\n\n@cert-authority i-* {ED25519}@revoked * {RSA}\t {ID}\t{RSA}@unknown * {RSA}#{ID} {RSA}@revoked\n"
        );
        assert_eq!(roles(&file, ID), [vec![5], vec![3], vec![4]]);
        assert_eq!(roles(&file, "web-1"), [vec![], vec![], vec![4]]);
    }

    #[test]
    fn a_hashed_name_is_the_one_that_ssh_keygen_hashed() {
        // `ssh-keygen -H` of two lines, for the instance id and for `[web-1]:2222`.
        let file = include_str!("testdata/known_hosts.hashed");
        assert_eq!(roles(file, ID), [vec![1], vec![], vec![]]);
        assert_eq!(roles(file, &name_with_port("web-1", 2222)), [vec![2], vec![], vec![]]);
        assert_eq!(roles(file, "i-0123456789abcdef1"), NOTHING);
        for broken in ["|", "|1|", "|1|a|b", "|2|AAAA|AAAA", "|1||"] {
            assert_eq!(roles(&format!("{broken} {ED25519}"), ID), NOTHING, "{broken}");
        }
    }

    #[test]
    fn malformed_lines_are_ignored_and_the_others_are_not() {
        let mut file = b"i-0123456789abcdef0\ni-0123456789abcdef0 ssh-ed25519\n\xff\xfe ssh-rsa AAAA\n".to_vec();
        file.extend(format!("{ID} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n{ID} ssh-rsa {}", &ED25519[12..]).bytes());
        file.extend(format!("{ID} 2048 65537 123\r\n{ID} {}", ED25519.trim_end()).bytes());
        file.extend(b" caf\xe9\r\n");
        let keys = keys_for("/etc/known", &file, ID);
        assert_eq!(keys.hosts.len(), 1);
        assert_eq!((keys.hosts[0].file.as_str(), keys.hosts[0].line), ("/etc/known", 7));
        // For other readers: a line whose key is unknown still names its host.
        assert_eq!(entries(&file).filter(|entry| entry.matches(ID)).count(), 4);
    }

    proptest! {
        #[test]
        fn a_written_line_is_read_and_arbitrary_bytes_around_it_do_not_matter(before in prop::collection::vec(any::<u8>(), 0..200), after in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = HostKey::parse(ED25519).unwrap();
            let file = [&before[..], b"\n", key.known_hosts_line(ID).as_bytes(), &after].concat();
            let keys = keys_for("f", &file, ID);
            prop_assert_eq!(&keys.hosts[0].key, &key);
        }
    }
}
