//! What an edge's parts cost, for `bench/test_edge.py` to time: one command a line on standard input, done when its
//! answer stands on standard output. `route ENDPOINTS N`: N hosts looked up among so many endpoints; `head N`: heads of
//! N requests and responses read and written again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Write};

use portway_edge::parts::{Routes, heads};

fn main() -> Result<(), Box<dyn Error>> {
    let mut tables = HashMap::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = match words[..] {
            ["route", endpoints, rounds] => {
                let routes = match tables.entry(endpoints.to_owned()) {
                    Entry::Occupied(kept) => kept.into_mut(),
                    Entry::Vacant(place) => place.insert(Routes::new(endpoints.parse()?)?),
                };
                routes.find(rounds.parse()?)
            }
            ["head", rounds] => heads(rounds.parse()?),
            _ => return Err(format!("unknown command {line:?}").into()),
        };
        writeln!(out, "{result}")?;
        out.flush()?;
    }
    Ok(())
}
