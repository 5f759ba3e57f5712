//! Where to go on in a log that another program has read so far: its offset, and its word on the first line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::checkpoint::{FilePosition, HEAD_BYTES_MAX, Position, fingerprint};
use super::lookback::read_at;
use super::packed::{self, Packing};
use super::rotated::{list, open};

/// A longer first line is none that a log has. Bytes.
const FIRST_LINE_BYTES_MAX: u64 = 1 << 20;

/// The position `offset` bytes into the file whose first line (with its line end) `is_first_line` knows again: the
/// one at `path`, else the one it was rotated to, packed or not. `None`: there is no such file, or it is shorter.
pub fn adopt(path: &Path, offset: u64, is_first_line: &dyn Fn(&[u8]) -> bool) -> Option<Position> {
    let at = |path: &Path| place(path, offset, is_first_line).ok().flatten();
    let found = at(path).or_else(|| {
        let rotated = list(path).into_iter().filter(|sibling| sibling.age.is_some());
        // A log that is just being packed is there twice; the plain one needs no unpacking.
        rotated.filter_map(|sibling| at(&sibling.path)).min_by_key(|(_, packing)| *packing != Packing::Plain)
    });
    Some(Position { files: [found?.0].into_iter().collect() })
}

fn place(
    path: &Path,
    offset: u64,
    is_first_line: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Option<(FilePosition, Packing)>> {
    let file = open(path)?;
    let meta = file.metadata()?;
    let mut head = [0; HEAD_BYTES_MAX];
    let len = read_at(&file, &mut head, 0)?;
    let packing = packed::detect(&head[..len]);
    if packing == Packing::Plain && meta.len() < offset {
        return Ok(None);
    }
    let (head, first_line) = beginning(file, packing)?;
    let position = FilePosition {
        device: meta.dev(),
        inode: meta.ino(),
        head: fingerprint(&head),
        head_len: head.len() as u8,
        offset,
    };
    Ok(is_first_line(&first_line).then_some((position, packing)))
}

/// The first bytes of what a file holds, at most [`HEAD_BYTES_MAX`], and its first line.
fn beginning(file: File, packing: Packing) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let plain: Box<dyn Read + Send> = match packing {
        Packing::Plain => Box::new(file),
        _ => packed::unpack(Box::new(file))?,
    };
    let mut plain = BufReader::new(plain);
    let mut line = Vec::new();
    plain.by_ref().take(FIRST_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let mut head = line[..line.len().min(HEAD_BYTES_MAX)].to_vec();
    plain.take((HEAD_BYTES_MAX - head.len()) as u64).read_to_end(&mut head)?;
    Ok((head, line))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINES: &str = "Nov 22 02:02:11 mail postfix/smtpd[123]: first\nNov 22 02:02:12 mail second\n";

    fn first(line: &[u8]) -> bool {
        line == b"Nov 22 02:02:11 mail postfix/smtpd[123]: first\n"
    }

    fn offset(folder: &Path, offset: u64) -> Option<u64> {
        adopt(&folder.join("mail.log"), offset, &first).map(|position| position.files[0].offset)
    }

    #[test]
    fn the_file_is_known_by_its_first_line_also_where_it_was_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(offset(folder.path(), 0), None);
        std::fs::write(path("mail.log"), LINES).unwrap();
        assert_eq!(offset(folder.path(), 47), Some(47));
        assert_eq!(offset(folder.path(), LINES.len() as u64 + 1), None, "it was never that long");

        std::fs::rename(path("mail.log"), path("mail.log.1")).unwrap();
        std::fs::write(path("mail.log"), "Nov 23 00:00:00 mail another first line\n").unwrap();
        assert_eq!(offset(folder.path(), 47), Some(47));

        let packed = File::create(path("mail.log.2.gz")).unwrap();
        let mut packer = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        packer.write_all(LINES.as_bytes()).unwrap();
        packer.finish().unwrap();
        let plain = adopt(&path("mail.log"), 47, &first).unwrap();
        assert_eq!(plain.files[0].inode, std::fs::metadata(path("mail.log.1")).unwrap().ino());
        std::fs::remove_file(path("mail.log.1")).unwrap();
        assert_eq!(offset(folder.path(), 47), Some(47));
    }
}
