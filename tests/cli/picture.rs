//! docs/session.svg, the picture of a session: browsers render it as librsvg does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::generate::has;

/// Compares the SVG as the browser draws it with librsvg's bitmap: per character cell, whether there is a letter. Prints
/// the number of cells with a letter and the number of cells that differ. `ORIGIN`, `CELL` and `LINE` are the measures of
/// contrib/picture in pixels; a fringe of each cell is not compared, because letters of another font are wider.
const PAGE: &str = r"<!doctype html><body><script>
const load = source => new Promise((resolve, reject) => {
  const image = new Image(); image.onload = () => resolve(image); image.onerror = reject; image.src = source; });
const ORIGIN = [18, 32], CELL = 8.4, LINE = 19;
(async () => {
  const [svg, png] = await Promise.all([load('session.svg'), load('session.png')]);
  const [width, height] = [png.naturalWidth, png.naturalHeight];
  const letters = image => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height }), cells = [];
    const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    const bright = (x, y) => { const at = (y * width + x) * 4; return pixels[at] + pixels[at + 1] + pixels[at + 2] > 250; };
    for (let y = ORIGIN[1]; y + LINE <= height; y += LINE)
      for (let x = ORIGIN[0]; x + CELL <= width; x += CELL) {
        let count = 0;
        for (let row = 0; row < LINE; row++) for (let column = 1; column < 7; column++)
          if (bright(Math.round(x) + column, y + row)) count++;
        cells.push(count > 1);
      }
    return cells;
  };
  const [browser, rsvg] = [letters(svg), letters(png)];
  const different = browser.filter((letter, at) => letter !== rsvg[at]).length;
  document.body.textContent = `letters=${rsvg.filter(letter => letter).length} different=${different} end`;
})().catch(error => document.body.textContent = 'failed: ' + error);
</script>";

fn picture() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/session.svg")).expect("docs/session.svg")
}

fn browser() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = ["google-chrome", "chromium", "chromium-browser"].into_iter().find(is_there);
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "tests/run installs chromium");
    found
}

/// Cells with a letter, and cells that differ between the browser and librsvg.
fn compared(browser: &str, svg: &str) -> (u32, u32) {
    let folder: PathBuf = tempfile::tempdir().expect("a folder").keep();
    fs::write(folder.join("session.svg"), svg).unwrap();
    fs::write(folder.join("page.html"), PAGE).unwrap();
    let drawn = Command::new("rsvg-convert").current_dir(&folder).args(["session.svg", "-o", "session.png"]).status();
    assert!(drawn.expect("rsvg-convert").success());
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", folder.join("page.html").display()))
        .output()
        .expect("a browser");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |name: &str| {
        let (_, rest) = page.split_once(name).unwrap_or_else(|| panic!("no {name} in {page}\n{output:?}"));
        rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let result = (number("letters="), number("different="));
    fs::remove_dir_all(folder).unwrap();
    result
}

#[test]
fn browsers_draw_the_picture_as_librsvg_does() {
    let Some(browser) = browser().filter(|_| has("rsvg-convert")) else { return };
    let svg = picture();
    let (letters, different) = compared(browser, &svg);
    assert!(letters > 500 && different * 100 < letters * 3, "{different} of {letters} letters differ");
    // Without the attribute browsers collapse spaces, which this comparison has to notice.
    let (letters, different) = compared(browser, &svg.replace(" xml:space=\"preserve\"", ""));
    assert!(different * 100 > letters * 3, "{different} of {letters} letters differ");
}

#[test]
fn the_picture_fits_shows_no_temporary_folder_and_ends_with_a_success() {
    let svg = picture();
    let width: f64 = svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<text ")).collect();
    assert!(lines.len() > 10, "{svg}");
    for line in &lines {
        assert!(line.starts_with("<text xml:space=\"preserve\" x=\"18\" "), "{line}");
        let length: f64 = line.split("textLength=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!(18.0 + length < width, "wider than the picture: {line}");
        assert!(!line.contains("/tmp/"), "{line}");
    }
    let prompt = lines.iter().rposition(|line| line.contains(">$ </tspan>")).expect("a command");
    let last = lines[prompt..].concat();
    assert!(lines.len() > prompt + 1 && !last.contains("error") && !last.contains("disconnect"), "{last}");
}
