//! Which of AWS's names is asked: their own by region, FIPS and dual-stack ones, or those of the environment and of
//! ~/.aws/config. Every call goes through a proxy that notes the name and leads to the stand-in, so that nothing here
//! but the name decides.

use sandbox::Instance;

use super::{ConnectProxy, eic, port_of, with};
use crate::sources::configure;
use crate::world::{World, run};

/// What is set, and who is asked then at a sync and at a push.
struct Case<'a> {
    environment: &'a [(&'a str, &'a str)],
    /// Further lines of the profile in ~/.aws/config, and sections behind it.
    profile: &'a str,
    sync: &'a [&'a str],
    push: &'a str,
}

const STS: &str = "sts.eu-west-1.amazonaws.com:443";
const EC2: &str = "ec2.eu-west-1.amazonaws.com:443";
const EIC: &str = "ec2-instance-connect.eu-west-1.amazonaws.com:443";

const ALL: &str = "AWS_ENDPOINT_URL";
const OF_EIC: &str = "AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT";
const OF_EC2: &str = "AWS_ENDPOINT_URL_EC2";
const FIPS: (&str, &str) = ("AWS_USE_FIPS_ENDPOINT", "true");
const DUAL: (&str, &str) = ("AWS_USE_DUALSTACK_ENDPOINT", "true");

/// Lets the next connection push again.
fn forget_pushes(world: &World) {
    for file in std::fs::read_dir(world.eic_folder().join("keys")).unwrap().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "push") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
}

fn check(world: &World, proxy: &ConnectProxy<'_>, host: &str, case: &Case<'_>) {
    let Case { environment, profile, sync, push } = case;
    let config = format!("[profile prod]\nregion = eu-west-1\n{profile}\n");
    world.write(".aws/config", &config);
    let url = proxy.url();
    let environment: Vec<(&str, &str)> =
        [("-AWS_ENDPOINT_URL", ""), ("HTTPS_PROXY", url.as_str())].iter().chain(*environment).copied().collect();
    let what = format!("{environment:?}\n{config}");
    let connect = |names: &[&str]| names.iter().map(|name| format!("CONNECT {name}")).collect::<Vec<_>>();
    let _ = std::fs::remove_dir_all(world.home().join(".cache/ssh-eic/credentials"));
    run(with(eic(world, &["sync"]), &environment)).ok();
    assert_eq!(proxy.targets(), connect(sync), "a sync under {what}");
    forget_pushes(world);
    run(with(world.ssh_command(&[host, "true"]), &environment)).ok();
    assert_eq!(proxy.targets(), connect(&[push]), "a push under {what}");
}

#[test]
fn without_settings_the_default_endpoints_are_used() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let plain = Case { environment: &[], profile: "", sync: &[EC2, STS], push: EIC };
    check(&world, &proxy, "prod-web-1", &plain);
}

#[test]
fn endpoints_of_the_environment_are_used_per_service() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let port = port_of(world.sandbox.endpoint()).to_owned();
    let (here, there) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
    let urls = [format!("https://{here}"), format!("https://{there}")];
    let [here_url, there_url] = urls.each_ref().map(String::as_str);
    let ignore = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let case = |environment, sync, push| Case { environment, profile: "", sync, push };
    for case in [
        case(&[(ALL, here_url)], &[&here], &here),
        case(&[(OF_EIC, here_url)], &[EC2, STS], &here),
        case(&[(OF_EC2, here_url)], &[&here, STS], EIC),
        case(&[(OF_EC2, here_url), (OF_EIC, there_url)], &[&here, STS], &there),
        case(&[(ALL, here_url), (OF_EIC, there_url)], &[&here], &there),
        case(&[(ALL, here_url), (OF_EC2, there_url)], &[&here, &there], &here),
        case(&[(ALL, here_url), (OF_EIC, there_url), ignore], &[EC2, STS], EIC),
    ] {
        check(&world, &proxy, "prod-web-1", &case);
    }
}

/// A services section with an endpoint for one of them, in the words of the SDKs' reference guide.
fn services(service: &str, url: &str) -> String {
    format!("services = ours\n[services ours]\n{service} =\n  endpoint_url = {url}\n")
}

#[test]
fn endpoints_of_the_profile_are_used_per_service() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let url = world.sandbox.endpoint().to_owned();
    let here = url.strip_prefix("https://").unwrap();
    let there = format!("localhost:{}", port_of(&url));
    let all = format!("endpoint_url = {url}\n");
    let ec2 = services("ec2", &format!("https://{there}"));
    let both = format!("{all}{ec2}");
    let ignored = format!("ignore_configured_endpoint_urls = true\n{both}");
    let case = |profile, sync, push| Case { environment: &[], profile, sync, push };
    for case in [
        case(&all, &[here], here),
        case(&ec2, &[&there, STS], EIC),
        case(&both, &[here, &there], here),
        case(&ignored, &[EC2, STS], EIC),
        // The environment comes first, even for all services over the file for one.
        Case { environment: &[("AWS_ENDPOINT_URL", &url)], profile: &ec2, sync: &[here], push: here },
    ] {
        check(&world, &proxy, "prod-web-1", &case);
    }
}

