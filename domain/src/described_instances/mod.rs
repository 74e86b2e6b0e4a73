//! The response of DescribeInstances, read while its bytes arrive. Of about 80 elements that describe an instance, only
//! those that this program uses are kept; the SDK's own parser builds a value of all of them, from a body in one piece.
//!
//! The elements and their nesting are those of the EC2 API reference. Unknown elements are skipped, the order of elements
//! does not matter, and of an element that occurs twice the last one counts, as in the SDK. An XML document that is not
//! complete or not well-formed is an error. HTTP, errors of AWS and the validation of values are not here.

mod elements;
#[cfg(test)]
mod tests;

use core::fmt;
use core::mem;

use elements::{Element, child};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use quick_xml::reader::Reader as XmlReader;

/// Elements within each other; EC2 has ten.
const DEPTH_LIMIT: usize = 64;

/// Bytes of one tag, comment, CDATA section or reference: more would be kept in memory before it could be read. The
/// longest value in a response, a tag of an instance, has 256 characters.
const MARKUP_LIMIT: usize = 64 * 1024;

/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The instances of one response. Values are as AWS sent them, not validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The instances of all reservations, in the order of the response.
    pub instances: Vec<InstanceDescription>,
    /// The token of the next page.
    pub next_token: Option<String>,
}

/// An instance. Fields are named as in the EC2 API reference; `None` is an element that is not in the response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the EC2 API reference documents the fields")]
pub struct InstanceDescription {
    /// The account of the instance's reservation.
    pub owner_id: Option<String>,
    pub instance_id: Option<String>,
    pub image_id: Option<String>,
    pub state_name: Option<String>,
    pub state_transition_reason: Option<String>,
    pub private_dns_name: Option<String>,
    pub platform: Option<String>,
    pub launch_time: Option<String>,
    pub availability_zone: Option<String>,
    pub subnet_id: Option<String>,
    pub vpc_id: Option<String>,
    pub private_ip_address: Option<String>,
    pub public_ip_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub tags: Vec<Tag>,
}

/// A tag of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tag {
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
}

/// Why a response could not be read. Contains nothing of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError(Problem);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    NotWellFormed,
    UnexpectedRoot,
    MismatchedEndTag,
    TextOutsideRoot,
    UnknownReference,
    TooDeep,
    Incomplete,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Problem::NotWellFormed => "the XML is not well-formed, or a tag in it is too long",
            Problem::UnexpectedRoot => "the root element is not DescribeInstancesResponse",
            Problem::MismatchedEndTag => "an end tag does not match its start tag",
            Problem::TextOutsideRoot => "there is text outside of the root element",
            Problem::UnknownReference => "an entity or character reference is not valid",
            Problem::TooDeep => "elements are nested too deeply",
            Problem::Incomplete => "the XML ends before its root element does",
        })
    }
}

impl std::error::Error for ReadError {}

/// Reads one response. Each piece of the body goes to [`Reader::read`]; where the body is cut does not change the page.
#[derive(Debug, Default)]
pub struct Reader {
    page: Page,
    /// Elements that are open, and the concatenation of their names.
    open: Vec<OpenElement>,
    names: String,
    root_ended: bool,
    /// The text of the element that is being read.
    text: String,
    /// The account and the first instance of the reservation that is being read.
    owner_id: Option<String>,
    first_of_reservation: usize,
    /// The beginning of a token whose end has not arrived.
    incomplete: Vec<u8>,
}

#[derive(Debug)]
struct OpenElement {
    element: Element,
    /// Where its name starts in [`Reader::names`].
    name: usize,
}

