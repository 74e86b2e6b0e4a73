//! The default OS user of an image, derived from its name and owner.
//!
//! Sources: the AWS page "Manage system users on your EC2 Linux instance" and the documentation of the publishers. Image
//! names are not trusted: the result is always one of a few fixed users, and an IAM policy never allows `root` because of
//! it (`command::policy`).

use serde::{Deserialize, Serialize};

use crate::ids::OsUser;

/// An image as returned by DescribeImages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name that the owner chose.
    pub name: String,
    /// The account id of the owner, or an owner alias such as `amazon`.
    pub owner: String,
}

/// Words in image names with the OS user, most specific first: the name of a Bitnami image also has its distribution.
const WORDS: [(&str, &str); 26] = [
    ("bitnami", "bitnami"),
    ("flatcar", "core"),
    ("coreos", "core"),
    ("rhcos", "core"),
    ("ubuntu", "ubuntu"),
    ("amzn", "ec2-user"),
    ("amazon", "ec2-user"),
    ("al2023", "ec2-user"),
    ("rocky", "rocky"),
    ("alma", "ec2-user"),
    ("almalinux", "ec2-user"),
    ("centos", "centos"),
    ("fedora", "fedora"),
    ("rhel", "ec2-user"),
    ("suse", "ec2-user"),
    ("opensuse", "ec2-user"),
    ("sles", "ec2-user"),
    ("freebsd", "ec2-user"),
    ("debian", "admin"),
    ("kali", "kali"),
    ("alpine", "alpine"),
    ("arch", "arch"),
    ("oracle", "ec2-user"),
    ("nixos", "root"),
    ("vyos", "vyos"),
    ("ecs", "ec2-user"),
];

/// Accounts of publishers with the OS user of all their images.
const OWNERS: [(&str, &str); 9] = [
    ("099720109477", "ubuntu"),
    ("136693071363", "admin"),
    ("379101102735", "admin"),
    ("309956199498", "ec2-user"),
    ("792107900819", "rocky"),
    ("764336703387", "ec2-user"),
    ("125523088429", "centos"),
    ("013907871322", "ec2-user"),
    ("979382823631", "bitnami"),
];

/// The default OS user, or `None` if name and owner are unknown.
#[must_use]
pub fn os_user(image: &Image) -> Option<OsUser> {
    let name = image.name.to_ascii_lowercase();
    let by_word = || {
        let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let is = |word: &str, found: &&str| {
            // A version number can directly follow the word: `amzn2`, `debian12`.
            found.strip_prefix(word).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        WORDS.iter().find(|(word, _)| words.iter().any(|found| is(word, found))).map(|(_, user)| *user)
    };
    // Fedora and CentOS share one account, so the name takes precedence.
    let by_owner = || OWNERS.iter().find(|(owner, _)| *owner == image.owner).map(|(_, user)| *user);
    by_word().or_else(by_owner).and_then(OsUser::parse)
}

/// Whether the image includes EC2 Instance Connect, according to the AWS page "Install EC2 Instance Connect on your EC2
/// instances"; `None` if the name is unknown.
#[must_use]
pub fn has_instance_connect(image: &Image) -> Option<bool> {
    let name = image.name.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if is(&["ecs", "minimal", "debian", "rhel", "centos", "rocky", "alma", "fedora", "suse", "sles", "freebsd"]) {
        return Some(false);
    }
    is(&["ubuntu", "amzn", "al2023", "amazon linux"]).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_users_of_published_image_names() {
        let table = [
            ("al2023-ami-2023.5.20240701.0-kernel-6.1-x86_64", "137112412989", Some("ec2-user")),
            ("amzn2-ami-kernel-5.10-hvm-2.0.20240620.0-x86_64-gp2", "amazon", Some("ec2-user")),
            ("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20240701", "099720109477", Some("ubuntu")),
            ("debian-12-amd64-20240701-1795", "136693071363", Some("admin")),
            ("RHEL-9.4.0_HVM-20240605-x86_64-82-Hourly2-GP3", "309956199498", Some("ec2-user")),
            ("suse-sles-15-sp6-v20240629-hvm-ssd-x86_64", "013907871322", Some("ec2-user")),
            ("CentOS Linux 7 x86_64 HVM EBS ENA 2002_01", "679593333241", Some("centos")),
            ("Fedora-Cloud-Base-40-1.14.x86_64-hvm-us-east-1-gp3-0", "125523088429", Some("fedora")),
            ("Rocky-9-EC2-Base-9.4-20240523.0.x86_64", "792107900819", Some("rocky")),
            ("AlmaLinux OS 9.4.20240513 x86_64", "764336703387", Some("ec2-user")),
            ("bitnami-wordpress-6.5.5-1-r01-linux-debian-12-x86_64-hvm-ebs", "979382823631", Some("bitnami")),
            ("FreeBSD 14.1-RELEASE-amd64 UEFI-PREFERRED", "782442783595", Some("ec2-user")),
            ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20240624", "amazon", Some("ubuntu")),
            ("Deep Learning AMI (Amazon Linux 2) Version 82.0", "amazon", Some("ec2-user")),
            ("corp-golden-ubuntu-2204-v17", "111122223333", Some("ubuntu")),
            ("nothing to tell by", "099720109477", Some("ubuntu")),
            ("nothing to tell by", "111122223333", None),
            ("monarch-search", "111122223333", None),
            ("$(reboot)';", "", None),
        ];
        for (name, owner, user) in table {
            let image = Image { name: name.to_owned(), owner: owner.to_owned() };
            assert_eq!(os_user(&image).as_ref().map(OsUser::as_str), user, "{name}");
        }
    }
}