#[test]
fn an_endpoint_of_the_profile_for_instance_connect_only_is_used() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let url = world.sandbox.endpoint().to_owned();
    let profile = services("ec2_instance_connect", &url);
    let push = url.strip_prefix("https://").unwrap();
    check(&world, &proxy, "prod-web-1", &Case { environment: &[], profile: &profile, sync: &[EC2, STS], push });
}

#[test]
fn fips_and_dual_stack_names_are_those_of_aws() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let fips_sync: &[&str] = &["ec2-fips.eu-west-1.amazonaws.com:443", "sts-fips.eu-west-1.amazonaws.com:443"];
    let fips = "ec2-instance-connect-fips.eu-west-1.amazonaws.com:443";
    let dual_sync: &[&str] = &["ec2.eu-west-1.api.aws:443", "sts.eu-west-1.api.aws:443"];
    let dual = "ec2-instance-connect.eu-west-1.api.aws:443";
    let both_sync: &[&str] = &["ec2-fips.eu-west-1.api.aws:443", "sts-fips.eu-west-1.api.aws:443"];
    let both = "ec2-instance-connect-fips.eu-west-1.api.aws:443";
    for case in [
        Case { environment: &[FIPS], profile: "", sync: fips_sync, push: fips },
        Case { environment: &[], profile: "use_fips_endpoint = true\n", sync: fips_sync, push: fips },
        Case { environment: &[DUAL], profile: "", sync: dual_sync, push: dual },
        Case { environment: &[], profile: "use_dualstack_endpoint = true\n", sync: dual_sync, push: dual },
        Case { environment: &[FIPS, DUAL], profile: "", sync: both_sync, push: both },
    ] {
        check(&world, &proxy, "prod-web-1", &case);
    }
}

#[test]
fn regions_of_china_have_their_own_domain() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    world.sandbox.add(Instance::new("cn-web").region("cn-north-1").address("10.5.0.1")).unwrap();
    configure(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"cn-north-1\"]\n");
    let sync: &[&str] = &["ec2.cn-north-1.amazonaws.com.cn:443", "sts.cn-north-1.amazonaws.com.cn:443"];
    let push = "ec2-instance-connect.cn-north-1.amazonaws.com.cn:443";
    check(&world, &proxy, "cn-web", &Case { environment: &[], profile: "", sync, push });
    let sync: &[&str] =
        &["ec2.cn-north-1.api.amazonwebservices.com.cn:443", "sts.cn-north-1.api.amazonwebservices.com.cn:443"];
    let push = "ec2-instance-connect.cn-north-1.api.amazonwebservices.com.cn:443";
    let dual = &[("AWS_USE_DUALSTACK_ENDPOINT", "true")];
    check(&world, &proxy, "cn-web", &Case { environment: dual, profile: "", sync, push });
}

const ROLE: &str = "[profile role]\nregion = eu-west-1\nrole_arn = arn:aws:iam::111122223333:role/ssh\n\
    source_profile = prod\n";

#[test]
fn a_role_is_assumed_at_the_endpoints_that_are_set() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let url = world.sandbox.endpoint().to_owned();
    let here = url.strip_prefix("https://").unwrap();
    for source in ["profile = \"role\"", "profile = \"prod\"\nrole_arn = \"arn:aws:iam::111122223333:role/ssh\""] {
        configure(&world, &format!("[[source]]\n{source}\n"));
        for case in [
            Case { environment: &[], profile: ROLE, sync: &[EC2, STS], push: EIC },
            Case { environment: &[("AWS_ENDPOINT_URL_STS", &url)], profile: ROLE, sync: &[here, EC2], push: EIC },
        ] {
            check(&world, &proxy, "prod-web-1", &case);
        }
    }
}

#[test]
fn a_role_is_assumed_at_a_fips_endpoint_if_configured() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let sync: &[&str] = &["ec2-fips.eu-west-1.amazonaws.com:443", "sts-fips.eu-west-1.amazonaws.com:443"];
    let push = "ec2-instance-connect-fips.eu-west-1.amazonaws.com:443";
    let fips = Case { environment: &[("AWS_USE_FIPS_ENDPOINT", "true")], profile: ROLE, sync, push };
    configure(&world, "[[source]]\nprofile = \"prod\"\nrole_arn = \"arn:aws:iam::111122223333:role/ssh\"\n");
    check(&world, &proxy, "prod-web-1", &fips);
    configure(&world, "[[source]]\nprofile = \"role\"\n");
    check(&world, &proxy, "prod-web-1", &fips);
}

#[test]
fn an_invalid_endpoint_is_not_reported_as_a_network_problem() {
    let world = World::over_tls();
    // AWS's FIPS endpoints and one of one's own exclude each other; an endpoint is a URL with a scheme.
    for (name, value) in [("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_ENDPOINT_URL", "vpce.example.com")] {
        for command in [eic(&world, &["sync"]), world.ssh_command(&["prod-web-1", "true"])] {
            let output = run(with(command, &[(name, value)]));
            assert_ne!(output.code, Some(0), "{output}");
            output.says(name);
            assert!(!output.stderr.contains("VPN"), "it points to the network\n{output}");
        }
    }
}
