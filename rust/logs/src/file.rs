//! A log file, which a disk without room may keep from being written for a while. What is lost then is counted, told once
//! on stderr, and told in the file as soon as there is room again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::format::{Level, Record, Value};

#[derive(Debug)]
pub(crate) struct LogFile<W = File> {
    file: W,
    path: PathBuf,
    /// The last line that was begun has no end.
    torn: bool,
    /// Records that were lost since the last good write.
    lost: u64,
}

impl LogFile {
    /// Appends to a file; a new one has mode 0600.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self::new(options.open(path)?, path))
    }
}

impl<W: Write> LogFile<W> {
    fn new(file: W, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
            torn: false,
            lost: 0,
        }
    }

    /// Writes a record's line. `shown`: how a record looks here. Gives what is to be told on stderr.
    pub(crate) fn write(
        &mut self,
        line: &str,
        shown: impl Fn(&Record) -> String,
    ) -> Option<String> {
        let whole = if self.lost > 0 {
            format!("{}{line}", shown(&lost(self.lost)))
        } else {
            line.to_owned()
        };
        match self.put(&whole) {
            Ok(()) => {
                self.lost = 0;
                None
            }
            Err(error) => {
                self.lost += 1;
                (self.lost == 1).then(|| {
                    let text = error.to_string();
                    let cause = text.split(" (os error").next().unwrap_or_default();
                    format!(
                        "The log file {} cannot be written: {cause}. Records are lost until it can.\n",
                        self.path.display()
                    )
                })
            }
        }
    }

    /// All of it in one write where the system takes it so; what of a line is there already is ended first.
    fn put(&mut self, text: &str) -> io::Result<()> {
        let whole = if self.torn {
            format!("\n{text}")
        } else {
            text.to_owned()
        };
        let mut rest = whole.as_bytes();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    let (written, left) = rest.split_at(length);
                    self.torn = !written.ends_with(b"\n");
                    rest = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn lost(count: u64) -> Record {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    Record {
        level: Level::Warn,
        message: "log records were lost".into(),
        fields: vec![("lost".into(), Value::Int(count))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk {
        room: usize,
        held: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= length;
            self.held.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_has_lost_is_told_once_and_counted() {
        let disk = Disk {
            room: 8,
            held: Vec::new(),
        };
        let mut log = LogFile::new(disk, Path::new("/x.log"));
        let shown = |record: &Record| format!("{} {:?}\n", record.message, record.fields[0].1);
        assert_eq!(log.write("one\n", shown), None);
        let told = log.write("second\n", shown).unwrap();
        assert!(
            told.starts_with("The log file /x.log cannot be written: "),
            "{told}"
        );
        assert_eq!(log.write("third\n", shown), None);
        log.file.room = 1000;
        assert_eq!(log.write("fourth\n", shown), None);
        assert_eq!(log.write("fifth\n", shown), None);
        let held = String::from_utf8(log.file.held.clone()).unwrap();
        assert_eq!(
            held,
            "one\nseco\nlog records were lost Int(2)\nfourth\nfifth\n"
        );
        log.file.room = 0;
        assert!(log.write("sixth\n", shown).is_some());
    }
}
