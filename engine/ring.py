"""Many sends in one system call, through Linux's io_uring. In: requests from `roster`. Next hop: the kernel.

A frame for a thousand sockets is a thousand trips from Python into the kernel, which cost as much as a sixth of what
the kernel does there. A ring is memory that is shared with the kernel: requests are written into it, and one system
call carries them all out, in their order, before it returns. None of them waits: a socket that cannot take all says so
at once (MSG_DONTWAIT), and only those that took less than all are heard of (IOSQE_CQE_SKIP_SUCCESS).

Not every Linux has it: Docker's default profile forbids it, and so do some distributions. Then `new_ring` gives None,
and who would have used the ring writes to the sockets one by one.

The layout is that of io_uring_setup(2), io_uring_enter(2) and <linux/io_uring.h>.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import mmap
import os
import struct
import sys
from array import array
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from socket import SO_SNDBUF, SOL_SOCKET, socketpair

logger = logging.getLogger("tertulia.ring")

SETUP, ENTER = 425, 426  # on every architecture but Alpha
FEATURES = 1 << 0 | 1 << 11  # one mapping for both rings, IOSQE_CQE_SKIP_SUCCESS
REQUESTS_AT = 0x10000000

SEND = 26
SKIP_SUCCESS = 1 << 6
# Linux's numbers: other systems do not name all of them. A send that is cut short counts as failed, and is heard of,
# only with MSG_WAITALL.
MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL = 0x40, 0x100, 0x4000
FLAGS = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL

REQUEST = struct.Struct("=BBHiQQIIQ24x")  # opcode, flags, -, descriptor, -, address, length, message flags, tag
TAG = struct.Struct("=Q")
TAG_FIELD, TAG_AT = 8, 32
LENGTH_AT = 24
COMPLETION = struct.Struct("=Qi4x")  # tag, result
WORD = 4

#: Bytes that a request may send.
LARGEST = 64 * 1024


class _Setup(ctypes.Structure):
    """struct io_uring_params"""

    _fields_ = (
        ("request_entries", ctypes.c_uint32),
        ("completion_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("_cpu", ctypes.c_uint32 * 2),
        ("features", ctypes.c_uint32),
        ("_reserved", ctypes.c_uint32 * 4),
        ("request_offsets", ctypes.c_uint32 * 10),  # head, tail, mask, entries, flags, dropped, array, ...
        ("completion_offsets", ctypes.c_uint32 * 10),  # head, tail, mask, entries, overflow, completions, ...
    )


def system_call() -> Callable[..., int]:
    """syscall(2): a number and six arguments."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = [ctypes.c_long] * 7
    call.restype = ctypes.c_long
    return call


