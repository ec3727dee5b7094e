#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::*;

fn redactor() -> &'static Redactor {
    static ONE: std::sync::OnceLock<Redactor> = std::sync::OnceLock::new();
    ONE.get_or_init(|| Redactor::new(TagKey([7; 32])).unwrap())
}

/// Arguments are written with `|` between them; a replaced value shows as `*`.
fn shown(redactor: &Redactor, args: &str) -> String {
    let safe = redactor.redact(args.replace('|', "\0").as_bytes());
    let text = String::from_utf8(safe).unwrap().replace('\0', "|");
    regex::Regex::new("‹redacted [0-9]+ [0-9a-f]{8}›").unwrap().replace_all(&text, "*").into_owned()
}

#[test]
fn the_value_goes_and_the_rest_stays() {
    let redactor = redactor();
    for (args, expected) in [
        ("app|--password=hunter2|--port=1", "app|--password=*|--port=1"),
        ("app|--password=two words|x", "app|--password=*|x"),
        ("app|--token|abcdef|run", "app|--token|*|run"),
        ("app|-password|abcdef", "app|-password|*"),
        ("app|--api-key=k|--apiKey|v", "app|--api-key=*|--apiKey|*"),
        ("mysql|-uroot|-phunter2|db", "mysql|-uroot|-p*|db"),
        ("sudo|/usr/bin/mysqldump|-phunter2|db", "sudo|/usr/bin/mysqldump|-p*|db"),
        ("sh|-c|mysql -uroot -phunter2 db", "sh|-c|mysql -uroot -p* db"),
        ("sh|-c|mysql -p'hunter2' db --host=h", "sh|-c|mysql -p'*' db --host=h"),
        ("sh|-c|x=\"$(mysql -phunter2 db)\"", "sh|-c|x=\"$(mysql -p* db)\""),
        ("sh|-c|app --token 'a b' && ls", "sh|-c|app --token '*' && ls"),
        ("mysql|-pmysecret|db", "mysql|-p*|db"),
        ("keytool|-storepass|abc|-list", "keytool|-storepass|*|-list"),
        ("sshpass|-p|hunter2|ssh|host", "sshpass|-p|*|ssh|host"),
        ("psql|host=db user=u password=p@ss dbname=x", "psql|host=db user=u password=* dbname=x"),
        ("env|PGPASSWORD=a b|psql", "env|PGPASSWORD=*|psql"),
        ("mount|-o|user=u,password=a,b,vers=3.0|//srv/x", "mount|-o|user=u,password=*,vers=3.0|//srv/x"),
        ("x|Server=db;Password=abc;User Id=sa", "x|Server=db;Password=*;User Id=sa"),
        ("curl|-u|bob:secret|https://h/", "curl|-u|bob:*|https://h/"),
        ("curl|-ubob:secret|https://h/", "curl|-ubob:*|https://h/"),
        ("curl|--user=bob:secret|h", "curl|--user=bob:*|h"),
        ("curl|-H|Authorization: Bearer abc.def|https://h/", "curl|-H|Authorization: Bearer *|https://h/"),
        ("curl|-H|authorization: Basic Zm9vOmJhcg==|h", "curl|-H|authorization: Basic *|h"),
        ("curl|-H|X-Api-Key:abc|h", "curl|-H|X-Api-Key:*|h"),
        ("curl|-H|PRIVATE-TOKEN: abc|h", "curl|-H|PRIVATE-TOKEN: *|h"),
        ("curl|-d|{\"user\":\"u\",\"password\":\"p w\"}|h", "curl|-d|{\"user\":\"u\",\"password\":\"*\"}|h"),
        ("curl|https://h/x?user=u&token=abc&page=2", "curl|https://h/x?user=u&token=*&page=2"),
        ("curl|https://h/b?sv=1&sig=a%2Fb&se=2", "curl|https://h/b?sv=1&sig=*&se=2"),
        ("git|clone|https://bob:pw@host.example/x.git", "git|clone|https://bob:*@host.example/x.git"),
        ("git|clone|https://0123456789abcdefghij@host/x", "git|clone|https://*@host/x"),
        ("x|postgres://u:p@ss@db:5432/x", "x|postgres://u:*@db:5432/x"),
        (
            "aws|configure|set|AKIAIOSFODNN7EXAMPLE|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws|configure|set|*|*",
        ),
        ("env|AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG|aws", "env|AWS_SECRET_ACCESS_KEY=*|aws"),
        ("x|ghp_0123456789abcdefghijABCDEFGHIJ012345", "x|*"),
        ("x|glpat-abcdefghij0123456789", "x|*"),
        ("x|xoxb-123456789012-abcdef", "x|*"),
        ("x|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_1", "x|*"),
        ("x|https://hooks.slack.com/services/T0/B0/xyz", "x|https://hooks.slack.com/services/*"),
        (
            "x|-----BEGIN RSA PRIVATE KEY-----\nMII\nE=\n-----END RSA PRIVATE KEY-----|y",
            "x|-----BEGIN RSA PRIVATE KEY-----*-----END RSA PRIVATE KEY-----|y",
        ),
        ("x|-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "x|-----BEGIN OPENSSH PRIVATE KEY-----*"),
        ("openssl|rsa|-passin|pass:abc|-in|k.pem", "openssl|rsa|-passin|pass:*|-in|k.pem"),
        ("docker|login|-u|bob|-p|abc|registry", "docker|login|-u|bob|-p|*|registry"),
        ("ldapsearch|-x|-w|abc|-D|cn=admin", "ldapsearch|-x|-w|*|-D|cn=admin"),
        ("redis-cli|-a|abc|-h|host", "redis-cli|-a|*|-h|host"),
        ("smbclient|-U|bob%abc|//h/s", "smbclient|-U|bob%*|//h/s"),
        ("7z|x|-pabc|a.7z", "7z|x|-p*|a.7z"),
        ("nmcli|dev|wifi|connect|home|password|abc", "nmcli|dev|wifi|connect|home|password|*"),
    ] {
        assert_eq!(shown(redactor, args), expected, "{args}");
    }
}

#[test]
fn what_only_looks_like_a_secret_stays() {
    let redactor = redactor();
    for args in [
        "passwd|bob",
        "app|--password-file=/etc/app/pw",
        "app|--password-stdin",
        "app|--no-password|host",
        "app|--password|--host=h",
        "app|--password=",
        "app|--token-ttl=5m",
        "app|--tokenizer=bert",
        "app|--private-key=/etc/ssl/x.pem|--private-key|/etc/ssl/y.pem",
        "app|--use-token=true|--token=false",
        "ansible-playbook|--ask-pass|site.yml",
        "ssh|-o|PasswordAuthentication=no|-i|/root/.ssh/id_rsa|host",
        "docker|run|-v|/etc/passwd:/etc/passwd:ro|-p|8080:80|image-token:1.2",
        "mysql|-P|3306|-u|root|-p|db",
        "git|clone|ssh://git@host/x.git",
        "curl|http://host:8080/path@v1",
        "curl|-u|bob|https://h/",
        "git|checkout|0123456789abcdef0123456789abcdef01234567",
        "sort|--key=2|file",
        "kubectl|get|secret|web-token",
        "env|PWD=/root|OLDPWD=/tmp|bypass=1|compass=n",
        "openssl|rsa|-passin|file:/etc/x|-in|k.pem",
        "vim|/etc/passwd|/srv/secret/readme",
        "x|key=value|pinned=3|--spin=1",
        "grep|token:|/etc/app.conf",
        "cp|/home/bob/.ssh/known_hosts|/tmp/authorization.txt",
    ] {
        assert_eq!(shown(redactor, args), args);
    }
}

#[test]
fn equal_secrets_show_equal_tags_under_one_key_only() {
    let one = redactor().redact(b"x\0--token=abc\0--token=abc");
    let text = String::from_utf8(one.clone()).unwrap();
    let tags = text.split('\0').skip(1).collect::<Vec<_>>();
    assert_eq!(tags[0], tags[1]);
    assert!(tags[0].contains("redacted 3 "), "{}", tags[0]);
    assert_ne!(one, Redactor::new(TagKey([8; 32])).unwrap().redact(b"x\0--token=abc\0--token=abc"));
}

#[test]
fn arguments_that_are_not_text_survive() {
    assert_eq!(redactor().redact(b"x\0\xff\xfe\0--name=\xff"), b"x\0\xff\xfe\0--name=\xff");
}

/// A replacement is at most this much longer than what it replaces.
const MARK: usize = 40;

proptest! {
    #[test]
    fn the_result_is_bounded_and_keeps_what_is_not_secret(
        argv in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            "(--?)?(password|token|-p|a|mysql|curl|-u|login|docker|x:y@z|://|AKIAIOSFODNN7EXAMPLE)[=: ]?[a-z:'\"/]{0,6}".prop_map(String::into_bytes),
        ], 0..90),
    ) {
        let argv = argv.join(&0);
        let safe = redactor().redact(&argv);
        prop_assert!(safe.len() <= argv.len() + REPLACED * MARK);
    }

    #[test]
    fn a_named_password_never_leaves(value in "[!-~]{6,20}") {
        prop_assume!(!["--"].iter().any(|start| value.starts_with(start)) && !value.starts_with(['"', '\'']));
        // Separators may end a value only where another name=value follows; this one has none.
        prop_assume!(!value.contains('='));
        let argv = format!("app\0--password={value}\0--secret\0{value}\0end");
        let safe = String::from_utf8(redactor().redact(argv.as_bytes())).unwrap();
        prop_assert!(!safe.contains(&value), "{}", safe);
        prop_assert!(safe.ends_with("\0end"));
    }
}
