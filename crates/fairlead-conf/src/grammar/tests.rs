//! The grammar, apart from what options mean.

use super::*;

/// Files by path; the first is what is read.
fn read(files: &[(&str, &str)]) -> (Vec<Section>, Vec<String>) {
    let files: Vec<_> = files.iter().map(|(f, t)| ((*f).to_owned(), (*t).to_owned())).collect();
    let first = files[0].0.clone();
    let mut loader = |path: &str| {
        let found = files.iter().filter(|(file, _)| crate::matches(path, file));
        Ok(found.map(|(file, text)| Text { file: Arc::from(file.as_str()), text: text.clone() }).collect())
    };
    let (sections, diagnostics) = sections(&first, &mut loader);
    (sections, diagnostics.iter().map(Diagnostic::to_string).collect())
}

fn one(text: &str) -> Vec<Section> {
    let (sections, said) = read(&[("a", text)]);
    assert_eq!(said, [""; 0]);
    sections
}

fn said(text: &str) -> Vec<String> {
    read(&[("a", text)]).1
}

fn lines(section: &Section) -> Vec<String> {
    section.lines.iter().map(|line| format!("{}={}@{}", line.key, line.value, line.line)).collect()
}

#[test]
fn three_signs_and_any_space() {
    let sections = one("[s]\n a = 1 \nb=>2\n\tc +=3\nc += 4\nd==5\n");
    assert_eq!(lines(&sections[0]), ["a=1@2", "b=2@3", "c=34@5", "d==5@6"]);
}

#[test]
fn addition_joins_what_was_inherited() {
    let sections = one("[t](!)\nallow=ulaw\n[p](t)\nALLOW+=,alaw\n");
    assert_eq!(lines(&sections[1]), ["allow=ulaw,alaw@4"]);
    assert_eq!(lines(&sections[0]), ["allow=ulaw@2"], "the template keeps its own");
}

#[test]
fn inheritance_is_in_order_and_before_own_lines() {
    let sections = one("[a](!)\nx=1\n[b](!,a)\nx=2\n[c]\nx=3\n[p](b,c)\nx=4\n");
    assert_eq!(lines(&sections[3]), ["x=1@2", "x=2@4", "x=3@6", "x=4@8"]);
    let templates: Vec<_> = sections.iter().map(|section| section.is_template).collect();
    assert_eq!(templates, [true, true, false, false]);
}

#[test]
fn a_base_must_be_there_before() {
    assert_eq!(said("[p](t)\nx=1\n[t](!)\n"), ["a:1: error: [p] inherits [t], which is not there before it"]);
}

#[test]
fn plus_adds_to_what_is_there() {
    let sections = one("[p]\nx=1\n[q]\n[p](+)\ny=2\n");
    assert_eq!(sections.len(), 2);
    assert_eq!(lines(&sections[0]), ["x=1@2", "y=2@5"]);
    assert_eq!(said("[p](+)\n"), ["a:1: error: [p](+) adds to a section that is not there before it"]);
}

#[test]
fn plus_with_a_filter_picks_among_sections_of_one_name() {
    let sections = one("[p]\ntype=aor\n[p]\ntype=auth\nuser=7\n[p](+type=^auth$&user=7)\nx=1\n");
    assert_eq!(lines(&sections[1]), ["type=auth@4", "user=7@5", "x=1@7"]);
    assert_eq!(said("[p]\n[p](+type)\n"), ["a:2: error: [p](+type): +FIELD=REGEX is wanted"]);
    assert_eq!(said("[p]\n[p](+type=()\n").len(), 1);
}

#[test]
fn includes_go_on_in_the_section_they_stand_in() {
    let (sections, said) =
        read(&[("etc/a", "[p]\nx=1\n#include \"b*\"\ny=2\n"), ("etc/b1", "z=3\n[q]\n"), ("etc/b2", "w=4\n")]);
    assert_eq!(said, [""; 0]);
    assert_eq!(lines(&sections[0]), ["x=1@2", "z=3@1"]);
    assert_eq!(lines(&sections[1]), ["w=4@1", "y=2@4"]);
    assert_eq!(&*sections[1].lines[0].file, "etc/b2");
}

