//! Commands of ours that do what takes Python, while the agent runs.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a command to its end; what it wrote to its standard output.
///
/// # Cancel safety
/// Dropping the future kills the command.
///
/// # Errors
/// What it said was wrong, or why it could not be run.
pub async fn run(argv: &[String], stdin: &str, limit: Duration) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("there is no command to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let mut input = child.stdin.take();
    let exchange = async {
        if let Some(input) = &mut input {
            // One that does not read it says what it has against it.
            let _ = input.write_all(stdin.as_bytes()).await;
        }
        drop(input);
        child.wait_with_output().await
    };
    let output = timeout(limit, exchange).await;
    let output = output.map_err(|_| format!("{program} took longer than {limit:?}"))?;
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.replace("ERROR:  ", "");
    match said.trim() {
        "" => Err(format!("{program} failed: {}", output.status)),
        said => Err(said.to_owned()),
    }
}
