//! The Python module `portway._core`: one function for each role. Each takes the descriptor of a
//! plan, runs until it is stopped, and returns the exit code.
//!
//! - [`agent`], [`edge`]: the roles, put together from their crates. [`load`]: what measures them.
//! - [`probe`]: each step to an edge by itself. [`verify`]: whether a release is ours.
//! - [`plan`]: reading a plan. [`runtime`], [`signals`], [`systemd`], [`limits`]: the operating
//!   system.
//! - [`report`]: errors as users see them. [`heard`]: that the last words are read.

mod agent;
mod edge;
mod heard;
mod limits;
mod load;
mod memory;
mod plan;
mod probe;
mod report;
mod runtime;
mod signals;
mod systemd;
mod verify;

use pyo3::prelude::*;

/// Version of the package.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs the agent of the plan that can be read from `plan_fd`; returns the exit code.
#[pyfunction]
fn run_agent(python: Python<'_>, plan_fd: i32) -> u8 {
    python.detach(|| {
        let code = report::exit_code(agent::run(plan_fd));
        if code != 0 {
            heard::wait();
        }
        code
    })
}

/// Runs the edge of the plan that can be read from `plan_fd`; returns the exit code.
#[pyfunction]
fn run_edge(python: Python<'_>, plan_fd: i32) -> u8 {
    python.detach(|| report::exit_code(edge::run(plan_fd)))
}

/// Does one measurement of `portway bench`, or is its upstream; returns the exit code.
#[pyfunction]
fn run_load(python: Python<'_>, plan_fd: i32) -> u8 {
    python.detach(|| report::exit_code(load::run(plan_fd)))
}

/// Tries each step of the way to an edge and tells them on stdout; returns the exit code.
#[pyfunction]
fn run_probe(python: Python<'_>, plan_fd: i32) -> u8 {
    python.detach(|| report::exit_code(probe::run(plan_fd)))
}

/// Checks the signature of what the plan holds; returns the exit code.
#[pyfunction]
fn run_verify(python: Python<'_>, plan_fd: i32) -> u8 {
    python.detach(|| report::exit_code(verify::run(plan_fd)))
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(version, module)?)?;
    module.add_function(wrap_pyfunction!(run_agent, module)?)?;
    module.add_function(wrap_pyfunction!(run_edge, module)?)?;
    module.add_function(wrap_pyfunction!(run_load, module)?)?;
    module.add_function(wrap_pyfunction!(run_probe, module)?)?;
    module.add_function(wrap_pyfunction!(run_verify, module)?)
}
