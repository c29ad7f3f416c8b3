//! When this was built: a clock that shows an earlier time is wrong. And the files of the inspection
//! page, compressed: they are kept and sent that way.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

/// What a browser is told a file is, by the end of its name. Others are for people and stay out.
const TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=page");
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.unwrap_or_default().as_secs().to_string();
    let built = env::var("SOURCE_DATE_EPOCH").unwrap_or(now);
    println!("cargo::rustc-env=BUILT_AT={built}");
    page(&PathBuf::from(env::var("OUT_DIR")?))
}

/// A table of the page's files, sorted by path: path, type, bytes.
fn page(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in ["page", "page/vendor"] {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let end = file.extension().unwrap_or_default();
        let Some((_, kind)) = TYPES.iter().find(|(one, _)| end == *one) else {
            continue;
        };
        let name: Vec<_> = file.strip_prefix("page")?.iter().collect();
        let name = name
            .join("/".as_ref())
            .into_string()
            .map_err(|_| "a name")?;
        let kept = out.join(format!("{}.gz", name.replace('/', "-")));
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&fs::read(&file)?)?;
        fs::write(&kept, packed.finish()?)?;
        let kept = kept.to_str().ok_or("a path")?;
        writeln!(table, "({name:?}, {kind:?}, include_bytes!({kept:?})),")?;
    }
    table.push(']');
    fs::write(out.join("page.rs"), table)?;
    Ok(())
}
