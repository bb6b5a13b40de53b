"""Names that look alike and are not the same: what differs, and how such a name is shown so that it can be seen."""

from __future__ import annotations

import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

_TWINS = str.maketrans(
    "АВСЕНІЈКМОРЅТУХаеорсухіјѕһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοαι‐‑‒–—―−’‘“”",
    "ABCEHIJKMOPSTYXaeopcyxijshdqwABEZHIKMNOPTYXoai-------''\"\"",
)
"""Letters and signs of other alphabets, and the ASCII ones that they are taken for (Unicode TR39, the usual ones)."""


def _without_spaces(name: str) -> str:
    return "".join(name.split())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _seen(name: str) -> str:
    return "".join(sign for sign in name if unicodedata.category(sign) not in ("Cf", "Cc") or sign.isspace())


def _with_plain_letters(name: str) -> str:
    return name.translate(_TWINS)


_DIFFERENCES = {
    "white space": _without_spaces,
    "upper and lower case": str.casefold,
    "Unicode form": _composed,
    "invisible signs": _seen,
    "look-alike letters": _with_plain_letters,
}
"""What names may differ by, and what takes this difference away, in the order in which they are tried."""


def _plain(name: str, ways: Sequence[str] = tuple(_DIFFERENCES)) -> str:
    """A name without these differences; twice, as one may show another."""
    if name.isascii() and name.isprintable() and len(ways) == len(_DIFFERENCES):
        return "".join(name.casefold().split())
    for way in (*ways, *ways):
        name = _DIFFERENCES[way](name)
    return name


def _looks(name: str) -> str:
    """What a reader sees: white space is one blank or none, forms and look-alikes are one; case is seen."""
    if name.isascii() and name.isprintable():
        return name if "  " not in name and name == name.strip() else " ".join(name.split())
    return " ".join(_plain(name, ("invisible signs", "Unicode form", "look-alike letters")).split())


def differs_by(one: str, other: str) -> str:
    """What two different names differ by, and nothing else, in words; empty where they do not look alike.

    >>> differs_by("tee", "tee "), differs_by("Rain", " rain"), differs_by("caf\\u00e9", "cafe\\u0301")
    ('white space', 'white space and upper and lower case', 'Unicode form')
    >>> differs_by("tee", "cap"), differs_by("tee", "tee")
    ('', '')
    """
    if one == other or _plain(one) != _plain(other):
        return ""
    for count in range(1, len(_DIFFERENCES) + 1):
        for ways in itertools.combinations(_DIFFERENCES, count):
            if _plain(one, ways) == _plain(other, ways):
                return " and ".join(ways)
    return ""


def shown(name: str, company: Collection[str] = ()) -> str:
    """A name as it can be told from others: in quotes, with escapes, where it would be taken for what it is not.

    So are names that are empty, begin or end with white space, have signs that nobody sees, or look like another
    one of their ``company``.

    >>> shown("tee"), shown("tee "), shown("a\\u200bb"), shown(""), shown("caf\\u00e9")
    ('tee', "'tee '", "'a\\\\u200bb'", "''", 'café')
    >>> shown("caf\\u00e9", ["cafe\\u0301"]), shown("cafe\\u0301", ["caf\\u00e9"])
    ("'caf\\\\xe9'", "'cafe\\\\u0301'")
    """
    looks = _looks(name)
    if any(one != name and _looks(one) == looks for one in company):
        return _quoted(name, everything=True)
    if not looks or name != name.strip() or any(_hides(sign) for sign in name):
        return _quoted(name)
    return name


def in_quotes(name: str, company: Collection[str] = ()) -> str:
    """A name in quotes in any case, with escapes where they tell it from its company.

    >>> print(in_quotes("age"), in_quotes("age\\u00a0"), in_quotes("caf\u00e9"), in_quotes("caf\u00e9", ["cafe\u0301"]))
    'age' 'age\\xa0' 'caf\u00e9' 'caf\\xe9'
    """
    told = shown(name, company)
    return told if told != name else _quoted(name)


def shown_all(names: Iterable[str]) -> dict[str, str]:
    """How each of these names is shown in the company of the others; all texts differ.

    >>> shown_all(["tee", "tee ", "cap"])
    {'tee': "'tee'", 'tee ': "'tee '", 'cap': 'cap'}
    """
    names = list(dict.fromkeys(names))
    if all(name.isascii() and name.isprintable() and name and _looks(name) == name for name in names):
        return {name: name for name in names}
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[_looks(name)].append(name)
    found = {name: shown(name, alike[_looks(name)]) for name in names}
    texts = set(found.values())
    if len(texts) < len(names):  # a name that is spelled as another one's quotes
        return {name: _quoted(name, everything=True) for name in names}
    return found


def some_of(names: Sequence[str]) -> str:
    """Name the first few, those that look alike told apart, and count the rest.

    >>> some_of(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    return ", ".join(shown_all(names[:5]).values()) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _hides(sign: str) -> bool:
    """Whether a sign is not seen, or is no blank though it looks like one."""
    return sign not in " \u3000" and (sign.isspace() or not sign.isprintable())


def _quoted(name: str, *, everything: bool = False) -> str:
    """A name in quotes: what is not seen as escapes, or ``everything`` that is not ASCII."""
    signs = (ascii(sign)[1:-1] if everything or _hides(sign) or sign == "\\" else sign for sign in name)
    return "'" + "".join("\\'" if sign == "'" else sign for sign in signs) + "'"


def pairs(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Of names that are gone and new the pairs that look alike, each with one other only: gone name to new name.

    >>> pairs(["tee", "cap", "hat"], ["tee ", "cap ", "Hat", "HAT"])
    {'tee': 'tee ', 'cap': 'cap '}
    """
    before, after = _by_plain(gone), _by_plain(new)
    return {
        names[0]: after[plain][0]
        for plain, names in before.items()
        if len(names) == 1 and len(after.get(plain, ())) == 1
    }


def twins(new: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """New names that look like a known one, each with that one.

    >>> twins(["tee ", "hat"], ["tee", "cap"])
    {'tee ': 'tee'}
    """
    there = _by_plain(known)
    found = {name: there[plain][0] for name in sorted(new) if (plain := _plain(name)) in there}
    return {name: old for name, old in found.items() if name != old}


def twin(name: str, known: Iterable[str]) -> str | None:
    """The known name that a name looks like without being it, the nearest first; None where there is none.

    >>> twin("age", ["AGE", "age "]), twin("age", ["wage"])
    ('age ', None)
    """
    plain = _plain(name)
    alike = [one for one in known if one != name and _plain(one) == plain]
    return min(alike, key=lambda one: (_looks(one) != _looks(name), one), default=None)


def differences(renamed: Mapping[str, str]) -> str:
    """What the pairs of `pairs` differ by, all together, in words."""
    found = dict.fromkeys(way for one, other in renamed.items() for way in _ways(one, other))
    return " and ".join(way for way in _DIFFERENCES if way in found)


def _ways(one: str, other: str) -> list[str]:
    words = differs_by(one, other)
    return [way for way in _DIFFERENCES if way in words]


def _by_plain(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[_plain(name)].append(name)
    return found
