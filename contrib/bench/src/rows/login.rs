//! P2 and P3: whole logins. Warm ones against ssh alone and against ssh through a relay that only copies; first ones, which
//! push a key, against warm ones.

use std::io;

use sandbox::Call;
use serde_json::json;

use crate::files;
use crate::lab::{FIRST, Lab, Site, host, progress};
use crate::meter::Step;
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways::{self, Plain};

const OF_RELAY: Quantity = Quantity::Ratio(1.05);
const OF_PLAIN: Quantity = Quantity::Ratio(0.85);

/// P2.
pub(super) fn warm(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (rounds, fewer, hosts) = (lab.pick(61, 7), lab.pick(31, 3), lab.hosts());
    let name = host(0);
    let site = lab.reachable(FEW)?;
    let plain = Plain::new(site, &[&name], None)?;
    let mut lines = logins(site, &name, &plain, "ssh host true", rounds, true)?;
    let site = lab.fleet(hosts)?.synced()?;
    let plain = Plain::new(site, &[FIRST], Some(&files::write(site)?.keyed))?;
    lines.extend(logins(site, FIRST, &plain, &format!("ssh host true, {hosts} hosts"), fewer, false)?);
    Ok(lines)
}

/// As many as the rows about one host need.
pub(super) const FEW: usize = 4;

fn logins(site: &Site, host: &str, plain: &Plain, what: &str, rounds: usize, limits: bool) -> io::Result<Vec<Line>> {
    let ours = ways::ours(site);
    progress(&format!("P2: {what}, {rounds} rounds"));
    site.sandbox.clear_calls()?;
    // The relay's place is taken by plain ssh where there is none.
    let relay = plain.relayed("")?;
    let relayed = relay.as_ref().unwrap_or(&plain.way);
    // Who is first in a round pays for a push that is due.
    let fresh = ours.login(host).uncounted();
    let [login, relay_login, plain_login] = [&ours, relayed, &plain.way].map(|way| way.login(host));
    let steps = [fresh, pause(), login, pause(), relay_login, pause(), plain_login];
    let [_, _, ours, _, relayed, _, plain] = site.runs(&steps, rounds)?;
    let raw = json!({"ours": ours, "plain": plain, "relay": relay.as_ref().ok().map(|_| &relayed)});
    let pushes = format!("{} pushes", site.sandbox.pushes()?.len());
    let by_relay = format!("{what}, pushed / bare relay");
    let of_relay = match relay {
        Ok(_) => Line::new(by_relay, ours.ratio(&relayed), ours.beside(&relayed)),
        Err(ref why) => Line::missing(by_relay, why),
    };
    let detail = format!("{}, {pushes}", ours.beside(&plain));
    let of_plain = Line::new(format!("{what}, pushed / plain ssh"), ours.ratio(&plain), detail)
        .floor(relay.is_ok().then(|| relayed.ratio(&plain)))
        .raw(raw);
    Ok(if limits { vec![of_relay.limit(OF_RELAY), of_plain.limit(OF_PLAIN)] } else { vec![of_relay, of_plain] })
}

/// What a first login may take longer than another, in milliseconds, if AWS responds at once,
const FIRST_LOGIN: f64 = 5.0;
/// and beside the part of AWS's latency that is longer than the key exchange.
const FIRST_LOGIN_SLOW: f64 = 20.0;
/// How long AWS takes for an answer, in milliseconds.
pub(super) const LATENCY_MS: u64 = 150;
pub(super) const PUSH: &str = "SendSSHPublicKey";

/// P3: AWS answers at once.
pub(super) fn cold(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(61, 7);
    let name = host(0);
    let first = Turns::measure(lab.reachable(FEW)?, &name, None, rounds, "P3: first logins")?;
    let role = format!("role_arn = \"arn:aws:iam::{}:role/ssh\"\n", sandbox::ACCOUNT);
    let site = lab.logins(1, &role)?;
    let assumed = Turns::measure(&site, &name, None, rounds, "P3: first logins by a role")?;
    Ok(vec![
        first.line("cold - warm", "").limit(Quantity::Ms(FIRST_LOGIN)),
        assumed.line("cold - warm, credentials of a role from the cache", ""),
    ])
}

/// P3b: AWS takes its time, which the key exchange has to hide.
pub(super) fn cold_slow(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(31, 5);
    let name = host(0);
    let what = format!("cold - warm, AWS answers in {LATENCY_MS} ms");
    let site = lab.reachable(FEW)?;
    let until_newkeys = match Plain::new(site, &[&name], None)?.relayed("--until-newkeys")? {
        Ok(way) => way.login(&name).may_fail(),
        Err(why) => return Ok(vec![Line::missing(what, why)]),
    };
    site.latency_of(PUSH, LATENCY_MS)?;
    let turns = Turns::measure(site, &name, Some(until_newkeys), rounds, "P3b: first logins with a slow AWS");
    site.latency_of(PUSH, 0)?;
    let turns = turns?;
    if !turns.third.all_said("newkeys") {
        return Ok(vec![Line::missing(what, "an ssh ended before its SSH_MSG_NEWKEYS")]);
    }
    let hidden = turns.third.wall.median * 1000.0;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let seen = (LATENCY_MS as f64 - hidden).max(0.0);
    let line = turns.line(&what, &format!(", NEWKEYS after {hidden:.1} ms"));
    Ok(vec![line.limit(Quantity::Ms(seen + FIRST_LOGIN_SLOW))])
}

/// The server has still to do with a login when its client has ended, and what comes next would feel it.
pub(super) fn pause() -> Step {
    Step::new(["sleep", "0.05"]).uncounted()
}

/// First logins and others in turn.
///
/// A first one can be the faster: an ssh that finds no key when it starts does not ask the server first whether it would
/// take it, and signs at once.
struct Turns {
    cold: Runs,
    warm: Runs,
    third: Runs,
    pushes: String,
}

impl Turns {
    fn measure(site: &Site, host: &str, third: Option<Step>, rounds: usize, what: &str) -> io::Result<Self> {
        progress(&format!("{what}, {rounds} rounds"));
        let id = ways::seen(site, host)?.id;
        let ours = ways::ours(site);
        site.sandbox.clear_calls()?;
        let third = third.unwrap_or_else(pause);
        let steps = [site.forget_keys(&id), pause(), ours.login(host), pause(), ours.login(host), pause(), third];
        let [_, _, cold, _, warm, _, third] = site.runs(&steps, rounds)?;
        let (pushes, others): (Vec<Call>, Vec<Call>) =
            site.sandbox.calls()?.into_iter().partition(|call| call.action == PUSH);
        // The round that warms up pushes too. An instance that is silent for a second is looked up: one more call.
        let pushes = format!("{} pushes and {} other calls in {} rounds", pushes.len(), others.len(), rounds + 1);
        Ok(Self { cold, warm, third, pushes })
    }

    fn line(&self, what: &str, note: &str) -> Line {
        let difference = (self.cold.wall.median - self.warm.wall.median) * 1000.0;
        let detail = format!("{}, {}{note}", self.cold.beside(&self.warm), self.pushes);
        let raw = json!({"cold": self.cold, "warm": self.warm, "third": self.third});
        Line::new(what, Quantity::Ms(difference), detail).raw(raw)
    }
}
