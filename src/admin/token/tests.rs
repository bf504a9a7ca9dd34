use std::os::unix::fs::PermissionsExt;

use super::*;

const GOOD: &str = "0123456789abcdef0123456789abcdef";

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("warren-token-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_token_is_told_from_every_other() {
    let token = Token::of_text(&format!(" {GOOD}\n")).unwrap();
    assert!(token.matches(GOOD));
    for given in
        ["", "0", &GOOD[1..], &format!("{GOOD}0"), &GOOD.to_uppercase(), &GOOD.replace('0', "1")]
    {
        assert!(!token.matches(given), "{given}");
    }
    assert!(!format!("{token:?}").contains(GOOD));
    let made = [Token::make().unwrap(), Token::make().unwrap()];
    assert!(!made[0].matches(made[1].secret()));
    assert!(Token::of_text(made[0].secret()).unwrap().matches(made[0].secret()));
}

#[test]
fn what_is_no_token_is_told() {
    for (text, why) in [
        ("", "32 characters"),
        (&GOOD[1..], "32 characters"),
        (&format!("{GOOD} {GOOD}"), "one line"),
        (&format!("{GOOD}\n{GOOD}"), "one line"),
        (&format!("{GOOD}é"), "ASCII"),
    ] {
        let error = Token::of_text(text).unwrap_err();
        assert!(error.contains(why) && !error.contains(GOOD), "{text}: {error}");
    }
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused() {
    let folder = folder("modes");
    let path = folder.join("token");
    fs::write(&path, GOOD).unwrap();
    for (mode, is_refused) in [
        (0o600, false),
        (0o400, false),
        (0o640, false),
        (0o644, true),
        (0o660, true),
        (0o602, true),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let read = Token::read(&path);
        assert_eq!(read.is_err(), is_refused, "{mode:o}: {read:?}");
        if let Err(error) = read {
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "x".repeat(TOKEN_BYTES_MAX + 1)).unwrap();
    assert!(Token::read(&path).unwrap_err().contains("longer"));
    assert!(Token::read(&folder).unwrap_err().contains("not a regular file"));
    assert!(Token::read(&folder.join("none")).is_err());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_made_token_is_left_for_its_owner_and_goes_with_the_server() {
    let folder = folder("left");
    let (path, blocked) = (folder.join("deep/7172.token"), folder.join("file/token"));
    fs::write(folder.join("file"), "").unwrap();
    let token = Token::make().unwrap();
    let older = TokenFiles::write(&Token::make().unwrap(), [path.clone()]);
    let files = TokenFiles::write(&token, [path.clone(), blocked]);
    assert_eq!(files.paths(), std::slice::from_ref(&path));
    assert!(Token::read(&path).unwrap().matches(token.secret()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // The place is another's by now.
    drop(older);
    assert!(Token::read(&path).unwrap().matches(token.secret()));
    drop(files);
    assert!(!path.exists());
    fs::remove_dir_all(folder).unwrap();
}
