"""Frames as docs/protocols.md has them: a request, and the exact reply to it."""
from __future__ import annotations

import struct
from dataclasses import dataclass

from .client import body

HEADER_BYTES = 16


@dataclass(frozen=True)
class Frame:
    reply: int = 0
    payload: bytes = b""
    work_us: int = 0
    delay_us: int = 0
    close: bool = False
    id: int = 0

    @property
    def request(self) -> bytes:
        head = struct.pack(">IHHII", self.reply, len(self.payload), self.work_us,
                           self.close << 24 | self.delay_us, self.id)
        return head + self.payload

    @property
    def answer(self) -> bytes:
        """The payload is the pattern from its byte `id` on: a reply under another id has other bytes."""
        first = self.id % 64
        return struct.pack(">IIII", self.reply, 0, 0, self.id) + body(first + self.reply)[first:]


def malformed(flags: int = 0, reply: int = 0, size: int = 0) -> bytes:
    return struct.pack(">IHHII", reply, size, 0, flags << 24, 7)