#[test]
fn the_three_ways_to_write_a_path() {
    for line in ["#include \"b\"", "#include <b>", "#include b", "#INCLUDE   b  ; why"] {
        let (sections, said) = read(&[("a", line), ("b", "[p]\n")]);
        assert_eq!((sections.len(), said.len()), (1, 0), "{line}");
    }
}

#[test]
fn what_is_missing_is_an_error_unless_it_was_only_tried() {
    assert_eq!(said("#include x\n"), ["a:1: error: 'x' is not there to be included"]);
    assert_eq!(said("#tryinclude x\n"), [""; 0]);
    assert_eq!(said("#include\n"), ["a:1: error: #include names no file"]);
}

#[test]
fn a_file_that_includes_itself_ends() {
    let (_, said) = read(&[("a", "#include a\n")]);
    assert_eq!(said, ["a:1: error: 'a' is not included: files include each other more than 10 deep"]);
}

#[test]
fn files_that_multiply_end() {
    let (_, said) = read(&[("a", &"#include a\n".repeat(10))]);
    assert!(said.iter().any(|line| line.ends_with("more than 10000 files are included")));
}

#[test]
fn exec_is_refused() {
    let said = said("#exec /bin/true\n#echo x\n");
    assert!(said[0].starts_with("a:1: error: #exec is refused"), "{said:?}");
    assert_eq!(said[1], "a:2: error: '#echo' is not known; #include and #tryinclude are");
}

#[test]
fn broken_syntax_is_named_by_line() {
    let cases = [
        ("x=1\n", "a:1: error: option 'x' stands before the first section"),
        ("[p\n", "a:1: error: the section's name is not closed with ]"),
        ("[]\n", "a:1: error: a section needs a name between [ and ]"),
        ("[p](!\n", "a:1: error: the options of [p] are not closed with )"),
        ("[p]\nhost dynamic\n", "a:2: error: this line is no 'option = value', no section and no comment"),
        ("[p]\n= 7\n", "a:2: error: there is no option before the ="),
        ("[p]\n;-- x\n\n", "a:2: error: the comment that begins here with ;-- is never closed with --;"),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text), [expected], "{text:?}");
    }
}

#[test]
fn lines_below_a_broken_header_belong_to_nobody() {
    let (sections, said) = read(&[("a", "[p]\nx=1\n[q](nobody)\nsecret=2\n")]);
    assert_eq!(said.len(), 1);
    assert_eq!(lines(&sections[0]), ["x=1@2"]);
}

#[test]
fn what_stands_behind_a_header_is_mentioned() {
    assert_eq!(
        said("[p] x\n[q](!) y\n"),
        ["a:1: warning: 'x' behind [p] is ignored", "a:2: warning: 'y' behind [q] is ignored"]
    );
}

#[test]
fn windows_files_and_byte_order_marks_are_read() {
    let sections = one("\u{feff}[p]\r\nx=1\r\n");
    assert_eq!(lines(&sections[0]), ["x=1@2"]);
}

#[test]
fn nothing_a_file_holds_makes_it_panic() {
    let odd = [
        "[", "]", "[]", "(", "[a](", "[a](+", "[a](+=)", "=", "+=", "=>", "#", "##", ";--", "--;", "\\;",
        "\\", "é=ü;",
    ];
    for a in odd {
        for b in odd {
            for c in odd {
                read(&[("a", &format!("{a}{b}\n{c}\n[x]\n{b}{a}{c}"))]);
            }
        }
    }
}

#[test]
fn inheritance_that_doubles_at_each_step_ends_in_an_error() {
    let mut text = "[t0](!)\nsetvar=x=y\n".to_owned();
    for at in 1..40 {
        text.push_str(&format!("[t{at}](!,t{0},t{0})\n", at - 1));
    }
    let said = said(&text);
    assert!(said[0].contains("inherits too much"), "{said:?}");
    // Those that inherit what was refused find the one before it; nothing is silently shorter.
    assert!(said.iter().all(|line| line.contains("error")), "{said:?}");
}
