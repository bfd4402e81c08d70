//! `pejl functions`: what SQL here can do beyond the usual.

use crate::output;

pub(crate) fn run() -> anyhow::Result<u8> {
    for function in warehouse::functions::all() {
        output::line(&function.signature)?;
        for line in function.doc.lines() {
            output::line(&format!("    {line}"))?;
        }
        output::line("")?;
    }
    Ok(0)
}
