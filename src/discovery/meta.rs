//! Meta tags of a page, by the rules of HTML5.

use std::borrow::Cow;
use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// What kind of tag it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagName {
    /// `ac-discovery`: a template for images and signatures.
    Discovery,
    /// `ac-discovery-pubkeys`: a URL of keys.
    PublicKeys,
}

impl TagName {
    fn of(name: &str) -> Option<Self> {
        match name {
            "ac-discovery" => Some(Self::Discovery),
            "ac-discovery-pubkeys" => Some(Self::PublicKeys),
            _ => None,
        }
    }

    /// As it stands in a page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "ac-discovery",
            Self::PublicKeys => "ac-discovery-pubkeys",
        }
    }
}

/// A tag of ours in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaTag {
    /// What kind of tag it is.
    pub name: TagName,
    /// Its `content`, nothing cut off.
    pub content: String,
}

impl MetaTag {
    /// Prefix and URL, if the content is two words.
    pub fn words(&self) -> Option<(&str, &str)> {
        let mut words = self.content.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(prefix), Some(url), None) => Some((prefix, url)),
            _ => None,
        }
    }
}

/// All tags of ours in a page, in its order, wherever they stand, except in comments, scripts and other raw text.
pub fn tags(page: &[u8]) -> Vec<MetaTag> {
    let text = text(page);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(&text));
    let tokenizer = Tokenizer::new(Collector::default(), TokenizerOpts::default());
    // The sink runs no scripts, so the tokenizer stops at the end of its input only; scripts are passed over.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.found.into_inner()
}

/// The page's text: UTF-16 where its first bytes say so, else UTF-8, whose ASCII part nearly all others share.
fn text(page: &[u8]) -> Cow<'_, str> {
    let unit = match page {
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        _ => return String::from_utf8_lossy(page),
    };
    let units: Vec<u16> = page[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    Cow::Owned(String::from_utf16_lossy(&units))
}

#[derive(Default)]
struct Collector {
    found: RefCell<Vec<MetaTag>>,
}

impl TokenSink for Collector {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        if tag.kind != TagKind::StartTag {
            return TokenSinkResult::Continue;
        }
        match &*tag.name {
            "meta" => {
                self.found.borrow_mut().extend(read(&tag));
                TokenSinkResult::Continue
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }
}

fn read(tag: &Tag) -> Option<MetaTag> {
    let value = |name: &str| tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|a| &*a.value);
    Some(MetaTag { name: TagName::of(value("name")?)?, content: value("content").unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(page: &str) -> Vec<String> {
        tags(page.as_bytes()).into_iter().map(|tag| tag.content).collect()
    }

    #[test]
    fn tags_are_found_wherever_a_browser_finds_them() {
        let page = "\u{feff}<!DOCTYPE html><html><head><META NAME=ac-discovery CONTENT='a b'>\
                    <meta content=\"c&amp;d&#32;e\" name=\"ac-discovery\" /></head><body><p><meta name=ac-discovery content=f>";
        assert_eq!(contents(page), ["a b", "c&d e", "f"]);
    }

    #[test]
    fn text_that_only_looks_like_a_tag_is_none() {
        for page in [
            "<!-- <meta name=ac-discovery content='a b'> -->",
            "<script>'<meta name=ac-discovery content=\"a b\">'</script>",
            "<style><meta name=ac-discovery content='a b'></style>",
            "<title><meta name=ac-discovery content='a b'></title>",
            "<textarea><meta name=ac-discovery content='a b'></textarea>",
            "<plaintext><meta name=ac-discovery content='a b'>",
            "&lt;meta name=ac-discovery content='a b'&gt;",
            "<metadata name=ac-discovery content='a b'>",
            "<meta name=ac-discovery content='a b'",
        ] {
            assert_eq!(contents(page), [""; 0], "{page}");
        }
    }

    #[test]
    fn a_script_does_not_end_the_reading() {
        let page = "<script>if (a < b) {}</script><script></script><meta name=ac-discovery content='a b'>";
        assert_eq!(contents(page), ["a b"]);
    }

    #[test]
    fn tag_names_are_exact() {
        for name in ["AC-DISCOVERY", "ac-discovery ", "ac-discovery-pubkey", "xac-discovery"] {
            assert_eq!(contents(&format!("<meta name='{name}' content='a b'>")), [""; 0], "{name}");
        }
    }

    #[test]
    fn the_first_of_two_attributes_counts() {
        assert_eq!(contents("<meta name=ac-discovery name=other content='a b' content='c d'>"), ["a b"]);
    }

    #[test]
    fn content_is_two_words_of_any_spacing() {
        let words = |content: &str| {
            let tag = MetaTag { name: TagName::Discovery, content: content.to_owned() };
            tag.words().map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        assert_eq!(words(" a\t\n b "), Some(("a".to_owned(), "b".to_owned())));
        assert_eq!(words("a"), None);
        assert_eq!(words("a b c"), None);
    }

    #[test]
    fn a_page_in_utf_16_is_read_where_it_says_so() {
        let units = || "\u{feff}<meta name=ac-discovery content='a b'>".encode_utf16();
        for page in
            [units().flat_map(u16::to_le_bytes).collect(), units().flat_map(u16::to_be_bytes).collect::<Vec<_>>()]
        {
            assert_eq!(tags(&page).len(), 1);
        }
        assert_eq!(tags(b"\xff\xfeodd").len(), 0);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let page = [b"\xff\xfd\x00<meta name=ac-discovery content='a b'>\xc3".as_slice(), &[b'<'; 10_000]].concat();
        assert_eq!(tags(&page).len(), 1);
    }
}
