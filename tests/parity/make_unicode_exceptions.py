#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh" tokenizers==0.23.3)" && exec "$python" "$0" "$@"'
"""Where does Hugging Face's tokenizers package differ from utf8proc? Writes data/text/unicode_exceptions.h, or compares with it.

  tests/parity/make_unicode_exceptions.py            regenerates and compares with the committed file; exit 1 if different
  tests/parity/make_unicode_exceptions.py --write    regenerates and writes

Every code point is put through BertNormalizer, NFD and BertPreTokenizer of the package, one property at a time, and
compared with the rule of data/text/unicode.cpp (restated here in Python over the same library). What differs becomes the
table. The header also holds a CRC-32 per plane of the package's behaviour: the unit tests compare the C++ code with it.
"""
import ctypes
import ctypes.util
import pathlib
import sys
import textwrap
import zlib

import tokenizers
from tokenizers import normalizers, pre_tokenizers

TARGET = pathlib.Path(__file__).resolve().parents[2] / "data" / "unicode_exceptions.h"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]   # a surrogate is no text


class Property(ctypes.Structure):   # the first two fields of utf8proc_property_t
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


def load_utf8proc():
    library = ctypes.CDLL(ctypes.util.find_library("utf8proc") or "libutf8proc.so.2")
    library.utf8proc_get_property.restype = ctypes.POINTER(Property)
    library.utf8proc_category_string.restype = ctypes.c_char_p
    library.utf8proc_version.restype = ctypes.c_char_p
    library.utf8proc_unicode_version.restype = ctypes.c_char_p
    return library


UTF8PROC = load_utf8proc()


class Rule:
    """What data/text/unicode.cpp does before it looks at the exceptions."""

    def __init__(self, c):
        category = UTF8PROC.utf8proc_category_string(c).decode()
        ascii_punctuation = 33 <= c < 127 and not chr(c).isalnum()
        buffer, boundary = (ctypes.c_int32 * 32)(), ctypes.c_int(0)
        length = UTF8PROC.utf8proc_decompose_char(c, buffer, 32, 2 | 16, ctypes.byref(boundary))  # STABLE | DECOMPOSE
        self.removed = (category in ("Cc", "Cf", "Co") and chr(c) not in "\t\n\r") or c == 0xFFFD
        self.whitespace = category in ("Zs", "Zl", "Zp") or 9 <= c <= 13 or c == 0x85
        self.punctuation = category[0] == "P" or ascii_punctuation
        self.accent = category == "Mn"
        self.combining_class = UTF8PROC.utf8proc_get_property(c).contents.combining_class
        self.decomposition = "".join(map(chr, buffer[:length]))
        self.lower = chr(UTF8PROC.utf8proc_tolower(c))


def bert(**chosen):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **chosen}).normalize_str


