//! The picture for the README: an SVG that needs nothing beside itself, in the colours of whoever looks at it.
//!
//! Two panels: how long a login takes, from the row of the peers; and how much of its limit each budget uses up.

use std::fmt;

use crate::report::{Line, Report, Verdict};
use crate::rows::peers;

const TITLE: &str = "ssh-eic beside what people use instead";
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;

/// Where bars of logins begin, and how long the axis is.
const LOGINS: (f64, f64) = (250.0, 600.0);
/// Where bars of budgets begin, and how long 100 % is.
const BUDGETS: (f64, f64) = (470.0, 200.0);
/// Longer bars end here, and their values are printed behind.
const LONGEST_SHARE: f64 = 1.5;
/// Characters of a budget that fit before its bar.
const WHAT_FITS: usize = 60;

/// The surface is painted too: a page is not always as light or dark as the system says.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:20px;font-weight:600}.panel{font-size:15px;font-weight:600}.name{font-weight:600}
.quiet,.tick{fill:#59636e}.tick,.small{font-size:12px}.end{text-anchor:end}.middle{text-anchor:middle}
.value{font-size:12px}.mark{stroke:#1f2328;stroke-width:2px}
.surface{fill:#fff}.grid{stroke:#d1d9e0}.limit{stroke:#1f2328;stroke-dasharray:4 3}
.first{fill:#c8641b}.second,.ok{fill:#2f6fb5}.over{fill:#c9372c}.floor{fill:#a87b00}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.quiet,.tick{fill:#9198a1}.mark{stroke:#e6edf3}
.surface{fill:#0d1117}.grid{stroke:#30363d}.limit{stroke:#e6edf3}
.first{fill:#e38b4f}.second,.ok{fill:#5b9be0}.over{fill:#f0665c}.floor{fill:#d9a514}}";

/// The chart of a report.
pub(crate) fn svg(report: &Report) -> String {
    let mut canvas = Canvas { body: String::new(), y: 44.0, told: Vec::new() };
    canvas.text((MARGIN, canvas.y), "title", TITLE);
    let short = report.short.then(|| String::from("Few runs of small fleets: only to see that it works"));
    for words in report.machine.in_words().into_iter().chain(short) {
        canvas.y += 20.0;
        canvas.text((MARGIN, canvas.y), "quiet", &words);
    }
    canvas.y += 24.0;
    logins(&mut canvas, &report.lines);
    budgets(&mut canvas, &report.lines);
    let Canvas { body, y, told } = canvas;
    let (title, told, height) = (escape(TITLE), escape(&told.join("; ")), y + MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<desc>{told}</desc>\n\
         <style>\n{STYLE}\n</style>\n<rect class=\"surface\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n{body}</svg>\n"
    )
}

/// A text as it may stand in XML, in elements and in attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to write the others.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What has been drawn, and how far down.
struct Canvas {
    body: String,
    y: f64,
    /// The same for whoever does not see it.
    told: Vec<String>,
}

impl Canvas {
    fn push(&mut self, element: fmt::Arguments<'_>) {
        self.body.push_str(&element.to_string());
        self.body.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), class: &str, words: &str) {
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(words)));
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        // Nothing is a bar too, or it would look forgotten.
        let width = width.max(1.0);
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\"/>"
        ));
    }

    fn upright(&mut self, x: f64, (top, bottom): (f64, f64), class: &str) {
        self.push(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" class=\"{class}\"/>"
        ));
    }

    fn panel(&mut self, words: &str) {
        self.y += 24.0;
        self.text((MARGIN, self.y), "panel", words);
    }

    fn legend(&mut self, entries: &[(&str, &str)]) {
        self.y += 20.0;
        let mut x = MARGIN;
        for (class, words) in entries {
            if *class == "mark" {
                self.upright(x + 5.0, (self.y - 11.0, self.y + 2.0), class);
            } else {
                self.bar((x, self.y - 10.0), (11.0, 11.0), class);
            }
            self.text((x + 16.0, self.y), "small quiet", words);
            x += 45.0 + 6.5 * count(words.len());
        }
        self.y += 12.0;
    }
}

/// The connections of one peer, and what they took in ms.
struct Login<'a> {
    peer: &'a str,
    took: Vec<(&'a str, f64)>,
}

fn logins_of(lines: &[Line]) -> Vec<Login<'_>> {
    let mut logins: Vec<Login<'_>> = Vec::new();
    for (peer, connection, ms) in lines.iter().filter_map(peers::login) {
        match logins.last_mut().filter(|login| login.peer == peer) {
            Some(login) => login.took.push((connection, ms)),
            None => logins.push(Login { peer, took: vec![(connection, ms)] }),
        }
    }
    logins
}

