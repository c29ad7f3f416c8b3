//! Real requests over a duplex pipe against a folder on disk.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{FileRoot, serve};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portway-file-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, content: &[u8]) -> Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    async fn get(&self, listing: bool, head: &str) -> String {
        String::from_utf8_lossy(&self.raw(listing, head).await).into_owned()
    }

    async fn raw(&self, listing: bool, head: &str) -> Vec<u8> {
        let root = Arc::new(FileRoot::open(&self.0, listing).unwrap());
        let (mut visitor, agent) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(serve(Box::new(agent), root, false));
        let request = format!("{head}\r\nHost: files\r\nConnection: close\r\n\r\n");
        visitor.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        visitor.read_to_end(&mut answer).await.unwrap();
        serving.await.unwrap().unwrap();
        answer
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn a_file_comes_whole_with_type_and_validators() {
    let folder = Folder::new("whole").with("a.css", b"b{}");
    let answer = folder.get(false, "GET /a.css HTTP/1.1").await;
    assert_eq!(status(&answer), "200");
    assert_eq!(body(&answer), "b{}");
    for header in [
        "content-type: text/css",
        "etag: \"",
        "last-modified: ",
        "nosniff",
    ] {
        assert!(answer.contains(header), "{header} in {answer}");
    }
}

#[tokio::test]
async fn head_tells_the_length_and_sends_no_body() {
    let folder = Folder::new("head").with("a.txt", b"12345");
    let answer = folder.get(false, "HEAD /a.txt HTTP/1.1").await;
    assert!(answer.contains("content-length: 5"), "{answer}");
    assert_eq!(body(&answer), "");
}

#[tokio::test]
async fn ranges_are_answered_as_asked() {
    let folder = Folder::new("range").with("a.txt", b"0123456789");
    for (range, wanted, content) in [
        ("bytes=2-4", "206", "234"),
        ("bytes=7-", "206", "789"),
        ("bytes=-2", "206", "89"),
        ("bytes=8-99", "206", "89"),
        ("bytes=10-", "416", ""),
        ("bytes=0-1,4-5", "200", "0123456789"),
        ("bytes=4-2", "200", "0123456789"),
        ("lines=1-2", "200", "0123456789"),
    ] {
        let answer = folder
            .get(false, &format!("GET /a.txt HTTP/1.1\r\nRange: {range}"))
            .await;
        assert_eq!(
            (status(&answer), body(&answer)),
            (wanted, content),
            "{range}"
        );
    }
}

#[tokio::test]
async fn validators_save_the_body() {
    let folder = Folder::new("valid").with("a.txt", b"x");
    let first = folder.get(false, "GET /a.txt HTTP/1.1").await;
    let header = |name: &str| {
        let line = first.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    let (etag, date) = (header("etag:"), header("last-modified:"));
    for (condition, wanted) in [
        (format!("If-None-Match: {etag}"), "304"),
        (format!("If-None-Match: \"other\", W/{etag}"), "304"),
        ("If-None-Match: \"other\"".to_owned(), "200"),
        (format!("If-Modified-Since: {date}"), "304"),
        (
            "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
            "200",
        ),
        (
            format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}"),
            "200",
        ),
        (format!("Range: bytes=0-0\r\nIf-Range: {etag}"), "206"),
        ("Range: bytes=0-0\r\nIf-Range: \"other\"".to_owned(), "200"),
    ] {
        let answer = folder
            .get(false, &format!("GET /a.txt HTTP/1.1\r\n{condition}"))
            .await;
        assert_eq!(status(&answer), wanted, "{condition}");
    }
}

#[tokio::test]
async fn folders_show_their_index_or_keep_their_secrets() {
    let folder = Folder::new("index")
        .with("site/index.html", b"<p>hi")
        .with("bare/<b>&.txt", b"x");
    let folder = folder.with("bare/.hidden", b"x");
    assert_eq!(
        body(&folder.get(false, "GET /site/ HTTP/1.1").await),
        "<p>hi"
    );
    let moved = folder.get(false, "GET /site?q=1 HTTP/1.1").await;
    assert!(
        status(&moved) == "301" && moved.contains("location: /site/?q=1"),
        "{moved}"
    );
    assert_eq!(
        status(&folder.get(false, "GET /bare/ HTTP/1.1").await),
        "403"
    );
    let page = folder.get(true, "GET /bare/ HTTP/1.1").await;
    assert!(
        page.contains("&lt;b&gt;&amp;.txt") && page.contains("./%3Cb%3E%26.txt"),
        "{page}"
    );
    assert!(!page.contains("hidden") && !page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn a_redirect_never_names_another_host() {
    let folder = Folder::new("redirect").with("evil/x", b"x");
    let moved = folder.get(false, "GET //evil HTTP/1.1").await;
    assert!(moved.contains("location: /evil/\r\n"), "{moved}");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_reached() {
    let outside = Folder::new("outside").with("secret", b"s3cret");
    let folder = Folder::new("inside").with("a", b"x");
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.0.join("secret"), folder.0.join("link")).unwrap();
    for (path, wanted) in [
        ("/../outside/secret", "400"),
        ("/%2e%2e/secret", "400"),
        ("/..%2fsecret", "400"),
        ("/a%00", "400"),
        ("/a%5c..", "400"),
        ("/%zz", "400"),
        ("/%ff", "400"),
        ("/link", "403"),
        ("/none", "404"),
        ("/a/b", "404"),
    ] {
        let answer = folder.get(true, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(status(&answer), wanted, "{path}");
        assert!(!answer.contains("s3cret"), "{path}");
    }
    drop(outside);
}

#[tokio::test]
async fn only_get_and_head_are_served() {
    let folder = Folder::new("method").with("a", b"x");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = folder
            .get(false, &format!("{method} /a HTTP/1.1\r\nContent-Length: 0"))
            .await;
        assert!(
            status(&answer) == "405" && answer.contains("allow: GET, HEAD"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn types_without_an_extension_are_text_or_octets() {
    let folder = Folder::new("sniff")
        .with("LICENSE", "ä text\n".as_bytes())
        .with("blob", b"\0\x01");
    assert!(
        folder
            .get(false, "GET /LICENSE HTTP/1.1")
            .await
            .contains("text/plain")
    );
    assert!(
        folder
            .get(false, "GET /blob HTTP/1.1")
            .await
            .contains("octet-stream")
    );
}

#[tokio::test]
async fn a_large_file_arrives_byte_for_byte() {
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let folder = Folder::new("large").with("big.bin", &content);
    let answer = folder.raw(false, "GET /big.bin HTTP/1.1").await;
    assert!(answer.ends_with(&content) && answer.len() < content.len() + 1000);
}
