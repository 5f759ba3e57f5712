//! Where in a shell text one stands: bare, in quotes, in a substitution. So that a reference to a variable is written
//! in the form that expands there to exactly one word.
//!
//! A wrong guess does no harm: what is written is always the variable's name and never its value.

/// What surrounds a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// `'...'`
    Single,
    /// `"..."`
    Double,
    /// `$(...)`, `(...)`
    Parens,
    /// `` `...` ``
    Backtick,
}

/// Reads a shell text from its beginning.
#[derive(Debug, Default)]
pub struct Quoting {
    stack: Vec<Around>,
    /// The word that ends the here-document that begins with the next line, then of the one being read.
    here_next: Option<String>,
    here: Option<String>,
    /// The line so far, while a here-document is being read.
    line: String,
    /// The next character is taken as it is.
    escaped: bool,
    /// Within `# ...`.
    comment: bool,
    last: Option<char>,
}

impl Quoting {
    pub fn new() -> Quoting {
        Quoting::default()
    }

    /// Goes on over `text`.
    pub fn read(&mut self, text: &str) {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            if self.here.is_some() {
                self.in_here_document(c);
                continue;
            }
            if self.here_next.is_none()
                && self.bare()
                && !self.escaped
                && !self.comment
                && let Some((word, length)) = here_document(&text[at..])
            {
                self.here_next = Some(word);
                let until = at + length;
                while chars.clone().next().is_some_and(|(next, _)| next < until) {
                    chars.next();
                }
                self.last = None;
                continue;
            }
            self.step(c);
        }
    }

    fn bare(&self) -> bool {
        !matches!(self.stack.last(), Some(Around::Single | Around::Double))
    }

    fn step(&mut self, c: char) {
        let last = self.last.replace(c);
        if std::mem::take(&mut self.escaped) {
            return;
        }
        if c == '\n' {
            self.comment = false;
            if self.bare() {
                self.here = self.here_next.take();
                self.line.clear();
            }
        }
        if self.comment {
            return;
        }
        match (self.stack.last().copied(), c) {
            (Some(Around::Single), '\'') => drop(self.stack.pop()),
            (Some(Around::Single), _) => {}
            (_, '\\') => self.escaped = true,
            (Some(Around::Double), '"') => drop(self.stack.pop()),
            (Some(Around::Backtick), '`') => drop(self.stack.pop()),
            (_, '`') => self.stack.push(Around::Backtick),
            (Some(Around::Double), '(') if last == Some('$') => self.stack.push(Around::Parens),
            (Some(Around::Double), _) => {}
            (_, '(') => self.stack.push(Around::Parens),
            (Some(Around::Parens), ')') => drop(self.stack.pop()),
            (_, '\'') => self.stack.push(Around::Single),
            (_, '"') => self.stack.push(Around::Double),
            (_, '#') if last.is_none_or(char::is_whitespace) => self.comment = true,
            _ => {}
        }
    }

    /// Ends the here-document where a line is its word and nothing else.
    fn in_here_document(&mut self, c: char) {
        if c != '\n' {
            self.line.push(c);
            return;
        }
        if self.here.as_deref() == Some(self.line.trim_start_matches('\t')) {
            self.here = None;
        }
        self.line.clear();
        self.last = Some('\n');
    }

    /// How the variable `name` is written at this place.
    pub fn reference(&self, name: &str) -> String {
        if self.here.is_some() {
            return format!("${{{name}}}");
        }
        match self.stack.last() {
            Some(Around::Double) => format!("${{{name}}}"),
            Some(Around::Single) => format!("'\"${{{name}}}\"'"),
            _ => format!("\"${{{name}}}\""),
        }
    }
}

/// The word of a here-document that begins with `text`, and how many bytes say so: `<<EOF`, `<<-'EOF'`.
fn here_document(text: &str) -> Option<(String, usize)> {
    let rest = text.strip_prefix("<<")?;
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let rest = rest.trim_start_matches([' ', '\t']);
    let ends = |c: char| c.is_whitespace() || ";|&<>()".contains(c);
    let length = rest.find(ends).unwrap_or(rest.len());
    let word = rest[..length].replace(['\'', '"', '\\'], "");
    (!word.is_empty()).then(|| (word, text.len() - rest.len() + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let mut quoting = Quoting::new();
        quoting.read(text);
        quoting.reference("v")
    }

    #[test]
    fn a_reference_is_one_word_wherever_it_stands() {
        for (text, reference) in [
            ("echo ", "\"${v}\""),
            ("echo \"a ", "${v}"),
            ("echo \"a\" ", "\"${v}\""),
            ("echo 'a ", "'\"${v}\"'"),
            ("echo 'a'\\'' b' ", "\"${v}\""),
            ("echo \\' ", "\"${v}\""),
            ("echo \"$(cat ", "\"${v}\""),
            ("echo \"$(cat '", "'\"${v}\"'"),
            ("echo \"$(cat) ", "${v}"),
            ("echo \"`cat ", "\"${v}\""),
            ("echo \"`cat` ", "${v}"),
            ("echo a # don't\necho ", "\"${v}\""),
            ("echo a#don't ", "'\"${v}\"'"),
            ("(echo 'a'; echo ", "\"${v}\""),
            ("cat <<EOF | mail x\ndon't\n", "${v}"),
            ("cat <<-'EOF'\ndon't\n\tEOF\necho ", "\"${v}\""),
            ("cat <<EOF\nEOF\necho '", "'\"${v}\"'"),
            ("grep \"it's <<EOF\n", "${v}"),
        ] {
            assert_eq!(at(text), reference, "{text}");
        }
    }
}