fn logins(canvas: &mut Canvas, lines: &[Line]) {
    const THICK: f64 = 14.0;
    let logins = logins_of(lines);
    let longest = logins.iter().flat_map(|login| &login.took).map(|(_, ms)| *ms).fold(0.0, f64::max);
    if longest <= 0.0 {
        return;
    }
    canvas.panel("How long ssh HOST /bin/true takes, with an AWS that answers at once");
    canvas.legend(&[("first", "first connection"), ("second", "second one, within a minute")]);
    let (begin, length) = LOGINS;
    let (step, end) = ticks(longest);
    let scale = length / end;
    let height = |login: &Login<'_>| THICK * count(login.took.len()) + 10.0;
    let top = canvas.y;
    let bottom = top + logins.iter().map(height).sum::<f64>();
    for tick in (0_u32..).map(|n| step * f64::from(n)).take_while(|tick| *tick <= end) {
        canvas.upright(begin + tick * scale, (top, bottom), "grid");
        canvas.text((begin + tick * scale, bottom + 16.0), "tick middle", &format!("{tick:.0}"));
    }
    for login in &logins {
        let class = if login.peer.starts_with("ssh-eic") { "name end" } else { "end" };
        canvas.text((begin - 10.0, canvas.y + height(login) / 2.0 + 4.0), class, login.peer);
        canvas.y += 5.0;
        for (connection, ms) in &login.took {
            canvas.bar((begin, canvas.y + 1.0), (ms * scale, THICK - 2.0), connection);
            let value = format!("{ms:.0} ms");
            canvas.text((begin + ms * scale + 6.0, canvas.y + THICK - 3.0), "value", &value);
            canvas.told.push(format!("{}, {connection} connection: {value}", login.peer));
            canvas.y += THICK;
        }
        canvas.y += 5.0;
    }
    canvas.y = bottom + 30.0;
}

/// The distance of round ticks on an axis, at most seven, and where the axis ends.
fn ticks(longest: f64) -> (f64, f64) {
    let power = 10_f64.powf((longest / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| longest / step <= 6.0);
    let step = step.unwrap_or(longest);
    (step, (longest / step).ceil() * step)
}

fn budgets(canvas: &mut Canvas, lines: &[Line]) {
    const HIGH: f64 = 20.0;
    let lines: Vec<(&Line, f64)> = lines.iter().filter_map(|line| Some((line, line.share()?))).collect();
    if lines.is_empty() {
        return;
    }
    canvas.panel("How much of its limit each budget uses up");
    canvas.legend(&[
        ("ok", "within it"),
        ("over", "over it"),
        ("floor", "over it, and so is its floor"),
        ("mark", "floor: the best that it could come to"),
    ]);
    let (begin, hundred) = BUDGETS;
    let (top, bottom) = (canvas.y, canvas.y + HIGH * count(lines.len()) + 4.0);
    for percent in [0.0, 50.0, 150.0] {
        let x = begin + hundred * percent / 100.0;
        canvas.upright(x, (top, bottom), "grid");
        canvas.text((x, bottom + 16.0), "tick middle", &format!("{percent:.0} %"));
    }
    canvas.y += 2.0;
    let mut last = "";
    for (line, share) in &lines {
        let base = canvas.y + HIGH - 6.0;
        if line.row != last {
            canvas.text((MARGIN, base), "name", &line.row);
            last = &line.row;
        }
        canvas.text((MARGIN + 38.0, base), "small", &cut(&line.what));
        let long = |share: f64| share.min(LONGEST_SHARE) * hundred;
        canvas.bar((begin, canvas.y + 4.0), (long(*share), HIGH - 8.0), class(line.verdict));
        if let Some(floor) = line.floor_share() {
            canvas.upright(begin + long(floor), (canvas.y + 2.0, canvas.y + HIGH - 2.0), "mark");
        }
        let value = value(line, *share);
        canvas.text((begin + hundred * LONGEST_SHARE + 12.0, base), "value", &value);
        canvas.told.push(format!("{} {}: {value}", line.row, line.what));
        canvas.y += HIGH;
    }
    // Over the bars: whether one ends before it or behind is the point.
    canvas.upright(begin + hundred, (top, bottom), "limit");
    canvas.text((begin + hundred, bottom + 16.0), "tick middle", "100 %");
    canvas.y = bottom + 16.0;
}

/// Colours are not all that tells a budget that is over its limit. Of nothing, and of a limit of nothing, there is no
/// percentage.
fn value(line: &Line, share: f64) -> String {
    let percent = if share > 0.0 && share.is_finite() { format!("{:.0} %, ", share * 100.0) } else { String::new() };
    let measured = line.measured.map(|measured| measured.to_string()).unwrap_or_default();
    let verdict = match line.verdict {
        Verdict::Over => ", over",
        Verdict::Floor => ", floor",
        Verdict::Ok | Verdict::None => "",
    };
    format!("{percent}{measured}{verdict}")
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Over => "over",
        Verdict::Floor => "floor",
        Verdict::Ok | Verdict::None => "ok",
    }
}