impl Reader {
    /// Reads a piece of the body.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; the reader cannot be used after that.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), ReadError> {
        let mut joined = mem::take(&mut self.incomplete);
        let input = if joined.is_empty() {
            piece
        } else {
            joined.extend_from_slice(piece);
            &joined
        };
        let used = self.tokens(input)?;
        if input.len() - used > MARKUP_LIMIT {
            return Err(ReadError(Problem::NotWellFormed));
        }
        self.incomplete = input[used..].to_vec();
        Ok(())
    }

    /// The page, at the end of the body.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the XML document is not complete.
    pub fn finish(self) -> Result<Page, ReadError> {
        match (self.incomplete.is_empty(), self.root_ended) {
            (false, _) => Err(ReadError(Problem::NotWellFormed)),
            (true, false) => Err(ReadError(Problem::Incomplete)),
            (true, true) => Ok(self.page),
        }
    }

    /// Reads all complete tokens, and the part of a text that has arrived. Returns the number of bytes that were used.
    fn tokens(&mut self, input: &[u8]) -> Result<usize, ReadError> {
        let start = self.skip_byte_order_mark(input);
        let mut xml = XmlReader::from_reader(&input[start..]);
        // Each piece has a reader of its own, which has not seen the start tags in earlier pieces.
        xml.config_mut().check_end_names = false;
        xml.config_mut().allow_unmatched_ends = true;
        let position =
            |xml: &XmlReader<&[u8]>| usize::try_from(xml.buffer_position()).map_or(start, |read| start + read);
        loop {
            let before = position(&xml);
            let Ok(event) = xml.read_event() else {
                // A token that is not complete. If it is wrong, it will not get complete before the limit or the end.
                return Ok(before);
            };
            let after = position(&xml);
            let is_markup = !matches!(event, Event::Text(_));
            if is_markup && after - before > MARKUP_LIMIT {
                return Err(ReadError(Problem::NotWellFormed));
            }
            if matches!(event, Event::Eof) {
                return Ok(after);
            }
            self.event(&event).map_err(ReadError)?;
        }
    }

    /// The XML reader removes a byte order mark at the start of what it gets, which is in the middle of the response for
    /// all pieces but the first: there it is part of a text.
    /// Returns the number of bytes that were used.
    fn skip_byte_order_mark(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while input[used..].starts_with(BYTE_ORDER_MARK) {
            let has_text = self.open.last().is_some_and(|open| open.element.has_text());
            if has_text {
                self.text.push('\u{feff}');
            }
            used += BYTE_ORDER_MARK.len();
        }
        used
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), Problem> {
        match event {
            Event::Start(tag) => self.start(tag.name().as_ref(), tag.local_name().as_ref()),
            Event::Empty(tag) => {
                self.start(tag.name().as_ref(), tag.local_name().as_ref())?;
                self.end(tag.name().as_ref())
            }
            Event::End(tag) => self.end(tag.name().as_ref()),
            Event::Text(text) => self.push_text(text),
            Event::CData(text) => self.push_text(text),
            Event::GeneralRef(reference) => self.push_reference(reference),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, name: &str, local_name: &str) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(Problem::TooDeep);
        }
        let parent = self.open.last().map(|open| open.element);
        if parent.is_none() && self.root_ended {
            return Err(Problem::NotWellFormed);
        }
        let element = child(parent, local_name).ok_or(Problem::UnexpectedRoot)?;
        self.open.push(OpenElement { element, name: self.names.len() });
        self.names.push_str(name);
        self.text.clear();
        match element {
            Element::Reservation => {
                self.owner_id = None;
                self.first_of_reservation = self.page.instances.len();
            }
            Element::Instance => self.page.instances.push(InstanceDescription::default()),
            Element::Tags => self.instance().tags.clear(),
            Element::Tag => self.instance().tags.push(Tag::default()),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), Problem> {
        let Some(OpenElement { element, name: start }) = self.open.pop() else { return Err(Problem::MismatchedEndTag) };
        if &self.names[start..] != name {
            return Err(Problem::MismatchedEndTag);
        }
        self.names.truncate(start);
        let text = || Some(self.text.clone());
        match element {
            Element::Response => self.root_ended = true,
            Element::NextToken => self.page.next_token = text(),
            Element::OwnerId => self.owner_id = text(),
            Element::Value(field) => {
                let text = text();
                *field(self.instance()) = text;
            }
            Element::Reservation => {
                for instance in &mut self.page.instances[self.first_of_reservation..] {
                    instance.owner_id.clone_from(&self.owner_id);
                }
            }
            _ => {}
        }
        // What follows is text of the parent, which has none.
        self.text.clear();
        Ok(())
    }

    /// The instance that is being read.
    fn instance(&mut self) -> &mut InstanceDescription {
        if self.page.instances.is_empty() {
            self.page.instances.push(InstanceDescription::default());
        }
        let last = self.page.instances.len() - 1;
        &mut self.page.instances[last]
    }

    fn push_text(&mut self, text: &str) -> Result<(), Problem> {
        match self.open.last() {
            None if text.trim_ascii().is_empty() => Ok(()),
            None => Err(Problem::TextOutsideRoot),
            Some(open) => {
                if open.element.has_text() {
                    self.text.push_str(text);
                }
                Ok(())
            }
        }
    }

    fn push_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Problem> {
        match self.open.last() {
            None => Err(Problem::TextOutsideRoot),
            Some(open) if !open.element.has_text() => Ok(()),
            Some(_) => {
                let character = reference.resolve_char_ref().map_err(|_| Problem::UnknownReference)?;
                match character {
                    Some(character) => self.text.push(character),
                    None => self.text.push_str(resolve_xml_entity(reference).ok_or(Problem::UnknownReference)?),
                }
                Ok(())
            }
        }
    }
}
