"""The reference's command line and its listener; and which lie it tells, from the environment."""
from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import socket
import stat
import sys

from protocols import PROTOCOLS

LIE = os.environ.get("LIE", "")
ALONE = os.environ.get("ALONE") == "1"
NAME = os.path.basename(os.environ.get("NAME", "reference"))


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        if LIE == "usage-errors-exit-1":
            sys.exit(f"{NAME}: {message}")
        if LIE == "usage-errors-print-pages":
            self.print_usage(sys.stderr)
        sys.stderr.write(f"{NAME}: {message}; try --help\n")
        sys.exit(2)


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)(ns|us|ms|s|)", text)
    value = float(match[1]) * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "": 1}[match[2]] if match else -1
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 100us, 1ms, 2s, or seconds, at most an hour")
    return value


def whole(low: int, high: int):
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low} to {high}")
        return int(text)
    return parse


def unix_path(text: str) -> str:
    if not text.startswith("unix:") or not 1 <= len(text.encode()) - 5 <= 107:
        raise argparse.ArgumentTypeError(f"{text!r} is no unix:PATH of at most 107 bytes")
    return text


def address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address")


def regular_file(path: str) -> tuple[int, int]:
    """The file, opened with O_DIRECT where that can be, and how many blocks it has now."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise argparse.ArgumentTypeError(f"{path} is no regular file")
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECT), about.st_size // 4096
        except OSError:
            return os.open(path, os.O_RDONLY), about.st_size // 4096
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}")


def parser() -> Parser:
    p = Parser(prog=NAME, allow_abbrev=False)
    p.add_argument("--port", type=whole(0, 65535), default=0)
    p.add_argument("--protocol", choices=list(PROTOCOLS), default="echo")
    p.add_argument("--delay", type=seconds, default=None)
    p.add_argument("--delay-blocks", action="store_true")
    p.add_argument("--backlog", type=whole(1, 1 << 20), default=socket.SOMAXCONN)
    p.add_argument("--bind", type=address, default="127.0.0.1")
    p.add_argument("--listen", type=unix_path, default=None)
    p.add_argument("--loops-per-us", type=whole(1, 1 << 30), default=0)
    p.add_argument("--file", type=regular_file, default=None)
    p.add_argument("--version", action="version", version=f"{NAME} (muxbench) 0")
    p.add_argument("--describe", action="store_true")
    return p


def describe() -> str:
    return json.dumps(dict(name=NAME, thesis="a reference for the suite", protocols=list(PROTOCOLS), needs=[],
                           options=["port", "protocol", "delay", "delay-blocks", "backlog", "bind", "listen",
                                    "loops-per-us", "file"],
                           clients_at_once=1 if ALONE else None,
                           exceptions=os.environ.get("EXCEPTIONS", "").split()))


def listen(options: argparse.Namespace) -> tuple[socket.socket, str]:
    if options.listen:
        path = options.listen.removeprefix("unix:")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        ready = f"READY unix={path}"
    else:
        family = socket.AF_INET6 if ":" in options.bind else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(("0.0.0.0" if LIE == "listens-to-the-world" else options.bind, options.port))
        ready = f"READY port={listener.getsockname()[1]}"
    listener.listen(100 if LIE == "small-backlog" else 4096 if LIE == "ignores-backlog" else options.backlog)
    listener.setblocking(False)
    return listener, ready