fn cut(words: &str) -> String {
    if words.chars().count() <= WHAT_FITS {
        return words.to_owned();
    }
    words.chars().take(WHAT_FITS - 1).chain(['\u{2026}']).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a chart has few bars")]
fn count(things: usize) -> f64 {
    things as f64
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::process::{Command, Stdio};

    use super::{cut, escape, svg, ticks};
    use crate::report::{self, Line, Quantity};

    /// Python's own expat: the smallest Python has it.
    const PARSE: &str = "import sys, pyexpat; pyexpat.ParserCreate().Parse(sys.stdin.buffer.read(), True)";

    fn is_xml(text: &str) {
        let mut python = Command::new("python3");
        let child = python.args(["-c", PARSE]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CI").is_none() => return,
            child => child.unwrap(),
        };
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_chart_is_xml_that_names_all_there_is() {
        let text = svg(&report::sample());
        is_xml(&text);
        for words in [
            "role=\"img\" aria-label=\"ssh-eic beside",
            "<title>ssh-eic beside",
            "A &lt;fast&gt; CPU, 2 cores, Linux 6.1",
            ">812 ms<",
            ">800 ms<",
            "first sync | a &lt;b&gt; &amp; &quot;c&quot;",
            ">50 %, 0.100x<",
            ">200 %, 96.0 MiB, over<",
            ">111 %, 2.00x, floor<",
            "prefers-color-scheme:dark",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        assert!(!text.contains("/secret/place") && !text.contains("1 GiB"), "{text}");
    }

    #[test]
    fn a_chart_of_nothing_is_xml_too() {
        is_xml(&svg(&report::Report { lines: Vec::new(), ..report::sample() }));
    }

    #[test]
    fn any_text_can_be_written() {
        let text = "<a href='x'>&amp;\"]]>\u{0}\u{1b}[31m\u{ffff}\u{85}\u{2028}\u{1f600}";
        assert_eq!(escape("<&>\"\n"), "&lt;&amp;&gt;&quot; ");
        let line = Line::new(text, Quantity::Count(1.0), "").exactly(Quantity::Count(1.0)).of(text);
        is_xml(&svg(&report::Report { lines: vec![line], ..report::sample() }));
    }

    #[test]
    fn without_a_measurement_or_a_limit_there_is_no_bar() {
        let (zero, three) = (Quantity::Count(0.0), Quantity::Count(3.0));
        let share = |line: Line| line.of("P0").share();
        assert_eq!(share(Line::new("", zero, "").limit(zero)), Some(0.0));
        assert_eq!(share(Line::new("", three, "").limit(zero)), Some(f64::INFINITY));
        assert_eq!(share(Line::new("", three, "").exactly(Quantity::Count(6.0))), Some(f64::INFINITY));
        assert_eq!(share(Line::new("", three, "").exactly(three)), Some(0.0));
        assert_eq!(share(Line::new("", Quantity::Ms(-5.0), "").limit(Quantity::Ms(20.0))), Some(0.0));
        assert_eq!(share(Line::new("", Quantity::Ratio(0.5), "").at_least(Quantity::Ratio(1.0))), Some(2.0));
        assert_eq!(share(Line::missing("", "").limit(three)), None);
        assert_eq!(share(Line::new("", three, "")), None);
        let endless =
            svg(&report::Report { lines: vec![Line::new("", three, "").limit(zero).of("P0")], ..report::sample() });
        assert!(endless.contains(">3, over<") && !endless.contains("inf"), "{endless}");
        is_xml(&endless);
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (longest, expected) in
            [(95.0, (20.0, 100.0)), (812.0, (200.0, 1000.0)), (6.0, (1.0, 6.0)), (1201.0, (500.0, 1500.0))]
        {
            let (step, end) = ticks(longest);
            assert!((step - expected.0).abs() < 1e-6 && (end - expected.1).abs() < 1e-6, "{longest}: {step} {end}");
        }
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"\u{e4}".repeat(70)).chars().count(), 60);
    }
}
