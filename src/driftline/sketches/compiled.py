"""The inner loops in C (`kernel.c`), if they were compiled: faster, with the same results bit for bit.

Wheels for a platform have them, and so has an installation from source on a machine with a C compiler. Elsewhere
`kernel` returns None, and NumPy and Polars do the work.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

FILE = Path(__file__).with_name("kernel.library")
_VERSION = 4
_MOST_TEXTS = 1024
EXACT_BITS = 120
_STREAM = b"arrow_array_stream"


class Numbers(ctypes.Structure):
    """Counts and sums over the values of a column: ``struct numbers`` of `kernel.c`.

    ``near`` counts the values that were added up in ``coarse`` to ``crosses``, see `RoundedMomentsTally.add_rounded`;
    ``far`` those that were returned instead. ``low`` and ``high`` are the smallest and the largest finite value;
    infinite without any.
    """

    nan: int
    positive_infinite: int
    negative_infinite: int
    near: int
    far: int
    coarse: int
    fine: int
    low: float
    high: float
    _squares: ctypes.Array[ctypes.c_int64]
    _crosses: ctypes.Array[ctypes.c_int64]
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("nan", "positive_infinite", "negative_infinite", "near", "far")),
        *((name, ctypes.c_int64) for name in ("coarse", "fine")),
        *((name, ctypes.c_int64 * 2) for name in ("_squares", "_crosses")),
        *((name, ctypes.c_double) for name in ("low", "high")),
    )

    @property
    def squares(self) -> int:
        """The sum of the squared coarse parts, also where it exceeds 64 bits."""
        return (self._squares[0] << 32) + self._squares[1]

    @property
    def crosses(self) -> int:
        """The sum of the products of coarse and fine parts, also where it exceeds 64 bits."""
        return (self._crosses[0] << 32) + self._crosses[1]


class Kernel:
    """The functions of the compiled library; calls release the interpreter's lock."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, whole, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        self._tally_stream = library.driftline_tally_stream
        self._tally_stream.argtypes = (pointer, real, real, pointer, ctypes.POINTER(Numbers), pointer)
        self._tally_stream.restype = whole
        self._tally_by_flag = library.driftline_tally_by_flag
        self._tally_by_flag.argtypes = (pointer, pointer, whole, pointer, pointer)
        self._tally_by_flag.restype = None
        self._add_exactly = library.driftline_add_exactly
        self._add_exactly.argtypes = (pointer, whole, whole, pointer, pointer)
        self._add_exactly.restype = whole
        self._count_texts = library.driftline_count_texts
        self._count_texts.argtypes = (pointer, pointer, pointer)
        self._count_texts.restype = whole
        capsule = ctypes.PYFUNCTYPE(pointer, ctypes.py_object, ctypes.c_char_p)  # a prototype of our own alone
        self._address_of = capsule(("PyCapsule_GetPointer", ctypes.pythonapi))

    def tally_series(
        self, values: pl.Series, centre: float, scale: float, cells: npt.NDArray[np.int64]
    ) -> tuple[Numbers, npt.NDArray[np.float64]]:
        """Count the values of a series of Float64, shape (n,), into the 65,536 ``cells``.

        Nulls are left out, and nothing is copied. Returns the other counts and sums, and the values far from the
        centre, less the centre. The scale is a power of two between 2**-100 and 2**100. Raises `TypeError` for other
        types.
        """
        if values.dtype != pl.Float64 or cells.dtype != np.int64:
            raise TypeError(f"{values.dtype} and {cells.dtype} came; the kernel takes Float64 and int64")
        far = np.empty(len(values))
        numbers = Numbers(low=np.inf, high=-np.inf)
        capsule = _stream_of(values)
        missing = self._tally_stream(
            self._address_of(capsule, _STREAM),
            centre,
            scale,
            cells.ctypes.data,
            ctypes.byref(numbers),
            far.ctypes.data,
        )
        if missing < 0:
            raise RuntimeError(f"Polars handed over no stream of doubles for {len(values)} values of {values.dtype}")
        return numbers, far[: numbers.far]

    def tally_by_flag(
        self,
        values: npt.NDArray[np.float64],
        flags: npt.NDArray[np.bool_],
        flagged: npt.NDArray[np.int64],
        others: npt.NDArray[np.int64],
    ) -> None:
        """Count finite values, shape (n,), by their flags, shape (n,), into one of two tables of 65,536 cells."""
        values, flags = np.ascontiguousarray(values), np.ascontiguousarray(flags)
        self._tally_by_flag(values.ctypes.data, flags.ctypes.data, len(values), flagged.ctypes.data, others.ctypes.data)

    def add_exactly(
        self, values: npt.NDArray[np.float64], exponent: int, left: npt.NDArray[np.float64]
    ) -> tuple[int, npt.NDArray[np.float64]]:
        """Add up finite values smaller than 2**exponent in size, shape (n,), in units of 2**(exponent - `EXACT_BITS`).

        Returns the sum, and the remainders below one unit, which are not in it; these are stored in ``left``, shape
        (n,). The exponent is between -900 and 900.
        """
        sums = (ctypes.c_int64 * 3)()
        count = self._add_exactly(values.ctypes.data, len(values), exponent, sums, left.ctypes.data)
        return (sums[0] << 80) + (sums[1] << 40) + sums[2], left[:count]

    def count_texts(self, values: pl.Series) -> dict[str, int] | None:
        """Return how often each text of a series comes, without nulls; None if there are too many different texts."""
        first, counts = np.empty(_MOST_TEXTS, np.int64), np.empty(_MOST_TEXTS, np.int64)
        capsule = _stream_of(values)
        found = self._count_texts(self._address_of(capsule, _STREAM), first.ctypes.data, counts.ctypes.data)
        if found < 0:
            return None
        names = values[pl.Series(first[:found].tolist(), dtype=pl.UInt32)].to_list()
        return dict(zip(names, counts[:found].tolist(), strict=True))


def _stream_of(values: pl.Series) -> object:
    """The capsule of a series' stream, to be kept while it is read; unnamed, as a NUL in a name aborts the process."""
    return values.alias("").__arrow_c_stream__()


@cache
def kernel() -> Kernel | None:
    """Return the compiled loops; None where there are none, or only those of another release."""
    try:
        library = ctypes.CDLL(str(FILE))
        library.driftline_kernel_version.restype = ctypes.c_int64
        return Kernel(library) if library.driftline_kernel_version() == _VERSION else None
    except (OSError, AttributeError):
        return None