CLEAN, CHINESE, STRIP, LOWER = (bert(**{name: True}) for name in ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"))
NFD = normalizers.NFD().normalize_str
SPLIT = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def reordered(left, right):
    """NFD exchanges the two exactly if 0 < class of right < class of left."""
    return NFD(left + right) == right + left != left + right


# One mark that the package knows for each combining class that occurs.
HIGHEST = chr(0x345)   # class 240
MARKS = {UTF8PROC.utf8proc_get_property(c).contents.combining_class: chr(c)
         for c in reversed(CODE_POINTS[0x300:0xD800]) if reordered(HIGHEST, chr(c)) or chr(c) == HIGHEST}
CLASSES = sorted(MARKS)


def combining_class(s, expected):
    """Canonical combining class of s in the package, from the order NFD gives it among marks of known class; `expected`
    where it cannot be told from it."""
    if not reordered(HIGHEST, s) and not reordered(s, MARKS[CLASSES[0]]):
        return 0
    high = min([k for k in CLASSES if reordered(MARKS[k], s)], default=255)
    low = max(k for k in CLASSES if k < high)
    return expected if low <= expected < high else low


class Truth:
    """What the package does."""

    def __init__(self, c, expected_class):
        s = chr(c)
        pieces = len(SPLIT("a" + s + "b"))
        cleaned = CLEAN(s)
        assert cleaned in ("", " ", s)
        self.removed = cleaned == ""
        self.whitespace = pieces == 2
        assert (cleaned == " ") == (self.whitespace and not self.removed), hex(c)
        self.punctuation = pieces == 3
        self.chinese = CHINESE(s) == " " + s + " "
        assert self.chinese or CHINESE(s) == s
        self.decomposition = NFD(s)
        whole = self.decomposition == s            # otherwise c never occurs after NFD, and the two below are of no use
        self.accent = whole and STRIP(s) == ""
        self.combining_class = combining_class(s, expected_class) if whole else 0
        self.lower = LOWER(s)


def ranges(points):
    found = []
    for c in points:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def array(kind, name, items):
    if not items:
        return f"inline constexpr std::array<{kind}, 0> {name} = {{}};\n"
    body = textwrap.fill(", ".join(items), 124, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return f"inline constexpr std::array<{kind}, {len(items)}> {name} = {{{{\n{body}\n}}}};\n"


def spans(points):
    return [f"{{0x{a:X},0x{b:X}}}" for a, b in ranges(points)]


def mappings(pairs):
    """Neighbours mapped to neighbours share an entry {first, last, image of first, second code point of the image or 0}."""
    found = []
    for c, to in pairs:
        assert len(to) <= 2
        image, then = ord(to[0]), ord(to[1]) if len(to) == 2 else 0
        last = found[-1] if found else None
        if last and last[1] == c - 1 and last[2] + c - last[0] == image and last[3] == then == 0:
            last[1] = c
        else:
            found.append([c, c, image, then])
    return [f"{{0x{a:X},0x{b:X},0x{to:X},0x{then:X}}}" for a, b, to, then in found]


def hexes(text):
    return ",".join(f"{ord(x):X}" for x in text)


def main():
    names = ("removed", "whitespace", "punctuation", "accent", "starter", "undecomposed")
    points = {name: [] for name in names}
    lower, chinese, planes = [], [], [0] * 17
    for c in CODE_POINTS:
        rule = Rule(c)
        truth = Truth(c, rule.combining_class)
        whole = truth.decomposition == chr(c)
        for name in ("removed", "whitespace", "punctuation"):
            if getattr(rule, name) != getattr(truth, name):
                points[name].append(c)
        if whole and rule.accent != truth.accent:
            points["accent"].append(c)
        if whole and rule.combining_class != truth.combining_class:
            assert truth.combining_class == 0, hex(c)
            points["starter"].append(c)
        if rule.decomposition != truth.decomposition:
            assert whole, hex(c)
            points["undecomposed"].append(c)
        if rule.lower != truth.lower:
            lower.append((c, truth.lower))
        if truth.chinese:
            chinese.append(c)
        record = (f"{c:X} {truth.removed:d}{truth.whitespace:d}{truth.chinese:d}{truth.punctuation:d}{truth.accent:d} "
                  f"{truth.combining_class} {hexes(truth.decomposition)} {hexes(truth.lower)}\n")
        planes[c >> 16] = zlib.crc32(record.encode(), planes[c >> 16])

    counts = {**{name: len(found) for name, found in points.items()}, "lower": len(lower)}
    library = f"utf8proc {UTF8PROC.utf8proc_version().decode()} (Unicode {UTF8PROC.utf8proc_unicode_version().decode()})"
    crcs = [f"0x{x:08X}" for x in planes]
    toggles = "\n".join(array("Range", name, spans(points[name])) for name in names[:4])
    settled = "\n".join(array("Range", name, spans(points[name])) for name in names[4:])
    out = f"""\
// Where does Hugging Face's tokenizers {tokenizers.__version__} differ from {library}?
// Generated by tests/parity/make_unicode_exceptions.py over all code points; not to be edited by hand.
// Code points that differ: {', '.join(f'{name} {n}' for name, n in counts.items())}.
#pragma once

#include <array>
#include <cstdint>

// clang-format off
namespace lodestone::unicode_exceptions {{

struct Range {{ char32_t first, last; }};               // both included
struct Mapping {{ char32_t first, last, to, then; }};   // first -> to, first + 1 -> to + 1, ...; followed by `then` unless 0

// What the package takes for Chinese characters: no exception but the definition itself.
{array("Range", "chinese", spans(chinese))}
// Here the answer is the opposite of the rule in data/text/unicode.cpp.
{toggles}
// Here the combining class is 0, and the decomposition is the code point itself.
{settled}
{array("Mapping", "lower", mappings(lower))}
// CRC-32 of what the package does with each code point of a plane, in the form that tests/data/text/unicode_test.cpp writes.
{array("uint32_t", "behaviour_crc32", crcs)}
}}  // namespace lodestone::unicode_exceptions
"""
    print(f"{len(CODE_POINTS)} code points; exceptions: {counts}; {len(out)} bytes of source", file=sys.stderr)
    if "--write" in sys.argv[1:]:
        TARGET.write_text(out)
    elif not TARGET.exists() or TARGET.read_text() != out:
        print(f"error: {TARGET} is not what this script generates; do: run it with --write and read the difference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
