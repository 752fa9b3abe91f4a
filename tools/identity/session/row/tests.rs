//! Rows as they come, and as they go back.

use super::*;

const TOOLHIVES: &str = r#"{"provider_id":"github","access_token":"at","refresh_token":"rt","id_token":"","expires_at":1795644635,"session_expires_at":1795648160,"user_id":"u","upstream_subject":"4711","client_id":"c"}"#;

fn parse(text: &str) -> RowState {
    RowState::parse(text.as_bytes())
}

#[test]
fn a_row_of_toolhive_is_written_back_byte_for_byte() {
    let row = Row::parse(TOOLHIVES.as_bytes()).unwrap().unwrap();
    assert_eq!(row.access_token, "at");
    assert_eq!(row.expiry(), Some(1_795_644_635));
    assert_eq!(String::from_utf8(row.encode()).unwrap(), TOOLHIVES);
}

#[test]
fn members_that_are_not_ours_are_kept_as_they_were() {
    let text = TOOLHIVES.replace(
        "\"c\"}",
        "\"c\",\"later\":{\"b\":1e400,\"a\":[1.50]},\"x\":null}",
    );
    let row = Row::parse(text.as_bytes()).unwrap().unwrap();
    assert_eq!(String::from_utf8(row.encode()).unwrap(), text);
}

#[test]
fn absent_and_null_members_are_none_and_names_match_in_any_case() {
    let row = Row::parse(br#"{"Access_Token":"a","id_token":null,"EXPIRES_AT":7}"#)
        .unwrap()
        .unwrap();
    assert_eq!(row.access_token, "a");
    assert_eq!(row.id_token, "");
    assert_eq!(row.expires_at, 7);
    let last = Row::parse(br#"{"access_token":"a","access_token":"b","access_token":null}"#);
    assert_eq!(last.unwrap().unwrap().access_token, "b");
}

#[test]
fn null_is_a_row_that_was_deleted() {
    assert_eq!(parse("null"), RowState::Gone);
}

#[test]
fn a_wrong_type_anywhere_makes_that_row_unreadable() {
    for name in [
        "provider_id",
        "access_token",
        "refresh_token",
        "id_token",
        "user_id",
        "upstream_subject",
        "client_id",
    ] {
        for wrong in ["5", "true", "[]", "{}", "1.5"] {
            let text = format!("{{\"{name}\":{wrong}}}");
            assert_eq!(parse(&text), RowState::Unreadable, "{text}");
        }
    }
    for name in ["expires_at", "session_expires_at"] {
        for wrong in [
            "\"1795644635\"",
            "1795643866.0",
            "1.8e9",
            "true",
            "[]",
            "{}",
            "99999999999999999999",
        ] {
            let text = format!("{{\"{name}\":{wrong}}}");
            assert_eq!(parse(&text), RowState::Unreadable, "{text}");
        }
    }
}

#[test]
fn what_is_no_object_is_unreadable() {
    for garbage in [
        "",
        "5",
        "\"x\"",
        "[]",
        "[{}]",
        "true",
        "{",
        "{}{}",
        "{} x",
        "\u{feff}{}",
        "nul",
        "\u{0}",
    ] {
        assert_eq!(parse(garbage), RowState::Unreadable, "{garbage:?}");
    }
    assert_eq!(RowState::parse(b"{\"a\":\"\xff\"}"), RowState::Unreadable);
}

#[test]
fn the_zero_time_means_no_expiry() {
    for none in ["0", "-62135596800"] {
        let text = format!("{{\"expires_at\":{none}}}");
        assert_eq!(parse(&text).row().unwrap().expiry(), None);
    }
    assert_eq!(
        parse(r#"{"expires_at":-5}"#).row().unwrap().expiry(),
        Some(-5)
    );
}

#[test]
fn a_row_lives_thirty_days_longer_than_its_token_or_its_session() {
    const MONTH: u64 = 30 * 24 * 3600;
    let mut row = Row {
        expires_at: 1_000,
        session_expires_at: 5_000,
        ..Row::default()
    };
    assert_eq!(
        row.lifetime(400_000),
        Some(Duration::from_secs(600 + MONTH))
    );
    row.expires_at = 0;
    assert_eq!(
        row.lifetime(400_500),
        Some(Duration::from_millis(4_599_500 + MONTH * 1000))
    );
    row.session_expires_at = ZERO_TIME;
    assert_eq!(row.lifetime(400_000), None);
    row.expires_at = 1;
    let long_after = i64::try_from(MONTH).unwrap() * 1000 + 1_000_000_000;
    assert_eq!(row.lifetime(long_after), Some(Duration::from_secs(1)));
    row.expires_at = i64::MAX;
    assert!(row.lifetime(0).is_some(), "no overflow");
}

#[test]
fn texts_are_escaped_as_go_does() {
    let row = Row {
        access_token: "<a&b>\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{2028}\u{2029}é😀".to_owned(),
        ..Row::default()
    };
    let text = String::from_utf8(row.encode()).unwrap();
    assert!(
        text.contains(r#""access_token":"\u003ca\u0026b\u003e\"\\\b\f\n\r\t\u0001"#),
        "{text}"
    );
    assert!(text.contains("\u{7f}\\u2028\\u2029é😀\""), "{text}");
    assert_eq!(Row::parse(text.as_bytes()).unwrap().unwrap(), row);
}

#[test]
fn no_token_can_be_printed() {
    let row = Row::parse(TOOLHIVES.replace("\"at\"", "\"SECRET\"").as_bytes());
    assert!(!format!("{row:?}").contains("SECRET"));
}