class Ring:
    """One ring, for one thread at a time."""

    def __init__(self, entries: int, call: Callable[..., int] | None = None) -> None:
        """Use `new_ring`, which finds out whether there is such a thing.

        Args:
            entries: requests in one system call; rounded up to a power of two.
            call: syscall(2), where it is not the system's own.

        Raises:
            OSError: the kernel has no io_uring, an old one, or lends none.
        """
        self._call = call or system_call()
        setup = _Setup()
        self._descriptor = self._call(SETUP, entries, ctypes.addressof(setup), 0, 0, 0, 0)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            if setup.features & FEATURES != FEATURES:
                raise OSError(errno.ENOSYS, "the kernel's io_uring is too old")
            self._share_memory(setup)
        except OSError:
            os.close(self._descriptor)
            raise
        self._buffer = ctypes.create_string_buffer(LARGEST)
        self._bytes = memoryview(self._buffer).cast("B")
        self._address = ctypes.addressof(self._buffer)

    def _share_memory(self, setup: _Setup) -> None:
        requests: list[int] = list(setup.request_offsets)
        completions: list[int] = list(setup.completion_offsets)
        order, self._completions = requests[6], completions[5]
        self._entries: int = setup.request_entries
        self._completion_entries: int = setup.completion_entries
        size = max(order + WORD * self._entries, self._completions + COMPLETION.size * self._completion_entries)
        self._rings = mmap.mmap(self._descriptor, size)
        self._requests = mmap.mmap(self._descriptor, REQUEST.size * self._entries, offset=REQUESTS_AT)
        self._words: memoryview[int] = memoryview(self._rings).cast("I")
        self._head, self._tail = requests[0] // WORD, requests[1] // WORD
        self._completed_head, self._completed_tail = completions[0] // WORD, completions[1] // WORD
        # Requests are taken in the order in which they lie in memory.
        self._words[order // WORD : order // WORD + self._entries] = memoryview(array("I", range(self._entries)))

    def request(self, descriptor: int, tag: int, length: int) -> bytes:
        """A send of what `send` will be given; the length is that of it."""
        return REQUEST.pack(SEND, SKIP_SUCCESS, 0, descriptor, 0, self._address, length, FLAGS, tag)

    def send(self, requests: bytearray, frames: bytes) -> list[tuple[int, int]]:
        """Carry the requests out. Returns the tags of those that took less than all, and how many bytes they took;
        none, where the socket is full, or has failed: write to it to learn which."""
        self._bytes[: len(frames)] = frames
        short: list[tuple[int, int]] = []
        done, all = 0, len(requests) // REQUEST.size
        while done < all:
            taken = self._enter(requests, done, all)
            if not taken:
                # The kernel has no memory for it, say. Nobody is left out: each is written to on its own.
                rest = memoryview(requests)[done * REQUEST.size :]
                short += [(request[TAG_FIELD], 0) for request in REQUEST.iter_unpack(rest)]
                break
            done += taken
            self._complete(short)
        return short

    def _enter(self, requests: bytearray, first: int, end: int) -> int:
        """Hand over as many requests as fit before the end of the ring. Returns how many were carried out."""
        words = self._words
        before = words[self._tail]
        place = before & (self._entries - 1)
        count = min(end - first, self._entries - place)
        size = REQUEST.size
        with memoryview(requests) as view:
            self._requests[size * place : size * (place + count)] = view[size * first : size * (first + count)]
        words[self._tail] = (before + count) & 0xFFFFFFFF
        self._call(ENTER, self._descriptor, count, 0, 0, 0, 0)
        head = words[self._head]
        words[self._tail] = head  # what was not taken is taken back
        return (head - before) & 0xFFFFFFFF

    def _complete(self, short: list[tuple[int, int]]) -> None:
        words = self._words
        head, tail = words[self._completed_head], words[self._completed_tail]
        while head != tail:
            place = head & (self._completion_entries - 1)
            tag, result = COMPLETION.unpack_from(self._rings, self._completions + COMPLETION.size * place)
            short.append((tag, max(result, 0)))
            head = (head + 1) & 0xFFFFFFFF
        words[self._completed_head] = head

    def keeps_its_promises(self) -> bool:
        """Whether one system call does, on this kernel, what everything above it relies on."""
        frames = bytes(16 * 1024)
        pairs = [socketpair() for _ in range(3)]
        (whole, whole_peer), (part, part_peer), (full, _) = pairs
        try:
            for sock in (*pairs[0], *pairs[1], *pairs[2]):
                sock.setblocking(False)
            for sock in (part, full):
                sock.setsockopt(SOL_SOCKET, SO_SNDBUF, 1)  # the kernel has a minimum
            with suppress(BlockingIOError):
                while True:
                    full.send(frames)
            closed = os.dup(whole.fileno())
            os.close(closed)
            descriptors = (closed, full.fileno(), part.fileno(), whole.fileno())
            requests = bytearray().join(self.request(each, tag, len(frames)) for tag, each in enumerate(descriptors))
            short = dict(self.send(requests, frames))
            taken = short.pop(2, 0)
            return (
                short == {0: 0, 1: 0}
                and 0 < taken < len(frames)
                and taken == len(part_peer.recv(len(frames)))
                and whole_peer.recv(2 * len(frames)) == frames
            )
        except OSError:
            return False
        finally:
            for pair in pairs:
                for sock in pair:
                    sock.close()

    def close(self) -> None:
        """Give the memory back. Nothing can be sent any more."""
        self._words.release()
        self._rings.close()
        self._requests.close()
        os.close(self._descriptor)


def new_ring(entries: int) -> Ring | None:
    """A ring that has shown that it does what is said here, or None where there is none to be had, or wanted."""
    if sys.platform != "linux" or not entries:
        return None
    try:
        ring = Ring(entries)
    except OSError as error:
        logger.info("Frames are written to sockets one by one: the system lends no io_uring (%s).", error)
        return None
    if ring.keeps_its_promises():
        return ring
    logger.warning("Frames are written to sockets one by one: this system's io_uring does not do what it should.")
    ring.close()
    return None


@asynccontextmanager
async def open_ring(entries: int) -> AsyncGenerator[Ring | None]:
    """`new_ring`, closed when the block ends."""
    ring = new_ring(entries)
    try:
        yield ring
    finally:
        if ring is not None:
            ring.close()
