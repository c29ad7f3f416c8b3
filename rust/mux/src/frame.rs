//! Frame headers (wire-protocol §2.1, §2.2). Payloads are not looked at here.

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 8;
/// The stream's sender is done.
pub const FIN: u8 = 0x1;
/// The frame opens its stream.
pub const SYN: u8 = 0x2;
/// Stream ids and increments have 31 bits.
pub const MAX_31: u32 = 0x7fff_ffff;

/// What a frame is. The four-bit type has twelve more values, which mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rst,
    Data,
    WndInc,
    GoAway,
    Unknown(u8),
}

/// The eight bytes in front of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Only [`FIN`] and [`SYN`], and only on DATA.
    pub flags: u8,
    /// Payload bytes that follow, below 2²⁴.
    pub length: u32,
    pub stream: u32,
}

// === impl Header ===

impl Header {
    /// Reads a header. Reserved bits are dropped.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Self {
        let [l0, l1, l2, type_flags, s0, s1, s2, s3] = bytes;
        let kind = match type_flags >> 4 {
            0 => Kind::Rst,
            1 => Kind::Data,
            2 => Kind::WndInc,
            3 => Kind::GoAway,
            other => Kind::Unknown(other),
        };
        let flags = if kind == Kind::Data {
            type_flags & (FIN | SYN)
        } else {
            0
        };
        Self {
            kind,
            flags,
            length: u32::from_be_bytes([0, l0, l1, l2]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & MAX_31,
        }
    }

    pub fn encode(self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Rst => 0,
            Kind::Data => 1,
            Kind::WndInc => 2,
            Kind::GoAway => 3,
            Kind::Unknown(other) => other,
        };
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = (self.stream & MAX_31).to_be_bytes();
        [l0, l1, l2, (kind << 4) | self.flags, s0, s1, s2, s3]
    }

    pub fn data(stream: u32, flags: u8, length: usize) -> Self {
        Self {
            kind: Kind::Data,
            flags,
            length: length as u32,
            stream,
        }
    }
}

/// RST with its payload.
pub fn rst(stream: u32, code: u32) -> [u8; HEADER_LEN + 4] {
    with_u32(
        Header {
            kind: Kind::Rst,
            flags: 0,
            length: 4,
            stream,
        },
        code,
    )
}

/// WNDINC with its payload.
pub fn wndinc(stream: u32, increment: u32) -> [u8; HEADER_LEN + 4] {
    with_u32(
        Header {
            kind: Kind::WndInc,
            flags: 0,
            length: 4,
            stream,
        },
        increment & MAX_31,
    )
}

/// GOAWAY with its payload.
pub fn goaway(last_stream: u32, code: u32, debug: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: Kind::GoAway,
        flags: 0,
        length: 8 + debug.len() as u32,
        stream: 0,
    };
    let mut frame = Vec::with_capacity(HEADER_LEN + 8 + debug.len());
    frame.extend_from_slice(&header.encode());
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(debug);
    frame
}

fn with_u32(header: Header, payload: u32) -> [u8; HEADER_LEN + 4] {
    let mut frame = [0; HEADER_LEN + 4];
    frame[..HEADER_LEN].copy_from_slice(&header.encode());
    frame[HEADER_LEN..].copy_from_slice(&payload.to_be_bytes());
    frame
}
