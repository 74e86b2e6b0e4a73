//! `known_hosts` files of a company: keys, `@cert-authority` and `@revoked`.

use sandbox::{Change, Console, HostCertificate, Instance};

use super::{configured, deny, forget, unseen, update};
use crate::world::World;

/// A world with a company's file, under `require-console`.
fn world_with_file() -> World {
    let world = World::new();
    world.write("company", "");
    let file = world.home().join("company");
    let lines = format!("[ssh]\nhost_keys = \"require-console\"\nknown_hosts = [{:?}]\n", file.display().to_string());
    configured(world, &lines)
}

#[sandbox::needs_namespaces]
#[test]
fn a_key_in_the_company_s_file_needs_no_console() {
    let world = world_with_file();
    let id = &world.web1;
    world.sandbox.warm().unwrap();
    let key = world.sandbox.host_keys(id);
    update(&world, id, Change { console: Some(Console::Silent), ..Change::default() });
    forget(&world, id);
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("cannot verify the ED25519 host key");
    world.write("company", &format!("{id} {key}"));
    world.ssh(&["prod-web-1", "true"]).ok();
    deny(&world, &["GetConsoleOutput"]);
    forget(&world, id);
    world.ssh(&["prod-web-1", "true"]).ok();
    world.write("company", &format!("{id} {key}@revoked * {key}"));
    let output =
        world.ssh(&["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "prod-web-1", "true"]);
    output.fails_with(255).says("company:2 revokes");
}

#[sandbox::needs_namespaces]
#[test]
fn a_certificate_is_valid_for_the_instance_that_it_names() {
    let world = world_with_file();
    let name = "certified";
    let id = unseen(&world, Instance::new(name).address("10.0.3.62").console(Console::Silent));
    world.write("company", &format!("@cert-authority * {}\n", world.sandbox.host_ca().unwrap().trim_end()));
    let set = |principals: &[&str]| {
        let certificate = Some(HostCertificate::new(principals));
        update(&world, &id, Change { host_certificate: certificate, ..Change::default() });
        forget(&world, &id);
    };
    set(&[&id]);
    world.eic(&["sync"]).ok();
    let output = world.ssh(&[name, "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{id}\n"));
    assert!(!output.stderr.contains("Permanently added"), "{output}");
    set(&[&world.web2, "certified"]);
    let output = world.ssh(&["-o", "StrictHostKeyChecking=no", name, "true"]);
    output.fails_with(255).says("host certificate that is not valid for it").says("its certificate is for ");
}

#[sandbox::needs_namespaces]
#[test]
fn an_expired_certificate_and_one_of_another_authority_are_refused() {
    let world = world_with_file();
    let name = "certified";
    let id = unseen(&world, Instance::new(name).address("10.0.3.63").console(Console::Silent));
    world.write("company", &format!("@cert-authority * {}\n", world.sandbox.host_ca().unwrap().trim_end()));
    let principal = [id.as_str()];
    let valid = HostCertificate::new(&principal);
    let expired = HostCertificate { validity: "-2h:-1h".to_owned(), ..valid.clone() };
    let early = HostCertificate { validity: "+1h:+2h".to_owned(), ..valid.clone() };
    for (certificate, words) in [
        (expired, "its certificate has expired"),
        (early, "its certificate is not valid yet"),
        (HostCertificate::forged(&principal), "cannot verify the ED25519 host key"),
    ] {
        update(&world, &id, Change { host_certificate: Some(certificate), ..Change::default() });
        world.eic(&["sync"]).ok();
        for first_contact in [true, false] {
            if first_contact {
                forget(&world, &id);
            }
            let output =
                world.ssh(&["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", name, "true"]);
            output.fails_with(255).says(words);
            assert!(!output.stderr.contains("Permanently added"), "{output}");
        }
    }
    update(&world, &id, Change { host_certificate: Some(valid), ..Change::default() });
    assert_eq!(world.ssh(&[name, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
}

/// A host certificate for `principal`, signed by the authority of the sandbox, made by ssh-keygen: its blob.
fn certificate_blob(world: &World, principal: &str) -> Vec<u8> {
    let ca = world.sandbox.dir().join("host_ca");
    let script = format!(
        "rm -f host host.pub && ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -s {} -h -I x -n {principal} host.pub && cut -d' ' -f2 host-cert.pub | base64 -d | od -An -v -tu1",
        ca.display()
    );
    world.sh(&script).ok().split_whitespace().map(|byte| byte.parse().unwrap()).collect()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A binary packet before keys are in use (RFC 4253 section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let short = 8 - (5 + payload.len()) % 8;
    let padding = if short < 4 { short + 8 } else { short };
    string(&[&[u8::try_from(padding).unwrap()], payload, &vec![0; padding]].concat())
}

/// A server's version line and KEXINIT, and its reply to a curve25519 key exchange: it presents `host_key` and cannot sign.
fn impostor(host_key: &[u8]) -> [Vec<u8>; 2] {
    let mut kexinit = vec![20];
    kexinit.extend([7; 16]);
    for names in [
        "curve25519-sha256",
        "ssh-ed25519-cert-v01@openssh.com",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ] {
        kexinit.extend(string(names.as_bytes()));
    }
    kexinit.extend([0; 5]);
    let signature = [string(b"ssh-ed25519"), string(&[1; 64])].concat();
    let reply = [vec![31], string(host_key), string(&[9; 32]), string(&signature)].concat();
    [[b"SSH-2.0-impostor\r\n".to_vec(), packet(&kexinit)].concat(), packet(&reply)]
}

#[sandbox::needs_namespaces]
#[test]
fn a_certificate_whose_signature_is_not_the_authority_s_is_refused_by_ssh() {
    let world = world_with_file();
    world.write("company", &format!("@cert-authority * {}\n", world.sandbox.host_ca().unwrap().trim_end()));
    let log_in = |name: &str, id: &str, break_signature: bool| {
        let mut blob = certificate_blob(&world, id);
        if break_signature {
            *blob.last_mut().unwrap() ^= 1;
        }
        let [greeting, reply] = impostor(&blob);
        let instance = Instance::new(name).id(id).console(Console::Silent);
        world.add(instance.greeting(greeting).reply(reply));
        let output = world.ssh(&["-v", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", name, "true"]);
        output.fails_with(255).says("incorrect signature");
        output
    };
    // With the authority's signature ssh goes on to the host key's signature over the key exchange.
    log_in("whole", "i-0123456789abcdef1", false).says("Server host certificate: ssh-ed25519-cert-v01@openssh.com");
    let output = log_in("broken", "i-0123456789abcdef2", true);
    assert!(!output.stderr.contains("Server host certificate"), "{output}");
}
