//! The rtnetlink wire format, pure: building requests, walking replies.
//!
//! Every length is checked on both ways. A request attribute of 64 KiB or more is refused rather
//! than wrapped around (CVE-2021-43784); a reply may hold anything, and what does not fit is a
//! [`Malformed`], never a panic. Unknown attributes are skipped. Start at [`Request`] and
//! [`messages`].

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct nlattr`.
const ATTR_HEADER: usize = 4;
/// The kind bits of an attribute's type, without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const KIND_MASK: u16 = 0x3fff;

/// Message types and flags of `linux/netlink.h`.
#[allow(missing_docs, reason = "the kernel's names")]
pub mod nl {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const OVERRUN: u16 = 4;
    pub const FIRST_FAMILY: u16 = 16;
    pub const REQUEST: u16 = 1;
    pub const ACK: u16 = 4;
    pub const DUMP: u16 = 0x300;
    pub const REPLACE: u16 = 0x100;
    pub const EXCL: u16 = 0x200;
    pub const CREATE: u16 = 0x400;
    pub const DUMP_INTR: u16 = 0x10;
    pub const CAPPED: u16 = 0x100;
    pub const ACK_TLVS: u16 = 0x200;
}

/// A request could not be built: one of its attributes does not fit its 16-bit length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("netlink attribute {kind} is longer than 64 KiB")]
pub struct TooLong {
    /// The attribute's type.
    pub kind: u16,
}

/// A reply that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink reply: {0}")]
pub struct Malformed(pub &'static str);

/// One request being built.
#[derive(Clone, Debug)]
pub struct Request {
    buf: Vec<u8>,
    too_long: Option<u16>,
}

/// An attribute that holds others and is still open; give it back to [`Request::end`].
#[derive(Debug)]
#[must_use]
pub struct Nest {
    start: usize,
    kind: u16,
}

impl Request {
    /// A message of type `kind`; REQUEST is added to `flags`.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut buf = Vec::with_capacity(256);
        buf.extend_from_slice(&[0; 4]);
        buf.extend_from_slice(&kind.to_ne_bytes());
        buf.extend_from_slice(&(flags | nl::REQUEST).to_ne_bytes());
        buf.extend_from_slice(&[0; 8]);
        Self { buf, too_long: None }
    }

    /// Adds to the flags of the header.
    pub fn add_flags(&mut self, flags: u16) {
        let now = u16_at(&self.buf, 6).unwrap_or(nl::REQUEST);
        self.put(6, &(now | flags).to_ne_bytes());
    }

    /// The fixed part that follows the header (`struct ifinfomsg` and the like).
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.buf.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// One attribute.
    pub fn attr(&mut self, kind: u16, data: &[u8]) -> &mut Self {
        match u16::try_from(data.len() + ATTR_HEADER) {
            Ok(len) => {
                self.buf.extend_from_slice(&len.to_ne_bytes());
                self.buf.extend_from_slice(&kind.to_ne_bytes());
                self.buf.extend_from_slice(data);
                self.pad();
            }
            Err(_) => self.too_long = self.too_long.or(Some(kind)),
        }
        self
    }

    /// A 32-bit attribute.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// A 16-bit attribute.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// A string attribute with its terminating zero.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Opens an attribute that holds the following ones.
    pub fn begin(&mut self, kind: u16) -> Nest {
        let start = self.buf.len();
        self.attr(kind, &[]);
        Nest { start, kind }
    }

    /// Closes a nest.
    pub fn end(&mut self, nest: Nest) -> &mut Self {
        match u16::try_from(self.buf.len() - nest.start) {
            Ok(len) => self.put(nest.start, &len.to_ne_bytes()),
            Err(_) => self.too_long = self.too_long.or(Some(nest.kind)),
        }
        self
    }

    /// The finished datagram with its sequence number.
    pub fn finish(mut self, sequence: u32) -> Result<Vec<u8>, TooLong> {
        if let Some(kind) = self.too_long {
            return Err(TooLong { kind });
        }
        let len = u32::try_from(self.buf.len()).map_err(|_| TooLong { kind: 0 })?;
        self.put(0, &len.to_ne_bytes());
        self.put(8, &sequence.to_ne_bytes());
        Ok(self.buf)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buf.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn pad(&mut self) {
        self.buf.resize(align(self.buf.len()), 0);
    }
}

/// One message of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of one datagram; ends after the first malformed one.
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// Iterator of [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.rest);
        let message = (|| {
            let len = usize::try_from(u32_at(whole, 0)?).ok()?;
            let message = Message {
                kind: u16_at(whole, 4)?,
                flags: u16_at(whole, 6)?,
                sequence: u32_at(whole, 8)?,
                payload: whole.get(HEADER..len)?,
            };
            // The last message of a datagram need not be padded.
            self.rest = whole.get(align(len)..).unwrap_or_default();
            Some(message)
        })();
        Some(message.ok_or(Malformed("message length")))
    }
}

/// One attribute of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Its type, without the flag bits.
    pub kind: u16,
    /// Its content.
    pub data: &'a [u8],
}

/// The attributes in `bytes`; ends after the first malformed one.
pub fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { rest: bytes }
}

/// The attributes after the first `fixed` bytes of a message's payload.
pub fn attrs_after(payload: &[u8], fixed: usize) -> Result<Attrs<'_>, Malformed> {
    payload.get(align(fixed)..).map(attrs).ok_or(Malformed("message shorter than its type"))
}

/// Iterator of [`attrs`].
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.rest);
        let attr = (|| {
            let len = usize::from(u16_at(whole, 0)?);
            let kind = u16_at(whole, 2)? & KIND_MASK;
            let data = whole.get(ATTR_HEADER..len)?;
            self.rest = whole.get(align(len)..).unwrap_or_default();
            Some(Attr { kind, data })
        })();
        Some(attr.ok_or(Malformed("attribute length")))
    }
}

impl<'a> Attr<'a> {
    /// A 32-bit value.
    pub fn u32(&self) -> Result<u32, Malformed> {
        u32_at(self.data, 0).ok_or(Malformed("short 32-bit attribute"))
    }

    /// A 16-bit value.
    pub fn u16(&self) -> Result<u16, Malformed> {
        u16_at(self.data, 0).ok_or(Malformed("short 16-bit attribute"))
    }

    /// A string up to its terminating zero, with what is not UTF-8 replaced.
    pub fn string(&self) -> String {
        let end = self.data.iter().position(|&b| b == 0).unwrap_or(self.data.len());
        String::from_utf8_lossy(self.data.get(..end).unwrap_or_default()).into_owned()
    }

    /// The attributes within.
    pub fn nested(&self) -> Attrs<'a> {
        attrs(self.data)
    }
}

/// What an NLMSG_ERROR message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// 0 is success.
    pub errno: i32,
    /// The kernel's own words, when it has some.
    pub text: Option<String>,
}

/// Reads an NLMSG_ERROR message, or an NLMSG_DONE (whose payload may be an error number too).
pub fn parse_ack(message: &Message<'_>) -> Result<Ack, Malformed> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let Some(code) = message.payload.first_chunk().map(|b| i32::from_ne_bytes(*b)) else {
        // Very old kernels end a dump with an empty NLMSG_DONE.
        return if message.kind == nl::DONE {
            Ok(Ack { errno: 0, text: None })
        } else {
            Err(Malformed("short error message"))
        };
    };
    // The number is negative on the wire; a positive one is no error anybody sends.
    let errno = code.checked_neg().filter(|e| *e >= 0);
    let errno = errno.ok_or(Malformed("error number"))?;
    let mut text = None;
    if message.flags & nl::ACK_TLVS != 0 {
        // Behind the number: the header of the request, then (unless capped) all of it.
        let skip = match message.kind {
            nl::DONE => Some(4),
            _ if message.flags & nl::CAPPED != 0 => Some(4 + HEADER),
            _ => u32_at(message.payload, 4)
                .and_then(|len| usize::try_from(len).ok())
                .and_then(|len| len.checked_next_multiple_of(4))
                .and_then(|len| len.checked_add(4)),
        };
        let tail = skip.and_then(|n| message.payload.get(n..));
        for attr in attrs(tail.ok_or(Malformed("extended ack"))?) {
            let attr = attr?;
            if attr.kind == NLMSGERR_ATTR_MSG {
                text = Some(attr.string()).filter(|t| !t.is_empty());
            }
        }
    }
    Ok(Ack { errno, text })
}

/// `len` rounded up to the alignment of messages and attributes.
const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Two bytes at `at`, in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

/// Four bytes at `at`, in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

/// Eight bytes at `at`, in the machine's order.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_reads_back() {
        let mut request = Request::new(16, nl::ACK | nl::CREATE);
        request.fixed(&[7; 16]).string(3, "eth0").u32(4, 1500);
        let outer = request.begin(18);
        request.string(1, "veth");
        let inner = request.begin(2);
        request.u16(9, 77);
        request.end(inner).end(outer);
        let bytes = request.finish(42).unwrap();

        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.len(), 1);
        let message = all[0].unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (16, 0x405, 42));
        let found: Vec<_> = attrs_after(message.payload, 16).unwrap().map(Result::unwrap).collect();
        assert_eq!(found[0].string(), "eth0");
        assert_eq!(found[0].data, b"eth0\0");
        assert_eq!(found[1].u32(), Ok(1500));
        let info: Vec<_> = found[2].nested().map(Result::unwrap).collect();
        assert_eq!(info[0].string(), "veth");
        assert_eq!(info[1].nested().next().unwrap().unwrap().u16(), Ok(77));
    }

    #[test]
    fn an_attribute_of_64k_is_refused() {
        let mut request = Request::new(16, 0);
        request.attr(5, &vec![0; 65_532]);
        assert_eq!(request.finish(1), Err(TooLong { kind: 5 }));
        let mut request = Request::new(16, 0);
        request.attr(5, &vec![0; 65_531]);
        assert!(request.finish(1).is_ok());
        // Each part is short enough, the nest is not.
        let mut request = Request::new(16, 0);
        let nest = request.begin(18);
        request.attr(1, &[0; 40_000]).attr(2, &[0; 40_000]);
        request.end(nest);
        assert_eq!(request.finish(1), Err(TooLong { kind: 18 }));
    }

    #[test]
    fn bad_lengths_end_the_walk() {
        assert_eq!(messages(&[1, 0]).collect::<Vec<_>>(), [Err(Malformed("message length"))]);
        let mut short = Request::new(16, 0).finish(1).unwrap();
        short[0..4].copy_from_slice(&15u32.to_ne_bytes());
        assert!(messages(&short).next().unwrap().is_err());
        short[0..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(messages(&short).next().unwrap().is_err());
        // A zero length would never get on.
        assert_eq!(attrs(&[0; 8]).collect::<Vec<_>>(), [Err(Malformed("attribute length"))]);
        assert_eq!(attrs(&[9, 0, 1, 0, 1]).collect::<Vec<_>>().len(), 1);
    }

    fn error_message(errno: i32, flags: u16, tail: &[u8]) -> Vec<u8> {
        let mut m = Request::new(nl::ERROR, flags);
        m.fixed(&(-errno).to_ne_bytes()).fixed(tail);
        m.finish(3).unwrap()
    }

    #[test]
    fn an_ack_tells_number_and_words() {
        let bytes = error_message(0, nl::CAPPED, &[0; 16]);
        let message = messages(&bytes).next().unwrap().unwrap();
        assert_eq!(parse_ack(&message), Ok(Ack { errno: 0, text: None }));

        // Not capped: the whole request (20 bytes) is echoed before the attributes.
        let mut tail = vec![0u8; 20];
        tail[0..4].copy_from_slice(&20u32.to_ne_bytes());
        tail.extend_from_slice(&[11, 0, 1, 0]);
        tail.extend_from_slice(b"no way\0\0");
        let bytes = error_message(22, nl::ACK_TLVS, &tail);
        let message = messages(&bytes).next().unwrap().unwrap();
        assert_eq!(parse_ack(&message), Ok(Ack { errno: 22, text: Some("no way".into()) }));

        // The echoed length points behind the message.
        tail[0..4].copy_from_slice(&0xffff_fff0u32.to_ne_bytes());
        let bytes = error_message(22, nl::ACK_TLVS, &tail);
        let message = messages(&bytes).next().unwrap().unwrap();
        assert!(parse_ack(&message).is_err());
        let bytes = error_message(i32::MIN.wrapping_add(1), 0, &[0; 16]);
        let message = messages(&bytes).next().unwrap().unwrap();
        assert!(parse_ack(&message).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for message in messages(&bytes) {
                let Ok(message) = message else { break };
                let _ = parse_ack(&message);
                for attr in attrs(message.payload).flatten() {
                    let _ = (attr.u16(), attr.u32(), attr.string());
                    prop_assert!(attr.nested().count() <= attr.data.len() + 1);
                }
            }
        }

        #[test]
        fn attributes_read_back(list in proptest::collection::vec(
            (0u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)
        ) {
            let mut request = Request::new(20, 0);
            for (kind, data) in &list {
                request.attr(*kind, data);
            }
            let bytes = request.finish(9).unwrap();
            let message = messages(&bytes).next().unwrap().unwrap();
            let back: Vec<_> = attrs(message.payload)
                .map(|a| a.map(|a| (a.kind, a.data.to_vec())).unwrap())
                .collect();
            prop_assert_eq!(back, list);
        }
    }
}
