//! Files that appear whole or not at all, so that nobody reads half of one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// A file being written under a name that no reader takes, until [`NewFile::publish`].
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    hidden: PathBuf,
    out: BufWriter<File>,
}

impl NewFile {
    /// Begins `path`, making its folder where needed.
    pub(crate) fn begin(path: PathBuf) -> Result<Self> {
        let name = path
            .file_name()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default();
        let hidden = path.with_file_name(format!(".{name}.tmp"));
        if let Some(parent) = path.parent() {
            folder(parent)?;
        }
        let file = File::create(&hidden).map_err(Error::writing(&hidden))?;
        Ok(Self {
            path,
            hidden,
            out: BufWriter::with_capacity(1 << 16, file),
        })
    }

    /// Gives the file its name.
    pub(crate) fn publish(mut self) -> Result<()> {
        self.out.flush().map_err(Error::writing(&self.hidden))?;
        fs::rename(&self.hidden, &self.path).map_err(Error::writing(&self.path))
    }
}

impl io::Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Makes a folder that readers can look into before its first file is there.
pub(crate) fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::writing(path))
}

/// Writes `bytes` unless the file holds just them already.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let mut file = NewFile::begin(path.to_path_buf())?;
    file.write_all(bytes).map_err(Error::writing(path))?;
    file.publish()
}
