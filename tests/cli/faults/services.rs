//! A service in place of AWS that hangs, drips, cuts, or answers something else; and names that do not resolve.

use super::{Server, is_handled};
use crate::world::{World, run};

/// What is read of the request before the response is written.
const READ: &str = "while(sysread($c,$b,65536)){$r.=$b; last if $r=~/\\r\\n\\r\\n/}";

fn page(status: &str) -> String {
    let page = "<html><head><title>Sign in</title></head><body>\\e[31m<b>Captive portal</b></body></html>";
    format!(
        "{READ}; $p=\"{page}\"; print $c \"HTTP/1.1 {status}\\r\\nContent-Type: text/html\\r\\nContent-Length: \".length($p).\"\\r\\n\\r\\n$p\""
    )
}

const DRIP: &str = "a byte in a tenth of a second";

#[test]
fn a_service_that_answers_nonsense_is_an_error_in_one_line() {
    let cases = [
        ("HTML with 200", page("200 OK")),
        ("HTML with 502", page("502 Bad Gateway")),
        ("HTML with 403", page("403 Forbidden")),
        (
            "a redirect",
            format!(
                "{READ}; print $c \"HTTP/1.1 302 Found\\r\\nLocation: http://127.0.0.1:9/\\r\\nContent-Length: 0\\r\\n\\r\\n\""
            ),
        ),
        (
            "10 MB",
            format!(
                "{READ}; print $c \"HTTP/1.1 200 OK\\r\\nContent-Length: 10485760\\r\\n\\r\\n\".(\"x\" x 10485760)"
            ),
        ),
        ("a body that is cut", format!("{READ}; print $c \"HTTP/1.1 200 OK\\r\\nContent-Length: 500\\r\\n\\r\\n<a>\"")),
        ("another protocol", "print $c \"SSH-2.0-OpenSSH_9.9\\r\\n\"; sleep 2".to_owned()),
        ("nothing", String::new()),
        (
            "headers without an end",
            format!("{READ}; print $c \"HTTP/1.1 200 OK\\r\\n\"; print $c \"X-A: b\\r\\n\" x 100000"),
        ),
        (
            DRIP,
            format!(
                "{READ}; print $c \"HTTP/1.1 200 OK\\r\\nX: \"; for(1..6000){{print $c \"y\"; select undef,undef,undef,0.1}}"
            ),
        ),
    ];
    std::thread::scope(|scope| {
        for (what, send) in &cases {
            scope.spawn(move || {
                // One for each: syncs of one home wait for each other.
                let world = World::new();
                let before = world.read(".ssh/eic/hosts");
                let server = Server::start(&world, send);
                let url = format!("http://127.0.0.1:{}", server.port);
                // A sync gives each of its four attempts a minute.
                let commands = if *what == DRIP { 1 } else { 2 };
                for args in [&["push", "prod-web-1"][..], &["sync"]].into_iter().take(commands) {
                    let mut command = world.sandbox.command("ssh-eic");
                    command.args(args).env("AWS_ENDPOINT_URL", &url);
                    let output = run(command);
                    is_handled(&output, what);
                    assert!(matches!(output.code, Some(5..=8)), "{what}\n{output}");
                    let text = &output.stderr;
                    assert!(
                        !text.contains('\u{1b}') && !text.contains("<html") && !text.contains("<b>"),
                        "{what}\n{output}"
                    );
                    let errors = text.lines().filter(|line| line.starts_with("ssh-eic: error:")).count();
                    assert!(errors >= 1 && text.lines().count() <= 2 * errors + 4, "{what}\n{output}");
                    assert!(text.lines().all(|line| line.len() < 600), "{what}\n{output}");
                }
                assert_eq!(world.read(".ssh/eic/hosts"), before, "{what}");
                world.eic(&["sync"]).ok();
            });
        }
    });
}

#[test]
fn a_name_of_aws_that_does_not_resolve_is_reported() {
    let world = World::new();
    for args in [&["push", "prod-web-1"][..], &["sync"]] {
        let mut command = world.sandbox.command("ssh-eic");
        command.args(args).env("AWS_ENDPOINT_URL", "http://aws.invalid:9");
        let output = run(command);
        is_handled(&output, "no name");
        output.fails_with(7).says("ssh-eic: hint: ");
    }
    world.ssh(&["prod-web-1", "true"]).ok();
}
