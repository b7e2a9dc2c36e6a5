"""Bodies that are as expensive as their size allows, each in its own way."""

from __future__ import annotations

from typing import Final

SIZE: Final = 1 << 20
LEGAL: Final = {
    "integers": b'{"a":[' + b"1," * (SIZE // 2 - 10) + b"1]}",
    "lists": b'{"a":[' + b"[]," * (SIZE // 3 - 10) + b"1]}",
    "objects": b'{"a":[' + b'{"a":1},' * (SIZE // 8 - 10) + b"1]}",
    "strings": b'{"a":[' + b'"",' * (SIZE // 3 - 10) + b"1]}",
    "names": b"{" + b",".join(b'"%x":1' % at for at in range(90_000)) + b"}",
    "exponents": b'{"a":[' + b"1E2," * (SIZE // 4 - 10) + b"1]}",
    "commas in a string": b'{"a":"' + b"," * (SIZE - 10) + b'"}',
    "escapes": b'{"a":"' + b"\\n" * (SIZE // 2 - 10) + b'"}',
    "backslashes": b'{"a":"' + b"\\\\" * (SIZE // 2 - 10) + b'"}',
    "quotes": b'{"a":"' + b'\\"' * (SIZE // 2 - 10) + b'"}',
    "white space": b'{"a":' + b" " * (SIZE - 10) + b"1}",
}
REFUSED: Final = {
    "opening": b"[" * (2 * SIZE),
    "opening objects": b'{"a":' * (SIZE // 5),
    "closing": b'{"a":1' + b"}" * (SIZE - 8),
    "digits": b'{"a":' + b"1" * (SIZE - 8) + b"}",
    "letters": b'{"a":' + b"x" * (SIZE - 8) + b"}",
    "quotes without commas": b'{"a":' + b'""' * (SIZE // 2 - 8) + b"}",
    "only commas": b'{"a":1' + b"," * (SIZE - 8) + b"}",
    "a name twice": b'{"a":[' + b"1 ," * (SIZE // 3 - 20) + b'1],"b":1,"b":2}',
}
