//! The table's place in README.md: between two comments, which stay.

/// Before the table.
const BEGIN: &str = "<!-- bench: begin (`cargo xtask bench --readme` writes this) -->";
/// Behind it.
const END: &str = "<!-- bench: end -->";

/// The text with a new table, or what is wrong with it.
pub(crate) fn with(text: &str, table: &str) -> Result<String, String> {
    let once = |mark: &str| match text.match_indices(mark).collect::<Vec<_>>().as_slice() {
        [(at, _)] => Ok(*at),
        found => Err(format!("has `{mark}` {} times, not once", found.len())),
    };
    let (begin, end) = (once(BEGIN)? + BEGIN.len(), once(END)?);
    if end < begin {
        return Err(format!("has `{END}` before `{BEGIN}`"));
    }
    Ok(format!("{}\n{}\n{}", &text[..begin], table.trim_end(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes_and_twice_is_as_once() {
        let text = format!("# A\n{BEGIN}\nold\n{END}\nrest\n");
        let new = with(&text, "| new |\n");
        assert_eq!(new, Ok(format!("# A\n{BEGIN}\n| new |\n{END}\nrest\n")));
        let again = new.clone().and_then(|text| with(&text, "| new |\n"));
        assert_eq!(again, new);
    }

    #[test]
    fn a_text_without_its_place_is_left_alone() {
        for text in [BEGIN.to_owned(), format!("{END}\n{BEGIN}\n"), format!("{BEGIN}\n{BEGIN}\n{END}\n")] {
            assert!(with(&text, "new").is_err(), "{text}");
        }
    }

    #[test]
    fn the_readme_has_a_place() {
        assert!(with(include_str!("../../../README.md"), "new").is_ok());
    }
}
