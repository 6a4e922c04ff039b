"""Where SQL statements end, by the rules of psql; on bytes, in any encoding PostgreSQL dumps in."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache


def repeated(pattern: bytes, how_often: bytes = b"*") -> bytes:
    """The pattern as often as it can be had, and never less again.

    `(?:pattern)*+` would say so, but up to Python 3.11.4 goes on behind what a try that failed had read (gh-106052).
    """
    return rb"(?>(?:" + pattern + rb")" + how_often + rb")"


IDENTIFIER = rb'(?:"' + repeated(rb'[^"]|""') + rb'"|[^\s".,;()]++)'
QUALIFIED = IDENTIFIER + repeated(rb"\." + IDENTIFIER, b"?")

# In client-only encodings a character's second byte may be a backslash (never a quote, a dollar or a newline):
# there, a backslash behind a first byte escapes nothing.
_FIRST_BYTES = {
    "SJIS": rb"\x81-\x9f\xe0-\xfc",
    "SHIFT_JIS_2004": rb"\x81-\x9f\xe0-\xfc",
    **dict.fromkeys(("BIG5", "GBK", "GB18030", "UHC", "JOHAB"), rb"\x81-\xfe"),
}
_DOLLAR = rb"\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*+)?\$"
_DOLLAR_QUOTE = re.compile(_DOLLAR)
_SOMETHING = re.compile(rb"\S")
_BLOCK_WORD = re.compile(rb"begin(\s++atomic\b)?|case|end", re.IGNORECASE)
_COMMENT_MARK = re.compile(rb"/\*|\*/")
_FUNCTION = re.compile(
    repeated(rb"\s++|--[^\n]*+\n|/\*" + repeated(rb"[^*/]++|\*(?!/)|/(?!\*)") + rb"\*/")
    + rb"CREATE\s++(?:OR\s++REPLACE\s++)?(?:FUNCTION|PROCEDURE)\b",
    re.IGNORECASE,
)
# PostgreSQL's names, where Python's codecs do not know them. EUC_TW and MULE_INTERNAL have no codec.
_CODECS = {
    "SQL_ASCII": "utf-8",  # any bytes at all: most likely these
    "EUC_CN": "gb2312",
    "SJIS": "cp932",
    "UHC": "cp949",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "BIG5": "cp950",
    "WIN866": "cp866",
    "WIN874": "cp874",
}
_SETTING = re.compile(
    rb"SET\s+(?:SESSION\s+|LOCAL\s+)?(standard_conforming_strings|client_encoding)\s*(?:=|\bTO\b)\s*'?(\w+)'?\s*;",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the session's settings say of the text that follows them."""

    standard_strings: bool = True  # False after `SET standard_conforming_strings = off`
    encoding: str | None = None

    def after(self, statement: bytes) -> Rules:
        """The rules once `statement` has run."""
        setting = _SETTING.match(statement)
        if setting is None:
            return self
        value = setting[2].decode("ascii", "replace")
        if setting[1].lower() == b"client_encoding":
            return replace(self, encoding=value)
        return replace(self, standard_strings=value.lower() not in ("off", "false", "no", "0"))

    def decode(self, text: bytes) -> str:
        """Names and labels; bytes the encoding has no character for are written `\\xff`, so a name stays JSON."""
        return text.decode(_codec_of(self.encoding or "UTF8"), "backslashreplace")

    @property
    def escaped(self) -> bytes:
        """The pattern of what stands in a literal with backslash escapes."""
        first = _FIRST_BYTES.get((self.encoding or "").upper(), b"")
        pair = b"|[" + first + rb"][\x30-\xff]?+" if first else b""
        return repeated(rb"[^'\\" + first + rb"]++|\\.|''" + pair)

    @property
    def quoted(self) -> bytes:
        """The pattern of a literal without a prefix; a doubled quote makes it two, side by side."""
        return rb"'[^']*+'" if self.standard_strings else b"'" + self.escaped + b"'"


def as_argument(text: str, encoding: str) -> str:
    """A program's argument whose bytes are the text in that encoding of PostgreSQL's, which pg_dump reads names in."""
    with suppress(UnicodeError):  # there is no such name in it
        return os.fsdecode(text.encode(_codec_of(encoding)))
    return text


@lru_cache
def _codec_of(encoding: str) -> str:
    name = encoding.upper()
    try:
        return codecs.lookup(_CODECS.get(name, re.sub("^WIN(?=125)", "cp", name))).name
    except LookupError:
        return "ascii"


