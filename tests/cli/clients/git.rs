//! git over ssh, as people use it: nothing in its environment or config names an ssh.

use sandbox::needs_namespaces;

use crate::world::World;

const PEOPLE: &str = "set -e; unset GIT_SSH GIT_SSH_COMMAND
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_NOSYSTEM=1
    git config --global init.defaultBranch main\n";

fn git(world: &World, script: &str) -> String {
    world.sh(&format!("{PEOPLE}{script}")).ok().to_owned()
}

#[needs_namespaces]
#[test]
fn git_clones_pushes_and_fetches_by_alias_and_by_url() {
    let world = World::new();
    let script = "ssh prod-web-1 'git init -q --bare repo.git'
        git clone -q prod-web-1:repo.git work 2>/dev/null; cd work
        head -c 3000000 /dev/urandom > blob; git add blob; git commit -q -m first
        git push -q origin HEAD:main && git ls-remote origin main | cut -f2
        git clone -q ssh://prod-web-1/~/repo.git ../again && cmp blob ../again/blob
        git commit -q --allow-empty -m second && git push -q origin HEAD:main HEAD:refs/tags/v1
        git -C ../again fetch -q --tags && git -C ../again log -1 --format=%s v1";
    assert_eq!(git(&world, script), "refs/heads/main\nsecond\n");
    assert_eq!(world.pushes().len(), 1, "one for all of them");
}

#[needs_namespaces]
#[test]
fn submodules_on_another_instance_are_cloned_in_parallel() {
    let world = World::new();
    let script = "for name in one two; do
            git init -q $name && (cd $name && echo $name > file && git add file && git commit -q -m $name)
            ssh prod-web-2 \"git init -q --bare $name.git\" 2>/dev/null
            git -C $name push -q prod-web-2:$name.git main
        done
        git init -q whole && cd whole
        git submodule --quiet add prod-web-2:one.git one 2>/dev/null
        git submodule --quiet add prod-web-2:two.git two 2>/dev/null
        git commit -q -m whole && ssh prod-web-1 'git init -q --bare whole.git' 2>/dev/null
        git push -q prod-web-1:whole.git main; cd ..
        git clone -q --recurse-submodules --jobs 2 prod-web-1:whole.git copy 2>/dev/null
        cat copy/one/file copy/two/file";
    assert_eq!(git(&world, script), "one\ntwo\n");
    assert_eq!(world.pushes().len(), 2, "one for each instance");
}
