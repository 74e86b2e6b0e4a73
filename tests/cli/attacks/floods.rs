//! Servers that send without end in place of a version line or of a key exchange.

use std::fs;
use std::time::{Duration, Instant};

use sandbox::needs_namespaces;

use crate::faults::Server;
use crate::world::{World, spawn};

/// Most memory of a proxy, in kilobytes: a debug build, and bounded buffers.
const MOST_MEMORY: u64 = 64 * 1024;
/// The version line's timeout is 8 s by default.
const LIMIT: Duration = Duration::from_mins(3);

/// The greatest memory of the proxies that run, in kilobytes.
fn peak_memory(world: &World) -> u64 {
    let proxies = world.processes().into_iter().filter(|(_, line)| line.contains(" proxy "));
    let peak = |(process, _): (std::path::PathBuf, String)| -> Option<u64> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    proxies.filter_map(peak).max().unwrap_or_default()
}

#[needs_namespaces]
#[test]
fn a_server_that_floods_is_given_up_in_bounded_memory() {
    let world = World::new();
    // The shortest of these connections can end between two measurements.
    let mut is_measured = false;
    // A packet of SSH (RFC 4253 section 6): length, padding length, KEXINIT, padding.
    let kexinit = "pack('N C C a300 a10',312,10,20,'','')";
    for (what, send) in [
        ("lines without a version", "print $c \"hello\\r\\n\" x 1000 while 1".to_owned()),
        ("a line without an end", "print $c 'x' x 65536 while 1".to_owned()),
        ("garbage behind the version", "print $c \"SSH-2.0-x\\r\\n\"; print $c chr(255) x 65536 while 1".to_owned()),
        (
            "one KEXINIT after the other",
            format!("print $c \"SSH-2.0-x\\r\\n\"; $k={kexinit}; print $c $k x 100 while 1"),
        ),
        ("zeros", "print $c \"SSH-2.0-x\\r\\n\"; print $c chr(0) x 65536 while 1".to_owned()),
    ] {
        let server = Server::start(&world, &send);
        let port = format!("Port={}", server.port);
        let mut command = world.ssh_command(&["-o", "HostName=127.0.0.1", "-o", &port, "prod-web-1", "true"]);
        let start = Instant::now();
        let mut child = spawn(&mut command);
        // Not by reading its output: a flood that was passed on would block there.
        let mut peak = 0;
        let code = loop {
            peak = peak.max(peak_memory(&world));
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if start.elapsed() > LIMIT {
                let _ = child.kill();
                panic!("{what}: still connecting after {LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(code, Some(255), "{what}");
        assert!(peak < MOST_MEMORY, "{what}: {peak} kB");
        is_measured |= peak > 0;
        world.nothing_lingers(Duration::from_secs(10));
    }
    assert!(is_measured, "the memory of no proxy was measured");
}