@lru_cache
def _ordinary(rules: Rules) -> re.Pattern[bytes]:
    """A run of whole tokens that end no statement; stops before one that may, or that is not all there yet."""
    # Literals that only white space with a newline parts are one, and the first one's prefix holds for all. Whether
    # another one follows is known only once something else does.
    escaped = b"'" + rules.escaped + b"'" + repeated(rb"[ \t\r\f]*+\n\s*+'" + rules.escaped + b"'") + rb"(?!\s*+\Z)"
    word = rb"(?![eE]')[A-Za-z_\x80-\xff][\w$\x80-\xff]*+"
    tokens = (
        rb"[^\w'\"$;()/\\\-\x80-\xff]++",
        rb"[eE]" + escaped,
        rb"\d++",
        rules.quoted if rules.standard_strings else escaped,
        rb'"[^"]*+"',
        rb"\$(?!" + _DOLLAR[2:] + rb")",
        rb"--[^\n]*+",
        rb"-(?!-)",
        rb"/(?!\*)",
    )
    inner = b"|".join((word, *tokens))
    flat = rb"\(" + repeated(inner) + rb"\)"  # most parentheses; whatever is not closed yet is counted
    nested = rb"\(" + repeated(inner + b"|" + flat) + rb"\)"
    block = rb"(?!(?i:begin|case|end)(?![\w$\x80-\xff]))"
    return re.compile(repeated(b"|".join((block + word, *tokens, nested))), re.DOTALL)


def unquote(identifier: bytes) -> bytes:
    return identifier[1:-1].replace(b'""', b'"') if identifier.startswith(b'"') else identifier


class Stop(Enum):
    END = auto()  # behind the statement's semicolon
    BACKSLASH = auto()  # at a backslash outside of quotes
    MORE = auto()  # the text ends first; state is kept, go on with the same statement and more text


class StatementScanner:
    """Finds a statement's end in text that comes bit by bit; never looks at a finished part twice.

    Like psql it counts parentheses (a rule holds several statements) and BEGIN … END of SQL functions.
    """

    def __init__(self) -> None:
        self.rules = Rules()
        self._reset()

    def _reset(self) -> None:
        self._at = 0  # all offsets from the statement's start
        self._parens = 0
        self._blocks = 0
        self._comments = 0
        self._closing = b""  # of the dollar quote we are in

    def scan(self, text: bytes, start: int, limit: int) -> tuple[Stop, int]:
        """Look for the end of the statement that begins at `start`; `limit` is behind a newline, or the last."""
        ordinary = _ordinary(self.rules)
        at = start + self._at
        while True:
            if self._comments or self._closing:
                at, closed = self._leave_quote(text, at, limit)
                if not closed:
                    return self._pause(Stop.MORE, start, at)
            match = ordinary.match(text, at, limit)
            at = match.end() if match else at
            if at >= limit:
                return self._pause(Stop.MORE, start, at)
            character = text[at : at + 1]
            if character == b";":
                at += 1
                if not self._parens and not self._blocks:
                    self._reset()
                    return Stop.END, at
            elif character == b"(":
                self._parens += 1
                at += 1
            elif character == b")":
                self._parens -= self._parens > 0
                at += 1
            elif character == b"\\":
                line_end = text.find(b"\n", at, limit)
                self._at = (limit if line_end < 0 else line_end) - start
                return Stop.BACKSLASH, at
            elif character == b"/":
                self._comments, at = 1, at + 2
            elif quote := _DOLLAR_QUOTE.match(text, at, limit):
                self._closing, at = quote[0], quote.end()
            elif (word := _BLOCK_WORD.match(text, at, limit)) and _SOMETHING.search(text, word.end(), limit):
                self._count_block(text, start, word)
                at = word.end()
            else:
                return self._pause(Stop.MORE, start, at)

    def _pause(self, stop: Stop, start: int, at: int) -> tuple[Stop, int]:
        self._at = at - start
        return stop, at

    def _count_block(self, text: bytes, start: int, word: re.Match[bytes]) -> None:
        """Count BEGIN ATOMIC, and what else has an END. (psql counts a function called `begin` as well.)"""
        if self._parens or not _FUNCTION.match(text, start):
            return
        if word[0].lower() == b"end":
            self._blocks -= self._blocks > 0
        elif self._blocks or word[1]:
            self._blocks += 1

    def _leave_quote(self, text: bytes, at: int, limit: int) -> tuple[int, bool]:
        """Step behind a dollar quote or a comment that may hold comments; else where to look on."""
        if self._closing:
            end = text.find(self._closing, at, limit)
            if end < 0:
                return max(at, limit - len(self._closing) + 1), False
            at, self._closing = end + len(self._closing), b""
            return at, True
        for mark in _COMMENT_MARK.finditer(text, at, limit):
            self._comments += 1 if mark[0] == b"/*" else -1
            at = mark.end()
            if not self._comments:
                return at, True
        return at, False


def split_statements(text: bytes, *, rules: Rules | None = None) -> Iterator[bytes]:
    """The statements of a whole text, each with the comments and blanks before it; blanks alone are left out."""
    scanner = StatementScanner()
    scanner.rules = rules or Rules()
    start = 0
    while _SOMETHING.search(text, start):
        stop, end = scanner.scan(text, start, len(text))
        if stop is Stop.BACKSLASH:
            continue
        if stop is Stop.MORE:
            end = len(text)
        yield text[start:end]
        start = end
